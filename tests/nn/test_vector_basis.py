"""The basis of edges: compiled values and derivatives against the formula in torch."""

from __future__ import annotations

import pytest
import torch

from molcalc.nn import vector_basis as module
from molcalc.nn.vector_basis import GaussianShells, vector_basis, vector_basis_derivatives

SHELLS = GaussianShells(16, 0.8, 5.0)


def vectors(dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Edges of 0.9 to 5.4 Å: one is beyond the cutoff."""
    directions = torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    lengths = torch.linspace(0.9, 5.4, 6, dtype=torch.float64)[:, None]
    return (directions / directions.norm(dim=1, keepdim=True) * lengths).to(dtype).requires_grad_()


@pytest.mark.parametrize("for_vectors", [False, True], ids=["weights", "positions"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-5)])
def test_losses_on_gradients_agree_with_torch(dtype: torch.dtype, tolerance: float, for_vectors: bool) -> None:
    pytest.importorskip("numba")
    found = []
    for function in (vector_basis, module.vector_basis_formula):
        edges = vectors(dtype)
        weights = torch.randn(6, 4, 16, generator=torch.Generator().manual_seed(1)).to(dtype).requires_grad_()
        basis = function(edges, SHELLS)
        (forces,) = torch.autograd.grad((basis * weights).sum(), edges, create_graph=True)
        wanted = (weights, edges) if for_vectors else (weights,)
        found.append((basis, forces, *torch.autograd.grad(forces.square().sum(), wanted)))
    for a, b in zip(*found):
        assert (a - b).abs().max() < tolerance * b.abs().max()


def test_derivatives_up_to_the_third_are_exact() -> None:
    def energy(edges: torch.Tensor) -> torch.Tensor:
        return vector_basis(edges, SHELLS).sin().sum()

    def gradient(edges: torch.Tensor) -> torch.Tensor:
        return torch.autograd.grad(energy(edges), edges, create_graph=True)[0]

    assert torch.autograd.gradcheck(energy, vectors())
    assert torch.autograd.gradcheck(gradient, vectors())
    assert torch.autograd.gradgradcheck(gradient, vectors())


def test_written_derivatives_are_those_of_the_graph() -> None:
    edges, weights = vectors(), torch.randn(6, 4, 16, generator=torch.Generator().manual_seed(1)).double()
    first, second = vector_basis_derivatives(edges.detach(), SHELLS)
    (slopes,) = torch.autograd.grad(
        (module.vector_basis_formula(edges, SHELLS) * weights).sum(), edges, create_graph=True
    )
    torch.testing.assert_close(torch.einsum("eyxk,exk->ey", first, weights), slopes, rtol=1e-12, atol=1e-12)
    curvatures = [torch.autograd.grad(slope.sum(), edges, retain_graph=True)[0] for slope in slopes.T]
    found = torch.einsum("eyzxk,exk->eyz", second, weights)
    torch.testing.assert_close(found, torch.stack(curvatures, dim=2), rtol=1e-12, atol=1e-11)
