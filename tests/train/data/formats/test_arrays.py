"""Arrays that hold many structures of one size."""

from __future__ import annotations

import re

import numpy as np
import pytest

from molcalc.errors import DatasetError
from molcalc.train.data.block import Block
from molcalc.train.data.formats.arrays import arrays_of, block_of, shaped, texts_of
from molcalc.train.data.problems import Problems

NUMBERS = np.array([[8, 1, 1], [9, 1, 0]])
RNG = np.random.default_rng(0)
POSITIONS = RNG.normal(size=(2, 3, 3))


def block(**arrays: np.ndarray) -> Block:
    """Water and hydrogen fluoride with other arrays, as rows 5 and 6."""
    return block_of(
        {"Z": NUMBERS, "R": POSITIONS, **arrays}, 5, {"Z": "numbers", "R": "positions"}, {}, Problems(), "x.npz"
    )


def test_padding_is_cut() -> None:
    found = block(charges=np.array([[-0.8, 0.4, 0.4], [-0.4, 0.4, 7.0]]))
    assert found.atoms["numbers"].tolist() == [8, 1, 1, 9, 1]
    assert np.array_equal(found.atoms["positions"], np.concatenate([POSITIONS[0], POSITIONS[1, :2]]))
    assert found.atoms["charges"].tolist() == [-0.8, 0.4, 0.4, -0.4, 0.4]
    assert found.systems["row"].tolist() == [5, 6]


def test_a_label_that_is_nan_throughout_a_structure_is_missing_and_one_that_is_so_in_parts_is_infinite() -> None:
    forces = np.ones((2, 3, 3))
    forces[0] = np.nan
    forces[1, 1, 2] = np.nan
    found = block(forces=forces)
    assert np.isnan(found.atoms["forces"][:3]).all()
    assert found.atoms["forces"][3:].tolist() == [[1, 1, 1], [1, 1, np.inf]]


def test_arrays_of_as_many_numbers_get_the_shape_of_their_name() -> None:
    assert shaped("a.npz: D", "dipole", np.ones((2, 1, 3)), 2, 3).shape == (2, 3)
    assert shaped("a.npz: charge", "charge", np.ones((2, 1)), 2, 3).shape == (2,)
    assert shaped("a.npz: stress", "stress", np.ones((2, 6)), 2, 3).shape == (2, 6)
    assert shaped("a.npz: weights", "weights", np.ones((2, 5)), 2, 3).shape == (2, 5)


@pytest.mark.parametrize(
    ("name", "shape", "expected"), [("dipole", (2, 4), (2, 3)), ("charges", (2, 4), (2, 3)), ("spin", (2, 2), (2,))]
)
def test_arrays_of_another_number_are_refused(name: str, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    text = f"a.npz: x has shape {shape}; expected {expected} for 2 structures of 3 atoms"
    with pytest.raises(DatasetError, match=re.escape(text)):
        shaped("a.npz: x", name, np.ones(shape), 2, 3)


def test_rows_without_atoms_are_noted_and_left_out() -> None:
    problems = Problems()
    found = block_of(
        {"numbers": np.array([[0, 0], [9, 1]]), "positions": np.ones((2, 2, 3))}, 0, {}, {}, problems, "x.npz"
    )
    assert found.systems["row"].tolist() == [1]
    assert problems.rows == {"there are no atoms": [0]}


def test_points_end_with_the_last_potential() -> None:
    esp = np.array([[0.1, 0.2, np.nan], [np.nan, np.nan, np.nan]])
    points = RNG.normal(size=(2, 3, 3))
    found = block(esp=esp, esp_points=points)
    assert found.systems["n_points"].tolist() == [2, 0]
    assert found.points["esp"].tolist() == [0.1, 0.2]
    assert np.array_equal(found.points["esp_points"], points[0, :2])


def test_points_without_potentials_are_marked() -> None:
    found = block(esp=np.ones((2, 4)), esp_points=np.ones((2, 3, 3)))
    assert found.systems["n_points"].tolist() == [-1, -1]


def test_scalars_are_keys_and_other_arrays_data_without_padding() -> None:
    found = block(step=np.array([3, 4]), weights=np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))
    assert found.keys == {"step": [3, 4]}
    assert [own.tolist() for own in found.data["weights"]] == [[1, 2, 3], [4, 5]]


def test_arrays_of_a_block_make_the_same_block_again() -> None:
    charges = np.array([[0.1, 0.2, 0.3], [np.nan] * 3])
    found = block(charges=charges, energy=np.array([1.0, 2.0]), weights=np.ones((2, 3, 2)))
    found.keys["name"] = ["water", None]
    texts = texts_of(found)
    arrays = arrays_of(found, found, texts, 3)
    again = block_of(arrays, 5, {}, texts, Problems(), "x.npz")
    for kind in ("system", "atom"):
        assert again.part(kind).keys() == found.part(kind).keys()
        for name, values in found.part(kind).items():
            assert np.array_equal(again.part(kind)[name], values, equal_nan=True), name
    assert again.keys == found.keys
    assert [own.tolist() for own in again.data["weights"]] == [own.tolist() for own in found.data["weights"]]


def test_data_of_several_shapes_have_no_array() -> None:
    found = block()
    found.data["grid"] = [np.ones(5), np.ones(6)]
    with pytest.raises(DatasetError, match="data 'grid' are not arrays of one shape"):
        arrays_of(found, found, {}, 3)
