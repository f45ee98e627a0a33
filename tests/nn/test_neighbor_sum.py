"""The neighbor sum and its derivatives of any order."""

from __future__ import annotations

import pytest
import torch

from molcalc.nn import neighbor_sum as module
from molcalc.nn.neighbor_sum import EdgeRows, neighbor_sum
from molcalc.nn.vector_basis import GaussianShells, vector_basis
from tests.helpers.checks import assert_gradients_exact

N_ATOMS = 5


@pytest.fixture
def rows() -> EdgeRows:
    pairs = [(i, j) for i in range(N_ATOMS) for j in range(N_ATOMS) if i != j and (i, j) != (2, 3) and i != 4]
    return EdgeRows.from_edges(torch.tensor(pairs).T.contiguous(), N_ATOMS)


@pytest.fixture(params=["compiled", "torch"])
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "compiled":
        pytest.importorskip("numba")
    else:
        monkeypatch.setattr("molcalc.kernels.runtime.available", lambda: False)
    return request.param


def inputs(rows: EdgeRows, n_channels: int, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    features = torch.randn(N_ATOMS, n_channels, 16, dtype=dtype, requires_grad=True)
    return features, torch.randn(rows.source.shape[0], 4, 16, dtype=dtype, requires_grad=True)


@pytest.mark.parametrize("n_channels", [1, 2, 3])
def test_sum_follows_its_definition(rows: EdgeRows, kernels: str, n_channels: int) -> None:
    features, basis = inputs(rows, n_channels)
    expected = torch.zeros(N_ATOMS, 4, n_channels, 16, dtype=torch.float64)
    for e, (i, j) in enumerate(zip(rows.receiver.tolist(), rows.source.tolist())):
        expected[i] += basis[e, :, None] * features[j][None]
    assert torch.allclose(neighbor_sum(features, basis, rows), expected, atol=1e-13)


def test_first_and_second_derivatives_are_exact(rows: EdgeRows, kernels: str) -> None:
    features, basis = inputs(rows, 3)
    few = slice(None), slice(None), slice(None), slice(0, 16, 7)

    def probe(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return neighbor_sum(a, b, rows)[few]

    assert_gradients_exact(probe, (features, basis))


def test_derivatives_of_all_three_contractions_agree_with_torch(rows: EdgeRows) -> None:
    pytest.importorskip("numba")
    features, basis = inputs(rows, 3)
    weights = torch.randn(N_ATOMS, 4, 3, 16, dtype=torch.float64)
    found = []
    for function in (neighbor_sum, module.neighbor_sum_formula):
        value = (function(features, basis, rows).pow(3) * weights).sum()
        first = torch.autograd.grad(value, (features, basis), create_graph=True)
        scalar = sum(g.pow(3).sum() for g in first)
        second = torch.autograd.grad(scalar, (features, basis), create_graph=True)
        third = torch.autograd.grad(sum(g.pow(2).sum() for g in second), (features, basis))
        found.append((*first, *second, *third))
    for a, b in zip(*found):
        assert torch.allclose(a, b, rtol=1e-10)


def test_float32_agrees_with_float64(rows: EdgeRows, kernels: str) -> None:
    double = inputs(rows, 3)
    single = tuple(t.detach().float() for t in double)
    assert torch.allclose(neighbor_sum(*single, rows).double(), neighbor_sum(*double, rows), atol=1e-5)


def test_two_threads_give_the_same_sum(rows: EdgeRows, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    features, basis = inputs(rows, 3)
    found = []
    for threads in (1, 2):
        monkeypatch.setattr("molcalc.kernels.runtime.SERIAL_WORK", 1)
        torch.set_num_threads(threads)
        value = neighbor_sum(features, basis, rows)
        found.append((value.detach(), *torch.autograd.grad(value.square().sum(), (features, basis))))
    torch.set_num_threads(1)
    assert all(torch.equal(a, b) for a, b in zip(*found))


def test_no_edges_give_zero(kernels: str) -> None:
    rows = EdgeRows.from_edges(torch.empty(2, 0, dtype=torch.int64), N_ATOMS)
    features, basis = inputs(rows, 2)
    value = neighbor_sum(features, basis, rows)
    gradient, _ = torch.autograd.grad(value.sum(), (features, basis))
    assert not value.any()
    assert not gradient.any()


def test_basis_follows_its_definition(kernels: str) -> None:
    shells = GaussianShells(16, 0.8, 5.0)
    vectors = torch.tensor([[1.0, 0.0, 0.0], [0.5, -1.2, 2.0], [3.0, 3.9, 0.4], [5.5, 0.0, 0.0]], dtype=torch.float64)
    basis = vector_basis(vectors, shells)
    d = vectors.norm(dim=1, keepdim=True)
    centers = 0.8 + 0.2625 * torch.arange(16, dtype=torch.float64)
    cutoff = torch.where(d < 5, 0.5 * (1 + torch.cos(torch.pi * d / 5)), 0.0)
    radial = torch.exp(-14.512471 * (d - centers) ** 2) * cutoff
    assert torch.allclose(basis[:, 0], radial, atol=1e-7)
    assert torch.allclose(basis[:, 1:], radial[:, None] * (vectors / d)[:, :, None], atol=1e-7)
    assert not basis[3].any()


def test_basis_derivatives_are_exact(kernels: str) -> None:
    shells = GaussianShells(16, 0.8, 5.0)
    torch.manual_seed(1)
    vectors = (2.0 * torch.randn(4, 3, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: vector_basis(v, shells)[:, :, ::4], (vectors,))
    assert torch.autograd.gradgradcheck(lambda v: vector_basis(v, shells)[:, :, ::5], (vectors,))


def test_compiled_basis_has_no_subnormal_numbers() -> None:
    pytest.importorskip("numba")
    basis = vector_basis(torch.tensor([[0.9, 0.0, 0.1], [4.9, 0.1, 0.0]]), GaussianShells(16, 0.8, 5.0))
    tiny = torch.finfo(torch.float32).tiny
    assert not ((basis != 0) & (basis.abs() < tiny)).any()
