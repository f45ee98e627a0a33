"""Packed arrays of some structures."""

from __future__ import annotations

import numpy as np

from molcalc.train.data.block import Block, concatenated


def block(first: int, sizes: list[int], **systems: np.ndarray) -> Block:
    n = sum(sizes)
    numbers = np.arange(first, first + n)
    return Block({"n_atoms": np.array(sizes), **systems}, {"numbers": numbers, "positions": np.ones((n, 3))}, {})


def test_atoms_of_a_structure_are_found() -> None:
    found = block(1, [2, 3])
    assert found.atoms["numbers"][found.atoms_of(1)].tolist() == [3, 4, 5]
    assert found.points_of(1) == slice(0, 0)


def test_what_is_kept_stays_together() -> None:
    found = block(1, [2, 3, 1], n_points=np.array([1, 0, 2]))
    found.points["esp"] = np.array([0.1, 0.2, 0.3])
    found.keys["name"], found.data["grid"] = ["a", "b", "c"], [None, 1, 2]
    kept = found.only(np.array([False, True, True]))
    assert kept.atoms["numbers"].tolist() == [3, 4, 5, 6]
    assert kept.points["esp"].tolist() == [0.2, 0.3]
    assert (kept.keys["name"], kept.data["grid"]) == (["b", "c"], [1, 2])


def test_concatenated_blocks_lack_what_one_of_them_lacks() -> None:
    first = block(1, [2], energy=np.array([1.5]))
    second = block(3, [1, 1], n_points=np.array([0, 1]))
    second.points.update(esp=np.array([0.1]), esp_points=np.ones((1, 3)))
    second.keys["name"] = ["b", "c"]
    first.data["grid"] = [7]
    whole = concatenated([first, second])
    assert np.array_equal(whole.systems["energy"], [1.5, np.nan, np.nan], equal_nan=True)
    assert whole.systems["n_points"].tolist() == [0, 0, 1]
    assert whole.atoms["numbers"].tolist() == [1, 2, 3, 4]
    assert whole.points["esp"][whole.points_of(2)].tolist() == [0.1]
    assert (whole.keys["name"], whole.data["grid"]) == ([None, "b", "c"], [7, None, None])
