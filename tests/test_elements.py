"""Symbols that people write: elements are found, everything else is explained with line and cure."""

from __future__ import annotations

import pytest

from molcalc.elements import atomic_number, check_xyz_symbols
from molcalc.errors import UnsupportedElementError


@pytest.mark.parametrize(("symbol", "number"), [("C", 6), ("cl", 17), ("BR", 35), ("CA", 20), ("Og", 118)])
def test_symbols_are_found_in_any_case(symbol: str, number: int) -> None:
    assert atomic_number(symbol) == number


@pytest.mark.parametrize(
    ("symbol", "message"),
    [
        ("D", "deuterium.*[Ww]rite H.*2.014"),
        ("C1", "label.*write C$"),
        ("Cl12", "label.*write Cl$"),
        ("HB2", "label.*write H$"),
        ("Fe3+", "ion: write Fe.*charge"),
        ("Cl-", "ion: write Cl.*charge"),
        ("6", "atomic number: write C,"),
        ("300", "1 to 118"),
        ("X", "dummy"),
        ("Xq", "not an element"),
        ("", "not an element"),
    ],
)
def test_what_is_no_element_is_explained(symbol: str, message: str) -> None:
    with pytest.raises(UnsupportedElementError, match=message):
        atomic_number(symbol)


def test_line_of_a_wrong_symbol_is_named() -> None:
    frames = "1\n\nH 0 0 0\n2\n\nH 0 0 0\nD 0 0 1\n"
    with pytest.raises(UnsupportedElementError, match=r"^a\.xyz, line 7 \(atom 1\): 'D' is deuterium"):
        check_xyz_symbols(frames.splitlines(), "a.xyz")


def test_symbols_in_any_column_are_read_and_numbers_are_none_of_them() -> None:
    there = '1\nLattice="1 0 0 0 1 0 0 0 1" Properties=pos:R:3:species:S:1\n0 0 0 {}\n'
    check_xyz_symbols(there.format("He").splitlines(), "a.xyz")
    with pytest.raises(UnsupportedElementError, match="line 3 .*'C1'"):
        check_xyz_symbols(there.format("C1").splitlines(), "a.xyz")
    check_xyz_symbols(["1", "Properties=Z:I:1:pos:R:3", "6 0 0 0"], "a.xyz")
    check_xyz_symbols(["no", "such", "file"], "a.xyz")
