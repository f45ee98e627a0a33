"""Least distances over rotations: the same as by singular values, of any shape, never by a mirror."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from molcalc.conformers.superposition import rmsd_matrix

CLOSE = 1e-5
"""Å; near zero the root of a difference of squares leaves 1e-7, for structures in a line 1e-6."""


def by_singular_values(first: np.ndarray, second: np.ndarray) -> float:
    """The method of Kabsch, step by step."""
    first, second = first - first.mean(axis=0), second - second.mean(axis=0)
    left, values, right = np.linalg.svd(first.T @ second)
    values[2] *= np.sign(np.linalg.det(left) * np.linalg.det(right))
    return float(np.sqrt(max(0.0, np.sum(first**2) + np.sum(second**2) - 2.0 * values.sum()) / len(first)))


@pytest.mark.parametrize("dimensions", [3, 2, 1], ids=["in space", "in a plane", "in a line"])
def test_distances_are_those_of_kabsch(dimensions: int) -> None:
    rng = np.random.default_rng(dimensions)
    first, second = rng.normal(size=(4, 7, 3)), rng.normal(size=(5, 7, 3))
    first[:, :, dimensions:] = 0.0
    expected = [[by_singular_values(one, other) for other in second] for one in first]
    assert rmsd_matrix(first, second) == pytest.approx(np.array(expected), abs=CLOSE)
    turned = first @ Rotation.random(None, rng).as_matrix() + [1.0, 2.0, 3.0]
    assert np.diag(rmsd_matrix(first, turned)) == pytest.approx(np.zeros(4), abs=CLOSE)


def test_mirror_images_are_not_superimposed() -> None:
    positions = np.random.default_rng(0).normal(size=(1, 6, 3))
    mirrored = positions * [1.0, 1.0, -1.0]
    assert rmsd_matrix(positions, mirrored)[0, 0] == pytest.approx(by_singular_values(positions[0], mirrored[0]))
    assert rmsd_matrix(positions, mirrored)[0, 0] > 0.3


def test_the_least_distance_over_exchanges_is_found() -> None:
    positions = np.random.default_rng(1).normal(size=(3, 5, 3))
    order = np.array([2, 0, 1, 4, 3])
    exchanged = positions[:, order]
    assert np.diag(rmsd_matrix(positions, exchanged)).min() > 0.3
    # Which atom of the second stands for each of the first: the inverse of the order.
    maps = [np.arange(5), np.argsort(order)]
    assert np.diag(rmsd_matrix(positions, exchanged, maps)) == pytest.approx(np.zeros(3), abs=CLOSE)


def test_one_atom_has_no_distance_from_another() -> None:
    assert rmsd_matrix(np.zeros((1, 1, 3)), np.ones((2, 1, 3))).tolist() == [[0.0, 0.0]]
