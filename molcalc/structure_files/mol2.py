"""Tripos MOL2 files of any number of molecules, with their partial charges."""

from __future__ import annotations

from collections.abc import Iterator

from ase import Atoms

from molcalc.elements import atomic_number
from molcalc.errors import InputError, UnsupportedElementError
from molcalc.io.plain_numbers import decimal

_SECTION = "@<TRIPOS>"
_NO_CHARGES = "NO_CHARGES"
_WORDS = 6
"""Of a line of an atom up to its type: number, name, x, y, z, type; the ninth is the charge."""
_CHARGE = 8


def read_mol2(text: str, name: str) -> list[Atoms]:
    """Structures of all molecules; partial charges are their initial charges.

    Parameters
    ----------
    name : of the file, for messages.

    Returns
    -------
    structures, with the name of each in ``info``

    Raises
    ------
    InputError
        Names the line.
    """
    images = []
    for header, atoms in _molecules(text):
        numbers, positions, charges = [], [], []
        for place, line in atoms:
            words = line.split()
            try:
                if len(words) < _WORDS:
                    raise ValueError("it has too few words")
                positions.append([decimal(word) for word in words[2:5]])
                numbers.append(atomic_number(words[5].split(".")[0]))
                charges += [decimal(words[_CHARGE])] if len(words) > _CHARGE else []
            except UnsupportedElementError as error:
                raise InputError(f"{name}, line {place}: {error}") from error
            except ValueError as error:
                raise InputError(f"{name}, line {place}: {line.strip()!r} is no line of an atom: {error}") from error
        charged = len(charges) == len(numbers) and _NO_CHARGES not in header
        info = {"name": header[0].strip()} if header and header[0].strip() else {}
        images.append(Atoms(numbers, positions, charges=charges if charged else None, info=info))
    return images


def _molecules(text: str) -> Iterator[tuple[list[str], list[tuple[int, str]]]]:
    """Lines of the header, and numbered lines of the atoms, of each molecule."""
    header: list[str] = []
    atoms: list[tuple[int, str]] = []
    section = ""
    for place, line in enumerate(text.splitlines(), start=1):
        if line.startswith(_SECTION):
            section = line.removeprefix(_SECTION).strip()
            if section == "MOLECULE" and atoms:
                yield header, atoms
                header, atoms = [], []
        elif section == "MOLECULE":
            header.append(line.strip())
        elif section == "ATOM" and line.strip():
            atoms.append((place, line))
    if atoms:
        yield header, atoms
