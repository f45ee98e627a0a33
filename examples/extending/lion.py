"""An optimizer: Lion, which moves every weight by the same amount, in the direction of the sign of a momentum.

create_optimizer("lion", learning_rate=1e-4, weight_decay=1e-2)(network)
molcalc train molecules.db --model aimnet2 --optimizer lion --output runs/lion
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from molcalc.train.optimize.optimizers import OptimizerKind, Recipe


class Lion(torch.optim.Optimizer):
    r"""Sign of an interpolated momentum.

    .. math::
        u &= \mathrm{sign}(β_1 m + (1 - β_1) g) \\
        w &← w (1 - η λ) - η u \\
        m &← β_2 m + (1 - β_2) g

    Parameters
    ----------
    params : weights, or groups of them.
    lr : η, three to ten times smaller than Adam's.
    weight_decay : λ, decoupled, as many times larger.
    betas : β₁ of the update, β₂ of the momentum.

    Raises
    ------
    ValueError
        For a β outside of 0…1.

    References
    ----------
    Chen et al., Symbolic discovery of optimization algorithms, arXiv:2302.06675 (2023), algorithm 2.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-4,
        weight_decay: float = 0.0,
        *,
        betas: tuple[float, float] = (0.9, 0.99),
    ) -> None:
        if not all(0.0 <= beta < 1.0 for beta in betas):
            raise ValueError(f"betas={betas}; expected two numbers from 0 to below 1")
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "betas": betas})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update all weights that have a gradient."""
        for group in self.param_groups:
            rate, (of_update, of_momentum) = group["lr"], group["betas"]
            for weight in (each for each in group["params"] if each.grad is not None):
                momentum = self.state[weight].setdefault("momentum", torch.zeros_like(weight))
                weight.mul_(1.0 - rate * group["weight_decay"])
                weight.sub_(torch.sign(torch.lerp(weight.grad, momentum, of_update)), alpha=rate)
                momentum.lerp_(weight.grad, 1.0 - of_momentum)


ENTRY = OptimizerKind(Recipe(3e-4, 1.5e-4, 0.5, 1e-3, 1e-2, (("betas", (0.9, 0.99)),)), Lion)
"""The line ``"lion": ENTRY`` of the table ``OPTIMIZERS`` in ``train/optimize/optimizers.py``."""
