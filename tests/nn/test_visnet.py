"""The blocks of ViSNet."""

from __future__ import annotations

import math

import pytest
import torch

from molcalc.nn.dense_graph import DenseGraph
from molcalc.nn.visnet import Pseudoscalars, ViSNet, edges_of, exponential_normal, harmonics, rejected_products

FLOAT = torch.float64


def rotation(seed: int = 0) -> torch.Tensor:
    q, _ = torch.linalg.qr(torch.randn(3, 3, dtype=FLOAT, generator=torch.Generator().manual_seed(seed)))
    return q * torch.linalg.det(q).sign()


def chain(torsion: float, angle: float, other: float) -> torch.Tensor:
    """(1, 4, 3) atoms of a chain with two angles and a torsion, in degrees."""
    phi, one, two = math.radians(torsion), math.radians(angle), math.radians(other)
    last = [math.sin(two) * math.cos(phi), math.sin(two) * math.sin(phi), 1.5 - math.cos(two)]
    return torch.tensor([[[math.sin(one), 0, math.cos(one)], [0, 0, 0], [0, 0, 1.5], last]], dtype=FLOAT)


def legendre(degree: int, x: float) -> float:
    """Products of harmonics of two directions, as a function of the cosine of their angle."""
    return x if degree == 1 else (3 * x**2 - 1) / 2


@pytest.mark.parametrize("degree", [1, 2])
@pytest.mark.parametrize(("angle", "other"), [(90.0, 90.0), (110.0, 75.0)])
@pytest.mark.parametrize("torsion", [0.0, 35.0, 110.0, -110.0, 180.0])
def test_rejection_by_degrees_gives_the_cosine_of_the_torsion(
    degree: int, angle: float, other: float, torsion: float
) -> None:
    """Of vectors along the outer bonds, less what lies along the bond between them, degree by degree."""
    x = chain(torsion, angle, other)
    edges = edges_of(x, DenseGraph.all_pairs(x), 10.0, 4, degree)
    outer = torch.zeros(1, 4, 3 if degree == 1 else 8, 1, dtype=FLOAT)
    outer[0, 1, :, 0] = edges.harmonics[0, 1, 0]
    outer[0, 2, :, 0] = edges.harmonics[0, 2, 3]
    found = float(rejected_products(outer, outer, edges)[0, 1, 2, 0])
    first, last = x[0, 0] - x[0, 1], x[0, 3] - x[0, 2]
    bond = torch.tensor([0.0, 0.0, 1.0], dtype=FLOAT)
    together, of_one, of_two = (float(a @ b) for a, b in ((first, last), (first, bond), (last, bond)))
    expected = sum(legendre(k, together) - legendre(k, of_one) * legendre(k, of_two) for k in range(1, degree + 1))
    assert found == pytest.approx(expected, abs=1e-9)
    if degree == 1:
        one, two, phi = (math.radians(each) for each in (angle, other, torsion))
        assert found == pytest.approx(math.sin(one) * math.sin(two) * math.cos(phi), abs=1e-9)


def test_each_degree_of_the_harmonics_is_a_unit_vector() -> None:
    units = torch.nn.functional.normalize(torch.randn(20, 3, dtype=FLOAT), dim=-1)
    y = harmonics(units, 2)
    assert torch.allclose(y[:, :3].norm(dim=1), torch.ones(20, dtype=FLOAT))
    assert torch.allclose(y[:, 3:].norm(dim=1), torch.ones(20, dtype=FLOAT))


def test_radial_functions_have_their_centers_between_0_and_the_cutoff() -> None:
    distances = torch.tensor([0.0, 8.0], dtype=FLOAT)
    values = exponential_normal(distances, 8.0, 16)
    assert values[0].argmax() == 15
    assert values[1].argmax() == 0


@pytest.mark.parametrize("degree", [1, 2])
def test_scalars_stay_and_vectors_turn_with_the_structure(degree: int) -> None:
    torch.manual_seed(0)
    network = ViSNet(8, 3, 2, 6, degree).double()
    own, near = torch.randn(2, 5, 8, dtype=FLOAT)
    x = torch.randn(2, 5, 3, dtype=FLOAT)
    turn = rotation()
    for positions in (x, -x):  # a mirror leaves scalars as they are, too
        before = network(own, near, positions, DenseGraph.all_pairs(positions), 8.0)
        turned = positions @ turn.T + 3.0
        after = network(own, near, turned, DenseGraph.all_pairs(turned), 8.0)
        assert torch.allclose(before[0], after[0], atol=1e-9)
        assert torch.allclose(torch.einsum("xy,biyf->bixf", turn, before[1][:, :, :3]), after[1][:, :, :3], atol=1e-9)
    mirrored = network(own, near, -x, DenseGraph.all_pairs(x), 8.0)
    assert torch.allclose(network(own, near, x, DenseGraph.all_pairs(x), 8.0)[0], mirrored[0], atol=1e-9)


def test_pseudoscalars_change_their_sign_in_a_mirror() -> None:
    torch.manual_seed(0)
    layer = Pseudoscalars(4, 3).double()
    vectors = torch.randn(1, 2, 3, 4, dtype=FLOAT)
    found = layer(vectors)
    assert torch.allclose(layer(torch.einsum("xy,biyf->bixf", rotation(), vectors)), found)
    assert torch.allclose(layer(-vectors), -found)
    assert (found.abs() > 1e-6).all()
    assert (found.abs() < 1).all()
