"""Compiled interaction modules and radial functions against torch: values, forces, gradients of a loss on forces."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from molcalc.batch import collate
from molcalc.derivatives import evaluate
from molcalc.kernels import runtime as compiled
from molcalc.models import physnet
from molcalc.nn import radial
from molcalc.nn.interaction_stack import interaction_stack
from molcalc.nn.radial import ExponentialGaussians
from molcalc.potential import Potential
from tests.helpers.networks import DCM_KINDS, dcm_batch, dcm_potential, tiny_dcm
from tests.helpers.structures import organic

SINGLE = 3e-5
"""Relative to the largest value; torch in single precision is off by as much."""

needs_numba = pytest.mark.skipif(not compiled.available(), reason="numba is not installed")


def loss_gradients(potential: Potential) -> list[Tensor]:
    """Forces, and gradients by all weights of a loss on everything that is trained."""
    batch = collate([dcm_batch(organic(seed), potential, charge) for seed, charge in ((0, 0), (1, 1))])
    parameters = [parameter.requires_grad_() for parameter in potential.parameters()]
    results = evaluate(potential, batch, ("forces",), create_graph=True)
    ramp = torch.linspace(-1.0, 1.0, batch.n_atoms, dtype=torch.float64)
    loss = (results["forces"] - ramp[:, None]).square().sum() + results["dipole"].square().sum()
    loss = loss + (results["atomic_energies"] * ramp).sum() + (results["charges"] * ramp).sum()
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
    return [results["forces"].detach(), *gradients]


@needs_numba
@pytest.mark.parametrize("kind", DCM_KINDS)
@pytest.mark.parametrize("blocks", [(1, 1, 1), (2, 0, 0), (0, 2, 1)], ids=str)
def test_training_gradients_equal_those_of_torch(
    kind: str, blocks: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = dict(zip(("n_interaction", "n_atomic", "n_output"), blocks))
    checkpoint = tiny_dcm(kind, n_modules=3, **names)
    found = loss_gradients(dcm_potential(checkpoint, torch.float32))
    expected = loss_gradients(dcm_potential(checkpoint, torch.float64))
    monkeypatch.setattr(physnet, "compiled_stack_usable", lambda *tensors: False)
    monkeypatch.setattr(radial, "usable", lambda *tensors: False)
    plain = loss_gradients(dcm_potential(checkpoint, torch.float32))
    for value, single, double in zip(found, plain, expected):
        scale = 1e-3 + float(double.abs().max())
        assert (value - double).abs().max() < SINGLE * scale
        assert (single - double).abs().max() < SINGLE * scale


@needs_numba
def test_stack_without_edges_and_for_a_single_atom() -> None:
    torch.manual_seed(0)
    size = 16
    weights = torch.randn(3 * size * size + 6 * size, requires_grad=True)
    nothing = torch.empty(2, 0, dtype=torch.int64)
    outputs, features = interaction_stack(torch.empty(0, size), torch.randn(1, size), weights, nothing, 1, (0, 0, 0))
    assert outputs.shape == (1, 2)
    assert features.shape == (1, size)
    (outputs.sum() + features.sum()).backward()
    assert bool(torch.isfinite(weights.grad).all())


@needs_numba
@pytest.mark.parametrize("cutoff", [4.0, 10.0])
def test_compiled_radial_functions_equal_torch(cutoff: float, monkeypatch: pytest.MonkeyPatch) -> None:
    basis = ExponentialGaussians(40, cutoff)
    basis.initialize()
    torch.manual_seed(0)
    distances, weights, direction = 0.5 + 1.1 * cutoff * torch.rand(50), torch.randn(50, 40), torch.randn(50)

    def derivatives(dtype: torch.dtype) -> list[Tensor]:
        network = basis.to(dtype)
        r, w = distances.to(dtype).requires_grad_(), weights.to(dtype).requires_grad_()
        value = network(r)
        (slope,) = torch.autograd.grad((value * w).sum(), r, create_graph=True)
        loss = (slope * direction.to(dtype)).sum() + (value * w.detach()).sum()
        return [value.detach(), slope.detach(), *torch.autograd.grad(loss, [r, w, *network.parameters()])]

    found, expected = derivatives(torch.float32), derivatives(torch.float64)
    monkeypatch.setattr(radial, "usable", lambda *tensors: False)
    for value, single, double in zip(found, derivatives(torch.float32), expected):
        error, allowed = (value - double).abs().max(), (single - double).abs().max()
        assert error < 3.0 * allowed + 1e-5 * double.abs().max()
