"""Charge and multiplicity stated in files whose readers in ASE drop them: MDL molfiles and Gaussian input."""

from __future__ import annotations

from typing import Any

from ase.io.formats import open_with_compression
from ase.io.formats import read as read_images

MOLFILES = ("mol", "sdf")
GAUSSIAN_INPUT = "gaussian-in"
_CHARGE_OF_CODE = {1: 3, 2: 2, 3: 1, 5: -1, 6: -2, 7: -3}
"""e by the number in the sixth column of an atom; 4 is a radical."""
_DOUBLET_CODE, _DOUBLET = 4, 2


def stated_in(path: str, form: str) -> dict[str, Any]:
    """Keys of ``atoms.info`` that ASE's reader of a format leaves in the file; none for other formats.

    Parameters
    ----------
    form : ASE's name of the format.

    Returns
    -------
    values by key; only what the file states
    """
    if form in MOLFILES:
        with open_with_compression(path, "r") as stream:
            return of_molfile(stream.read())
    return of_gaussian_input(path) if form == GAUSSIAN_INPUT else {}


def of_molfile(text: str) -> dict[str, int]:
    """Total charge and multiplicity of the first record of a V2000 molfile or SDF file, as keys of ``atoms.info``.

    Lines ``M  CHG`` and ``M  RAD`` take the place of the column of the atoms, as the format has it. Formal charges of
    which none is written state nothing; neither do several radical centers, whose spins may be parallel or not.

    Returns
    -------
    values by key; only what the file states

    References
    ----------
    BIOVIA, CTfile Formats (2020): the Ctab block, the properties block.
    """
    lines = text.splitlines()
    charges: dict[int, int] = {}
    radicals: dict[int, int] = {}
    first = 4
    end = first + int(lines[3][:3])
    for atom, line in enumerate(lines[first:end], start=1):
        code = int(line[36:39].strip() or 0)
        if code in _CHARGE_OF_CODE:
            charges[atom] = _CHARGE_OF_CODE[code]
        elif code == _DOUBLET_CODE:
            radicals[atom] = _DOUBLET
    properties = [line for line in _until_end(lines[end:]) if line.startswith(("M  CHG", "M  RAD"))]
    if properties:
        charges, radicals = {}, {}
    for line in properties:
        numbers = [int(word) for word in line[9:].split()]
        target = charges if line.startswith("M  CHG") else radicals
        target.update(zip(numbers[::2], numbers[1::2]))
    stated = {}
    if charges:
        stated["charge"] = sum(charges.values())
    if len(radicals) == 1:
        stated["multiplicity"] = next(iter(radicals.values()))
    return stated


def _until_end(lines: list[str]) -> list[str]:
    """Lines of one record."""
    for k, line in enumerate(lines):
        if line.startswith(("M  END", "$$$$")):
            return lines[:k]
    return lines


def of_gaussian_input(path: str) -> dict[str, Any]:
    """Total charge and multiplicity of a Gaussian input file, as keys of ``atoms.info``."""
    # ASE reads the line of both, but keeps it only in a calculator.
    atoms: Any = read_images(path, format=GAUSSIAN_INPUT, do_not_split_by_at_sign=True, attach_calculator=True)
    parameters = atoms.calc.parameters
    return {"charge": parameters["charge"], "multiplicity": parameters["mult"]}
