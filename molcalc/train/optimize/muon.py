r"""Muon: momentum whose matrices are made orthogonal before every step.

.. math::
    B &← μ B + (1 - μ) G, \qquad U = μ B + (1 - μ) G \\
    W &← W (1 - η λ) - 0.2\, η \sqrt{\max(n, m)}\; \mathrm{orth}(U)

for a weight W of shape (n, m) with gradient G. orth keeps the singular vectors of U and sets its singular values close
to 1; the factor makes updates as large as those of Adam, so that learning rates of Adam can be kept.

References
----------
Jordan et al., Muon: an optimizer for hidden layers in neural networks (2024).
Liu et al., Muon is scalable for LLM training, arXiv:2502.16982.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of a quintic that drives singular values quickly into about 0.7…1.2 (Jordan et al.)."""
N_ITERATIONS = 5
ADAM_UPDATE = 0.2
"""Usual root mean square of the elements of Adam's update (Liu et al., eq. 4)."""


class Muon(torch.optim.Optimizer):
    """Muon for matrices.

    Matrices of one shape are worked on together, and in bfloat16 only where the processor multiplies that natively;
    torch's own Muon takes one after the other, always in bfloat16.

    Parameters
    ----------
    params : matrices, or groups of them.
    lr : η, as for Adam.
    weight_decay : λ, decoupled.
    momentum : μ.
    nesterov : look ahead as in the equation; otherwise U = B.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        *,
        momentum: float = 0.95,
        nesterov: bool = True,
    ) -> None:
        if not 0.0 <= momentum < 1.0:
            raise ValueError(f"momentum={momentum}; expected a number from 0 to below 1")
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "nesterov": nesterov})
        shapes = [tuple(p.shape) for group in self.param_groups for p in group["params"] if p.ndim != 2]
        if shapes:
            raise ValueError(f"Muon is for matrices; got a parameter of shape {shapes[0]}")

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update all weights that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            weights = [p for p in group["params"] if p.grad is not None]
            if weights:
                self._update(weights, group)
        return loss

    def _update(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        gradients = [p.grad for p in weights if p.grad is not None]
        momenta = []
        for p in weights:
            state = self.state[p]
            if not state:
                state["momentum_buffer"] = torch.zeros_like(p)
            momenta.append(state["momentum_buffer"])
        torch._foreach_lerp_(momenta, gradients, 1.0 - group["momentum"])
        updates = torch._foreach_lerp(gradients, momenta, group["momentum"]) if group["nesterov"] else momenta
        if group["weight_decay"]:
            torch._foreach_mul_(weights, 1.0 - group["lr"] * group["weight_decay"])
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for k, weight in enumerate(weights):
            by_shape.setdefault(tuple(weight.shape), []).append(k)
        for shape, members in by_shape.items():
            stacked = torch.stack([updates[k] for k in members])
            steps = orthogonalized(stacked, working_dtype(stacked)).to(stacked.dtype)
            rate = ADAM_UPDATE * group["lr"] * max(shape) ** 0.5
            torch._foreach_add_([weights[k] for k in members], list(steps.unbind()), alpha=-rate)


def working_dtype(matrices: Tensor) -> torch.dtype:
    """bfloat16 for single precision where that is quicker; what is lost is small beside the spread of the result."""
    if matrices.dtype == torch.float32 and (matrices.device.type == "cuda" or _multiplies_bfloat16()):
        return torch.bfloat16
    return matrices.dtype


@lru_cache(maxsize=1)
def _multiplies_bfloat16() -> bool:
    known: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # torch 2.9 does not tell
    return bool(known.get("avx512_bf16") or known.get("amx_bf16"))


def orthogonalized(matrices: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Matrices with the same singular vectors and singular values near 1.

    Parameters
    ----------
    matrices : (n_matrices, rows, columns); a matrix of zeros stays one.
    dtype : of arithmetic and result; None takes that of the matrices.

    Newton-Schulz iteration X ← a X + (b X Xᵀ + c (X Xᵀ)²) X.

    Returns
    -------
    (n_matrices, rows, columns)
    """
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = (x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)).to(dtype or matrices.dtype)
    a, b, c = COEFFICIENTS
    for _ in range(N_ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
