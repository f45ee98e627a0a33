"""Elements by the symbols that people write, and masses: what is none is explained, with the line and the cure."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols

from molcalc.errors import InputError, UnsupportedElementError, short, suggest

LARGEST_NUMBER = len(chemical_symbols) - 1
"""Largest atomic number that has a symbol."""
ISOTOPES = {"D": ("deuterium", 2.014), "T": ("tritium", 3.016)}
"""Names and masses (u) of the isotopes of hydrogen that have symbols of their own."""
PLACEHOLDERS = ("X", "Xx", "Bq", "Gh", "Du", "Lp", "Q")
"""Dummy and ghost atoms of other programs."""
_LETTERS = re.compile(r"[A-Za-z]+")
_ION = re.compile(r"\d*[+-]+\d*")


def atomic_number(symbol: str) -> int:
    """Atomic number of an element by its symbol, in whatever case.

    Returns
    -------
    Z, from 1

    Raises
    ------
    UnsupportedElementError
        For anything else: an isotope, a label such as "C1", an ion, a number, a dummy atom. Says what to write instead.
    """
    number = atomic_numbers.get(symbol.capitalize(), 0)
    if number == 0:
        raise UnsupportedElementError(_explanation(symbol))
    return number


def check_numbers(numbers: Iterable[int], where: str) -> None:
    """Refuse atomic numbers that no element has; 0, a dummy atom, is left to whoever computes.

    Parameters
    ----------
    where : structure that has them, for messages.

    Raises
    ------
    UnsupportedElementError
        Names the first.
    """
    for atom, number in enumerate(numbers):
        if not 0 <= number <= LARGEST_NUMBER:
            raise UnsupportedElementError(
                f"{where}, atom {atom}: {number} is no atomic number: allowed are 1 to {LARGEST_NUMBER}"
            )


def check_masses(atoms: Atoms) -> None:
    """Refuse masses with which nothing can move.

    Raises
    ------
    InputError
        Names the first that is no positive number.
    """
    masses = atoms.get_masses()
    wrong = ~(np.isfinite(masses) & (masses > 0))
    if wrong.any():
        atom = int(np.flatnonzero(wrong)[0])
        raise InputError(
            f"the mass of atom {atom} ({atoms.symbols[atom]}) is {masses[atom]:g} u; it must be a positive number: "
            "atoms.set_masses(None) takes those of the elements"
        )


def check_xyz_symbols(lines: Iterable[str], name: str) -> None:
    """Explain the first atom of an XYZ file that is no element.

    Only what is wrong with symbols is looked at: a file of another shape passes, for its reader to refuse.

    Parameters
    ----------
    lines : of one or more frames, plain or extended.
    name : of the file, as the user wrote it.

    Raises
    ------
    UnsupportedElementError
        Names file, line and atom, and says what to write instead.
    """
    numbered = enumerate(lines, start=1)
    for _, line in numbered:
        if not line.split() or not line.split()[0].isdigit():
            return
        n_atoms = int(line.split()[0])
        _, comment = next(numbered, (0, ""))
        column = _symbol_column(comment)
        for atom in range(n_atoms):
            number, row = next(numbered, (0, ""))
            words = row.split()
            if column is None or len(words) <= column:
                continue
            try:
                atomic_number(words[column])
            except UnsupportedElementError as error:
                raise UnsupportedElementError(f"{name}, line {number} (atom {atom}): {error}") from error


def _symbol_column(comment: str) -> int | None:
    """Column of the symbols, by the second line of a frame; None where atomic numbers stand for them."""
    found = re.search(r"Properties=\"?([^\s\"]+)", comment)
    if found is None:
        return 0
    fields = found[1].split(":")
    columns = 0
    for kind, width in zip(fields[::3], fields[2::3]):
        if kind == "species":
            return columns
        columns += int(width) if width.isdigit() else 1
    return None


def _explanation(symbol: str) -> str:
    """What a text is that stands where a symbol should, and what to write instead."""
    shown = short(symbol)
    if symbol in ISOTOPES:
        isotope, mass = ISOTOPES[symbol]
        return (
            f"{shown} is {isotope}, an isotope: models know elements. Write H, and set the mass where it matters: "
            f"atoms.set_masses([… {mass} …])"
        )
    if symbol.isdigit():
        number = int(symbol)
        if not 1 <= number <= LARGEST_NUMBER:
            return f"{shown} is no atomic number: allowed are 1 to {LARGEST_NUMBER}"
        element = chemical_symbols[number]
        return f'{shown} is an atomic number: write {element}, or say "Properties=Z:I:1:pos:R:3" in the second line'
    if symbol.capitalize() in PLACEHOLDERS:
        return f"{shown} is a dummy or ghost atom, not an element: remove it"
    letters = _LETTERS.match(symbol)
    rest = symbol[letters.end() :] if letters else ""
    element = _element_in(letters[0]) if letters else None
    if element is not None and _ION.fullmatch(rest):
        return f"{shown} is an ion: write {element}, and state the total charge (charge=… in the second line)"
    if element is not None:
        return f"{shown} is a label, not an element: write {element}"
    return (
        f"{shown} is not an element{suggest(symbol.capitalize(), chemical_symbols[1:])}: write a symbol such as C or Cl"
    )


def _element_in(letters: str) -> str | None:
    """The element that a label of letters begins with: two of them count as in "Cl", one as in "CA" or "HB"."""
    for length, text in ((2, letters[:2]), (1, letters[:1].upper())):
        if len(text) == length and len(letters) <= 3 and text in atomic_numbers and text not in PLACEHOLDERS:
            return text
    return None
