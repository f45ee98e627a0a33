"""Messages of Cartesian tensors against their definition with 3 × 3 matrices, and under rotations."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from molcalc.kernels.runtime import WIDTH
from molcalc.nn.cartesian import (
    PATHS,
    Directions,
    cartesian_formula,
    cartesian_message,
    scalar_message,
    to_matrix,
)
from tests.helpers.structures import random_rotation

N_ATOMS, N_EDGES, SIZE = 5, 12, 4


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


@pytest.fixture
def case() -> tuple[list[Tensor], Tensor, Tensor, Tensor]:
    """Features, weights, edges and unit vectors."""
    torch.manual_seed(0)
    index = torch.stack([torch.randint(N_ATOMS, (N_EDGES,)).sort().values, torch.randint(N_ATOMS, (N_EDGES,))])
    unit = torch.nn.functional.normalize(normal(N_EDGES, 3), dim=1)
    parts = [normal(N_ATOMS, SIZE), normal(N_ATOMS, 3, SIZE), normal(N_ATOMS, 5, SIZE)]
    return parts, normal(N_EDGES, PATHS[2], SIZE), index, unit


def components(matrices: Tensor) -> Tensor:
    """(..., 5, F) components of (..., F, 3, 3) symmetric traceless matrices."""
    basis = to_matrix(torch.eye(5, dtype=matrices.dtype))
    return torch.einsum("...fxy,kxy->...kf", matrices, basis)


def rotated(parts: list[Tensor], matrix: Tensor) -> list[Tensor]:
    result = [parts[0], *(torch.einsum("xy,...yf->...xf", matrix, part) for part in parts[1:2])]
    if len(parts) == 3:
        tensors = to_matrix(parts[2].mT)
        result.append(components(matrix @ tensors @ matrix.T))
    return result


def traceless(matrices: Tensor) -> Tensor:
    symmetric = 0.5 * (matrices + matrices.mT)
    trace = symmetric.diagonal(dim1=-2, dim2=-1).sum(-1)
    return symmetric - trace[..., None, None] / 3.0 * torch.eye(3, dtype=matrices.dtype)


def test_basis_is_orthonormal_symmetric_and_traceless() -> None:
    basis = to_matrix(torch.eye(5, dtype=torch.float64))
    assert torch.allclose(torch.einsum("kxy,lxy->kl", basis, basis), torch.eye(5, dtype=torch.float64), atol=1e-15)
    assert torch.allclose(traceless(basis), basis, atol=1e-15)


def test_message_equals_its_formula_with_matrices(case: tuple[list[Tensor], Tensor, Tensor, Tensor]) -> None:
    """All eleven paths, with Y = u ⊗ u − 1/3 spelled out."""
    parts, w, index, u = case
    found = cartesian_message(parts, w, Directions(index, u), 3)
    s, v, t = parts[0], parts[1].mT, to_matrix(parts[2].mT)
    expected = [torch.zeros_like(s), torch.zeros_like(v), torch.zeros_like(t)]
    for e in range(N_EDGES):
        i, j = index[0, e], index[1, e]
        y = torch.outer(u[e], u[e]) - torch.eye(3, dtype=torch.float64) / 3.0
        expected[0][i] += w[e, 0] * s[j] + w[e, 1] * (v[j] @ u[e])
        expected[0][i] += w[e, 2] * torch.einsum("fxy,xy->f", t[j], y)
        expected[1][i] += (w[e, 3] * s[j])[:, None] * u[e] + w[e, 4, :, None] * (v[j] @ y)
        expected[1][i] += (w[e, 4] / 3.0 + w[e, 5])[:, None] * v[j] + w[e, 6, :, None] * (t[j] @ u[e])
        expected[2][i] += (w[e, 7] * s[j])[:, None, None] * y + (w[e, 9] / 3.0 + w[e, 10])[:, None, None] * t[j]
        expected[2][i] += w[e, 8, :, None, None] * traceless(v[j][:, :, None] * u[e])
        expected[2][i] += w[e, 9, :, None, None] * traceless(t[j] @ y)
    assert torch.allclose(found[0], expected[0], atol=1e-13)
    assert torch.allclose(found[1], expected[1].mT, atol=1e-13)
    assert torch.allclose(to_matrix(found[2].mT), expected[2], atol=1e-13)


def test_message_of_scalars_is_that_of_tensors_which_are_zero(
    case: tuple[list[Tensor], Tensor, Tensor, Tensor],
) -> None:
    parts, w, index, u = case
    edges = Directions(index, u)
    zeros = [parts[0], torch.zeros_like(parts[1]), torch.zeros_like(parts[2])]
    expected = cartesian_message(zeros, w, edges, 3)
    for n_ranks in (1, 2, 3):
        found = scalar_message(parts[0], w[:, [0, 3, 7][:n_ranks]], edges, n_ranks)
        assert len(found) == n_ranks
        assert all(torch.allclose(a, b, atol=1e-14) for a, b in zip(found, expected))


@pytest.mark.parametrize("improper", [False, True], ids=["rotation", "reflection"])
@pytest.mark.parametrize("n_ranks", [1, 2, 3])
def test_message_turns_with_the_structure(
    case: tuple[list[Tensor], Tensor, Tensor, Tensor], improper: bool, n_ranks: int
) -> None:
    parts, w, index, u = case
    w = w[:, : PATHS[n_ranks - 1]]
    matrix = torch.tensor(random_rotation(1) * (-1.0 if improper else 1.0))
    before = cartesian_message(parts, w, Directions(index, u), n_ranks)
    after = cartesian_message(rotated(parts, matrix), w, Directions(index, u @ matrix.T), n_ranks)
    assert all(torch.allclose(a, b, atol=1e-13) for a, b in zip(after, rotated(before, matrix)))


def test_second_derivatives_equal_finite_differences(case: tuple[list[Tensor], Tensor, Tensor, Tensor]) -> None:
    parts, w, index, u = case

    def message(s: Tensor, v: Tensor, t: Tensor, vectors: Tensor) -> tuple[Tensor, ...]:
        unit = vectors / vectors.norm(dim=1, keepdim=True)
        return tuple(cartesian_message([s, v, t], w[:3, :, :1], Directions(index[:, :3], unit), 3))

    inputs = [part[..., :1].clone().requires_grad_() for part in parts] + [(2.0 * u[:3]).requires_grad_()]
    assert torch.autograd.gradcheck(message, inputs)
    assert torch.autograd.gradgradcheck(message, inputs)


@pytest.mark.parametrize("n_ranks", [1, 2, 3])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 1e-5)], ids=["f64", "f32"])
def test_compiled_message_and_gradients_equal_torch(dtype: torch.dtype, tolerance: float, n_ranks: int) -> None:
    torch.manual_seed(0)
    size = 2 * WIDTH
    index = torch.tensor([[0, 0, 1, 2, 2, 4], [1, 4, 0, 4, 2, 2]])
    shapes = [(5, size), (5, 3, size), (5, 5, size), (6, PATHS[n_ranks - 1], size), (6, 3)]
    inputs = [torch.randn(shape, dtype=dtype, requires_grad=True) for shape in shapes]
    inputs[4] = torch.nn.functional.normalize(inputs[4].detach(), dim=1).requires_grad_()
    results = []
    for function in (cartesian_message, cartesian_formula):
        values = function(inputs[:3], inputs[3], Directions(index, inputs[4]), n_ranks)
        weights = [torch.cos(torch.arange(value.numel(), dtype=dtype)).view(value.shape) for value in values]
        total = sum((value * weight).sum() for value, weight in zip(values, weights))
        gradients = torch.autograd.grad(total, inputs, allow_unused=True, materialize_grads=True)
        results.append([*values, *gradients])
    for found, expected in zip(*results):
        assert (found - expected).abs().max() < tolerance * (1.0 + expected.abs().max())


def test_second_derivatives_of_the_compiled_message_equal_finite_differences() -> None:
    torch.manual_seed(0)
    index = torch.tensor([[0, 1], [1, 0]])
    shapes = [(2, WIDTH), (2, 3, WIDTH), (2, 5, WIDTH)]
    parts, weights = [normal(*shape) for shape in shapes], normal(2, PATHS[1], WIDTH)

    def message(scale: Tensor, vectors: Tensor) -> Tensor:
        unit = vectors / vectors.norm(dim=1, keepdim=True)
        scaled = [scale[0] * parts[0], scale[1] * parts[1], scale[2] * parts[2]]
        return torch.stack([x.sum() for x in cartesian_message(scaled, scale[3] * weights, Directions(index, unit), 2)])

    inputs = [1.0 + 0.1 * normal(4), normal(2, 3)]
    assert torch.autograd.gradgradcheck(message, [x.requires_grad_() for x in inputs])
