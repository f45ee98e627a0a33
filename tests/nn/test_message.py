"""The message of AIMNet2 and its derivatives of any order."""

from __future__ import annotations

import pytest
import torch

from molcalc.nn import message as module
from molcalc.nn.message import message
from molcalc.nn.neighbor_sum import EdgeRows
from tests.helpers.checks import assert_gradients_exact

N_ATOMS, N_FEATURES, N_RADIAL = 3, 3, 16
PAIRS = torch.tensor([(0, 1), (0, 2), (1, 0), (1, 0), (1, 2)]).T.contiguous()  # one atom without neighbors
ROWS = EdgeRows.from_edges(PAIRS, N_ATOMS)


@pytest.fixture(params=["compiled", "torch"])
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "compiled":
        pytest.importorskip("numba")
    else:
        monkeypatch.setattr("molcalc.kernels.runtime.available", lambda: False)
    return request.param


def inputs(n_charges: int, n_vector: int = 3, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    n_channels = N_FEATURES + n_charges
    shapes = (
        (N_ATOMS, N_FEATURES * N_RADIAL),
        (N_ATOMS, n_charges),
        (PAIRS.shape[1], 4, N_RADIAL),
        (n_channels, N_RADIAL, n_vector),
    )
    return [(0.3 * torch.randn(shape, generator=generator, dtype=dtype)).requires_grad_() for shape in shapes]


def of(features: torch.Tensor, charges: torch.Tensor, basis: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return message(features, charges, basis, weights, ROWS)


@pytest.mark.parametrize("n_charges", [0, 1, 2])
@pytest.mark.parametrize("n_vector", [1, 12, 16])
def test_message_follows_its_definition(kernels: str, n_charges: int, n_vector: int) -> None:
    features, charges, basis, weights = inputs(n_charges, n_vector)
    rows = charges[:, :, None].expand(-1, -1, N_RADIAL)
    channels = torch.cat([features.view(N_ATOMS, N_FEATURES, N_RADIAL), rows], dim=1)
    sums = torch.zeros(N_ATOMS, 4, N_FEATURES + n_charges, N_RADIAL, dtype=torch.float64)
    for e, (i, j) in enumerate(PAIRS.T.tolist()):
        sums[i] += basis[e, :, None] * channels[j][None]
    columns: list[torch.Tensor] = []
    for own, chosen in ((features, range(N_FEATURES)), (charges, range(N_FEATURES, N_FEATURES + n_charges))):
        columns += [own]
        columns += [sums[:, 0, c] for c in chosen]
        for c in chosen:
            combined = [sums[:, x, c] @ weights[c] for x in (1, 2, 3)]
            columns += [combined[0] ** 2 + combined[1] ** 2 + combined[2] ** 2]
    found = message(features, charges if n_charges else None, basis, weights, ROWS)
    torch.testing.assert_close(found, torch.cat(columns, dim=1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("n_charges", [0, 1])
@pytest.mark.parametrize("trained", [True, False], ids=["with weights", "without weights"])
def test_first_and_second_derivatives_are_exact(kernels: str, n_charges: int, trained: bool) -> None:
    tensors = inputs(n_charges)
    tensors[3].requires_grad_(trained)

    def probe(*all_inputs: torch.Tensor) -> torch.Tensor:
        return of(*all_inputs)[:, ::9]

    assert_gradients_exact(probe, tensors)


def gradients(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The gradient of a loss for everything but the weights, as a force is."""
    value = of(*tensors)
    weighted = (value.square() * torch.cos(torch.arange(value.numel(), dtype=value.dtype).view_as(value))).sum()
    return torch.autograd.grad(weighted, tensors[:3], create_graph=True)


@pytest.mark.parametrize("n_charges", [1, 2])
def test_gradients_of_a_force_can_be_differentiated_for_the_weights(kernels: str, n_charges: int) -> None:
    def few(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        features, charges, basis = gradients(*tensors)
        return features[:, ::5], charges, basis[:, :, ::5]

    assert_gradients_exact(few, inputs(n_charges), second=False)


def test_derivatives_up_to_the_third_agree_with_torch() -> None:
    pytest.importorskip("numba")
    found = []
    for function in (of, lambda *tensors: module.message_formula(*tensors, ROWS, False)):
        tensors = inputs(1)
        value = function(*tensors).pow(2)
        probe = torch.cos(torch.arange(value.numel(), dtype=torch.float64)).view_as(value)
        first = torch.autograd.grad((value * probe).sum(), tensors[:3], create_graph=True)
        second = torch.autograd.grad(sum(g.pow(3).sum() for g in first), tensors, create_graph=True)
        third = torch.autograd.grad(sum(g.pow(2).sum() for g in second), tensors)
        found.append((*first, *second, *third))
    for a, b in zip(*found):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_float32_agrees_with_float64(kernels: str) -> None:
    double = inputs(1, 12)
    single = [tensor.detach().float().requires_grad_() for tensor in double]
    for a, b in zip(gradients(*single), gradients(*double)):
        assert (a.double() - b).abs().max() < 2e-5 * (1 + b.abs().max())


def test_two_threads_give_the_same_message_and_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    monkeypatch.setattr("molcalc.kernels.runtime.SERIAL_WORK", 1)
    found = []
    for threads in (1, 2):
        monkeypatch.setattr("torch.get_num_threads", lambda threads=threads: threads)
        tensors = inputs(1)
        first = gradients(*tensors)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), tensors)
        found.append((of(*tensors), *first, *second))
    for a, b in zip(*found):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
