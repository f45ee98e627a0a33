"""Muon: orthogonal updates of the size of Adam's."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from molcalc.train.optimize import muon
from molcalc.train.optimize.muon import ADAM_UPDATE, Muon, orthogonalized

SINGLE, HALF = 1e-5, 0.02
"""Relative differences of updates: float32 sums, and bfloat16 through five iterations."""


def weights() -> list[Tensor]:
    """Two matrices of one shape, a tall one and a wide one, with gradients."""
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randn(shape, generator=generator) for shape in ((12, 12), (12, 12), (30, 12), (8, 20))]
    for matrix in drawn:
        matrix.grad = torch.randn(matrix.shape, generator=generator)
    return drawn


def stepped(optimizer_class: type, n_steps: int = 3, **options: object) -> list[Tensor]:
    matrices = weights()
    optimizer = optimizer_class(matrices, lr=0.1, weight_decay=0.3, **options)
    for _ in range(n_steps):
        optimizer.step()
    return matrices


@pytest.mark.parametrize("nesterov", [True, False])
def test_steps_are_those_of_torch(nesterov: bool) -> None:
    expected = stepped(torch.optim.Muon, adjust_lr_fn="match_rms_adamw", nesterov=nesterov)
    for found, value in zip(stepped(Muon, nesterov=nesterov), expected):
        assert torch.allclose(found, value, rtol=0, atol=HALF * float(value.abs().max()))


def test_processors_without_bfloat16_take_the_same_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for native in (True, False):
        monkeypatch.setattr(muon, "_multiplies_bfloat16", lambda native=native: native)
        results.append(stepped(Muon))
    for half, single in zip(*results):
        assert torch.allclose(half, single, rtol=0, atol=HALF * float(single.abs().max()))
        assert not torch.equal(half, single)


def test_singular_vectors_stay_and_singular_values_become_alike() -> None:
    matrix = torch.randn(9, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    found = orthogonalized(matrix[None])[0]
    diagonal = left.T @ found @ right.T
    assert values.max() / values.min() > 2.5
    assert diagonal.diagonal().min() > 0.6
    assert diagonal.diagonal().max() < 1.3
    assert (diagonal - torch.diag(diagonal.diagonal())).abs().max() < 1e-12


def test_a_batch_equals_single_matrices_and_zeros_stay() -> None:
    matrices = torch.randn(3, 6, 4, generator=torch.Generator().manual_seed(2))
    matrices[1] = 0.0
    found = orthogonalized(matrices)
    assert found[1].abs().max() == 0.0
    for k in (0, 2):
        assert torch.allclose(found[k], orthogonalized(matrices[k : k + 1])[0], rtol=0, atol=SINGLE)


def test_the_first_step_is_as_large_as_one_of_adam() -> None:
    matrix = torch.zeros(40, 40)
    matrix.grad = torch.randn(40, 40, generator=torch.Generator().manual_seed(3))
    Muon([matrix], lr=0.1).step()
    assert float(matrix.square().mean().sqrt()) == pytest.approx(0.1 * ADAM_UPDATE, rel=0.3)


def test_weights_without_gradient_stay() -> None:
    first, second = torch.ones(3, 3), torch.ones(3, 3)
    first.grad = torch.eye(3)
    Muon([first, second], lr=0.1, weight_decay=0.5).step()
    assert torch.equal(second, torch.ones(3, 3))
    assert not torch.equal(first, torch.ones(3, 3))


def test_vectors_and_impossible_momenta_are_refused() -> None:
    with pytest.raises(ValueError, match=r"for matrices; got a parameter of shape \(3,\)"):
        Muon([torch.ones(3)])
    with pytest.raises(ValueError, match=r"momentum=1.0; expected a number from 0 to below 1"):
        Muon([torch.ones(3, 3)], momentum=1.0)
