"""MDL molfiles and SDF files of any number of records, V2000 and V3000, with charge, spin and data items.

References
----------
BIOVIA, CTfile Formats (2020).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ase import Atoms

from molcalc.elements import atomic_number
from molcalc.errors import InputError, UnsupportedElementError
from molcalc.io.plain_numbers import decimal, whole_number

_CHARGE_OF_CODE = {1: 3, 2: 2, 3: 1, 5: -1, 6: -2, 7: -3}
"""e by the number in the sixth column of an atom; 4 is a radical."""
_DOUBLET_CODE, _DOUBLET = 4, 2
_HEADER = 4
"""Lines before the atoms of a V2000 record; the last of them has the counts."""
_END_OF_RECORD = "$$$$"
_ITEM = re.compile(r">.*<(.+)>")


def read_molfile(text: str, name: str) -> list[Atoms]:
    """Structures of all records.

    Lines ``M  CHG`` and ``M  RAD`` take the place of the column of the atoms, as the format has it. Formal charges of
    which none is written state nothing; neither do several radical centers, whose spins may be parallel or not.

    Parameters
    ----------
    name : of the file, for messages.

    Returns
    -------
    structures whose ``info`` has ``charge`` and ``multiplicity``, where the record states them, the title as ``name``
    and the data items of SDF

    Raises
    ------
    InputError
        Names the record and the line.
    """
    images = []
    for number, (first, lines) in enumerate(_records(text)):
        try:
            images.append(_structure(lines))
        except _BadLine as error:
            raise InputError(f"{name}, line {first + error.line} (record {number}): {error}") from error
    return images


class _BadLine(Exception):
    """A line that cannot be read, by its position in the record."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


def _records(text: str) -> Iterator[tuple[int, list[str]]]:
    """Number of the first line in the file, from 1, and lines of each record."""
    lines: list[str] = []
    first = 1
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith(_END_OF_RECORD):
            yield first, lines
            lines, first = [], number + 1
        else:
            lines.append(line)
    if any(line.strip() for line in lines):
        yield first, lines


def _structure(lines: list[str]) -> Atoms:
    if len(lines) < _HEADER:
        raise _BadLine(f"a record of {len(lines)} lines; expected a header of {_HEADER}", 0)
    read = _read_v3000 if "V3000" in lines[_HEADER - 1] else _read_v2000
    symbols, positions, charges, radicals = read(lines)
    info: dict[str, Any] = {}
    if lines[0].strip():
        info["name"] = lines[0].strip()
    if charges:
        info["charge"] = sum(charges.values())
    if len(radicals) == 1:
        info["multiplicity"] = next(iter(radicals.values()))
    info.update(_items(lines))
    return Atoms(symbols, positions, info=info)


_Read = tuple[list[int], list[list[float]], dict[int, int], dict[int, int]]
"""Atomic numbers, positions, and charges and radicals by number of the atom."""


def _read_v2000(lines: list[str]) -> _Read:
    try:
        n_atoms = whole_number(lines[_HEADER - 1][:3])
    except ValueError as error:
        raise _BadLine(
            f"{lines[_HEADER - 1].strip()!r} does not begin with the number of atoms", _HEADER - 1
        ) from error
    end = _HEADER + n_atoms
    numbers, positions = [], []
    charges: dict[int, int] = {}
    radicals: dict[int, int] = {}
    for k, line in enumerate(lines[_HEADER:end], start=1):
        place = _HEADER + k - 1
        x, y, z, symbol = _words(line, 4, place)
        positions.append(_floats([x, y, z], place))
        numbers.append(_number(symbol, place))
        code = int(line[36:39].strip() or 0) if line[36:39].strip().isdigit() else 0
        if code in _CHARGE_OF_CODE:
            charges[k] = _CHARGE_OF_CODE[code]
        elif code == _DOUBLET_CODE:
            radicals[k] = _DOUBLET
    if len(numbers) != n_atoms:
        raise _BadLine(f"{n_atoms} atoms are announced, {len(numbers)} follow", _HEADER - 1)
    properties = [
        (place, line)
        for place, line in enumerate(_until_end(lines[end:]), start=end)
        if line.startswith(("M  CHG", "M  RAD"))
    ]
    if properties:
        charges, radicals = {}, {}
    for place, line in properties:
        target = charges if line.startswith("M  CHG") else radicals
        target.update(_values_of_atoms(line, n_atoms, place))
    return numbers, positions, charges, radicals


def _values_of_atoms(line: str, n_atoms: int, place: int) -> dict[int, int]:
    """Values by number of the atom of a line ``M  CHG`` or ``M  RAD``: how many pairs, and the pairs."""
    words = line[6:].split()
    are_numbers = bool(words) and all(re.fullmatch(r"-?\d+", word, re.ASCII) for word in words)
    if not are_numbers or len(words) != 1 + 2 * int(words[0]):
        raise _BadLine(f"{line.strip()!r} is no number of atoms with an atom and a value for each", place)
    numbers = [int(word) for word in words[1::2]]
    strange = [number for number in numbers if not 1 <= number <= n_atoms]
    if strange or len(set(numbers)) < len(numbers):
        raise _BadLine(f"{line.strip()!r} names an atom that is not among the {n_atoms}, or one twice", place)
    return dict(zip(numbers, (int(word) for word in words[2::2])))


def _read_v3000(lines: list[str]) -> _Read:
    numbers, positions = [], []
    charges: dict[int, int] = {}
    radicals: dict[int, int] = {}
    inside, kept = False, ""
    for place, line in enumerate(_until_end(lines)):
        if not line.startswith("M  V30 "):
            continue
        text = kept + line[7:].strip()
        kept = ""
        if text.endswith("-"):  # goes on in the next line
            kept = text[:-1]
        elif text.startswith(("BEGIN ATOM", "END ATOM")):
            inside = text.startswith("BEGIN")
        elif inside:
            number, symbol, x, y, z = _words(text, 5, place)
            positions.append(_floats([x, y, z], place))
            numbers.append(_number(symbol, place))
            for key, value in re.findall(r"\b(CHG|RAD)=(-?[0-9]+)", text):
                (charges if key == "CHG" else radicals)[int(number)] = int(value)
    return numbers, positions, charges, radicals


def _words(line: str, n: int, place: int) -> list[str]:
    words = line.split()[:n]
    if len(words) < n:
        raise _BadLine(f"{line.strip()!r} is no line of an atom", place)
    return words


def _floats(words: list[str], place: int) -> list[float]:
    try:
        return [decimal(word) for word in words]
    except ValueError as error:
        raise _BadLine(f"{' '.join(words)!r} are no coordinates", place) from error


def _number(symbol: str, place: int) -> int:
    try:
        return atomic_number(symbol)
    except UnsupportedElementError as error:
        raise _BadLine(str(error), place) from error


def _until_end(lines: list[str]) -> list[str]:
    """Lines before the end of the molecule."""
    return lines[: next((k for k, line in enumerate(lines) if line.startswith("M  END")), len(lines))]


def _items(lines: list[str]) -> dict[str, Any]:
    """Data items of a record; what is one number becomes one."""
    found: dict[str, Any] = {}
    name = ""
    values: list[str] = []
    for line in [*lines, ""]:
        if header := _ITEM.match(line):
            name, values = header[1], []
        elif name and line.strip():
            values.append(line.strip())
        elif name:
            found[name] = _plain("\n".join(values))
            name = ""
    return found


def _plain(text: str) -> Any:
    for kind in (whole_number, decimal):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
