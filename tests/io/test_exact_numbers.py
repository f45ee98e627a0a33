"""Numbers that are not what they seem."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from molcalc.errors import DatasetError
from molcalc.io.exact_numbers import exact_flags, exact_integers, real_numbers

ODD = {
    "complex": [1 + 0j],
    "text": ["1"],
    "bytes": [b"1"],
    "objects": [None],
    "a ragged list": [[1], [1, 2]],
    "a date": np.array(["2020-01-01"], dtype="M8[D]"),
}


@pytest.mark.parametrize(
    "values", [[8, 1], [8.0, 1.0], np.array([8, 1], dtype="<u8"), np.array([8, 1], dtype="<f2"), []]
)
def test_whole_numbers_are_kept(values: Any) -> None:
    found = exact_integers(values, "Z")
    assert found.dtype == np.int64
    assert found.tolist() == list(values)


@pytest.mark.parametrize(
    "values",
    [
        [7.9999998],
        [8.4],
        [np.nan],
        [np.inf],
        [2**32 + 8],
        [-(2.0**40)],
        np.array([2**63 + 1], "<u8"),
        [True],
        *ODD.values(),
    ],
    ids=str,
)
def test_others_are_refused_with_their_place(values: Any) -> None:
    with pytest.raises(DatasetError, match=r"x\.npz: Z"):
        exact_integers(values, "x.npz: Z")


@pytest.mark.parametrize("values", [[1, 0], [True, False], [1.0, 0.0], []])
def test_flags_are_true_and_false(values: Any) -> None:
    assert exact_flags(values, "pbc").tolist() == [bool(value) for value in values]


@pytest.mark.parametrize("values", [[2], [0.5], [np.nan], *ODD.values()], ids=str)
def test_other_flags_are_refused(values: Any) -> None:
    with pytest.raises(DatasetError, match="pbc"):
        exact_flags(values, "pbc")


def test_real_numbers_are_in_double_precision() -> None:
    assert real_numbers(np.array([1.5], dtype="<f4"), "E").dtype == np.float64
    assert np.isnan(real_numbers([1, np.nan], "E")).tolist() == [False, True]


@pytest.mark.parametrize("values", [[True], [[1.0, 2.0], [3.0, True]], *ODD.values()], ids=str)
def test_what_is_no_real_number_is_refused(values: Any) -> None:
    with pytest.raises(DatasetError, match="E"):
        real_numbers(values, "E")
