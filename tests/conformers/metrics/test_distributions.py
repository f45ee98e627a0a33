"""Distributions and their divergences: bounds, closed circles, outer bins, halves."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import molecule

from molcalc.conformers.metrics.distributions import (
    BOND_EDGES,
    counts,
    divergences,
    jensen_shannon,
    map_counts,
    torsion_counts,
)
from molcalc.conformers.metrics.internal_coordinates import InternalCoordinates
from molcalc.conformers.molecules import molecule_of
from tests.helpers.peroxides import peroxides


def test_equal_shares_have_no_divergence_and_disjoint_ones_have_one() -> None:
    p = np.array([1.0, 5.0, 0.0, 2.0])
    assert jensen_shannon(p, 3.0 * p) == 0.0
    assert jensen_shannon(np.array([1, 2, 0, 0]), np.array([0, 0, 4, 1])) == 1.0


def test_the_divergence_is_the_entropy_of_the_mixture_beyond_that_of_its_parts() -> None:
    p, q = np.array([0.5, 0.5, 0.0]), np.array([0.0, 0.25, 0.75])

    def entropy(shares: np.ndarray) -> float:
        return float(-sum(share * np.log2(share) for share in shares if share))

    expected = entropy(0.5 * (p + q)) - 0.5 * (entropy(p) + entropy(q))
    assert jensen_shannon(p, q) == pytest.approx(expected)
    assert jensen_shannon(q, p) == pytest.approx(expected)


def test_what_lies_outside_the_edges_is_counted() -> None:
    found = counts(np.array([0.1, 0.5, 1.0, 2.99, 3.0, 99.0]), BOND_EDGES)
    assert len(found) == len(BOND_EDGES) + 1
    assert (found[0], found[1], found[-2], found[-1], found.sum()) == (1, 1, 1, 2, 6)


def test_torsions_close_to_a_circle() -> None:
    assert torsion_counts(np.array([180.0, -180.0, -179.0])).tolist() == [3] + [0] * 35
    table = map_counts(np.array([[180.0, 10.0], [-180.0, 5.0], [-1.0, 179.9]]))
    assert table.shape == (24, 24)
    assert table[0, 12] == 2
    assert table[11, 23] == 1


def test_mirror_images_differ_in_their_torsions_only() -> None:
    """Frames of one hand beside frames of both: all else has the divergence of sampling."""
    structure = molecule("H2O2")
    coordinates = InternalCoordinates.of(molecule_of(structure, "it"), structure.positions)
    one, both = (np.array([each.positions for each in peroxides(150, seed=1, positive=p)]) for p in (1.0, 0.5))
    found = {(each.kind, each.name): each for each in divergences(coordinates, one, both)}
    assert set(found) == {("bond", "H–O"), ("bond", "O–O"), ("angle", "H–O–O"), ("torsion", "H2–O0–O1–H3")}
    torsion = found["torsion", "H2–O0–O1–H3"]
    # Half of the reference lies where nothing is generated: 1 - 3/4 log2(3) + ... of (1, 0) and (1/2, 1/2).
    assert torsion.value == pytest.approx(0.311, abs=0.05)
    assert torsion.halves < 0.2
    for kind in ("bond", "angle"):
        assert max(each.value for each in found.values() if each.kind == kind) < 0.1


def test_a_shift_of_all_bonds_is_their_wasserstein_distance() -> None:
    structure = molecule("H2O2")
    coordinates = InternalCoordinates.of(molecule_of(structure, "it"), structure.positions)
    frames = np.array([each.positions for each in peroxides(50)])
    (bond,) = [each for each in divergences(coordinates, 1.1 * frames, frames) if each.name == "O–O"]
    length = structure.get_distance(0, 1)
    assert bond.wasserstein == pytest.approx(0.1 * length, rel=1e-6)
    assert bond.wasserstein_halves == pytest.approx(0.0, abs=1e-6)
