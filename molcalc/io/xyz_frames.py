"""Frames of XYZ files as lines, counted before anything is made of them."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple, TextIO

from molcalc.errors import InputError, short

log = logging.getLogger(__name__)

_SHOWN_OF_LINE = 40
"""Characters of a damaged line that an error message repeats."""
_COUNT = re.compile(r"-?[0-9]{1,18}")
"""What else Python takes for a number, such as 1_0 and digits of other scripts, is none in a file."""
_QM9_COMMENT = re.compile(r"gdb\s+\d+(\s+\S+){15}\s*")
_PAIR = re.compile(r"([+-]?\d)\s+(\d)")
"""What some programs write into the second line: charge and multiplicity."""
_PROPERTIES = re.compile(r"Properties\s*=\s*[\"'{\[]?\s*([^\s\"'}\]]+)")
"""What the second line says of the columns, however it is quoted."""
_NUMBERS = ("Z", "numbers")
"""Names of a column of atomic numbers."""
_QM9_TAIL = 3
"""Lines after the atoms of a molecule of QM9: frequencies, SMILES, InChI."""


class XYZFrame(NamedTuple):
    """Lines of one frame.

    Attributes
    ----------
    line : number of its first line in the file, from 1.
    comment : second line, without spaces around it.
    atoms : one line for each atom.
    vectors : lines "VEC1 x y z" after the atoms, which some programs write for cells.
    qm9 : frequencies, SMILES and InChI of a molecule of QM9; empty for others.
    """

    line: int
    comment: str
    atoms: list[str]
    vectors: list[str]
    qm9: list[str]


def xyz_frames(stream: TextIO, name: str) -> Iterator[XYZFrame]:
    """Frames of an XYZ file, plain, extended, or as QM9 has them.

    A small file that claims a billion atoms costs no more than its lines.

    Parameters
    ----------
    name : of the file, for messages.

    Yields
    ------
    frames in the order of the file

    Raises
    ------
    InputError
        When the number of atoms and the lines of a frame do not fit, or a frame begins with an empty line.
    """
    number, frame = 1, 0
    line = stream.readline()
    while line:
        if not line.strip():
            if stream.read().strip():
                raise InputError(f"{name}: frame {frame} begins with an empty line; remove it")
            return
        if not _COUNT.fullmatch(line.strip()):
            seen = line.strip()[:_SHOWN_OF_LINE]
            raise InputError(f"{name}: frame {frame} must begin with its number of atoms; found {seen!r}")
        claimed = int(line)
        comment = stream.readline().strip()
        atoms = list(islice(stream, max(claimed, 0)))
        if len(atoms) != claimed:
            raise InputError(f"{name}: frame {frame} claims {claimed} atoms, but {len(atoms)} lines follow")
        for properties in _PROPERTIES.findall(comment):
            _check_columns(properties, len(atoms[0].split()) if atoms else 0, f"{name}, line {number + 1}")
        if frame == 0 and (pair := _PAIR.fullmatch(comment)) and pair.groups() != ("0", "1"):
            log.warning(
                "%s: the second line %r is not read as charge and multiplicity; write charge=%s spin=%s there",
                name, comment, *pair.groups(),
            )  # fmt: skip
        first, number = number, number + 2 + claimed
        qm9, vectors = [], []
        if comment.startswith("gdb") and _QM9_COMMENT.fullmatch(comment):
            qm9 = list(islice(stream, _QM9_TAIL))
        line = stream.readline()
        while line.lstrip().startswith("VEC"):
            vectors.append(line)
            line = stream.readline()
        number += len(qm9) + len(vectors)
        yield XYZFrame(first, comment, atoms, vectors, qm9)
        frame += 1


def _check_columns(properties: str, words: int, where: str) -> None:
    """Refuse more columns than an atom has words, which may be a billion, and atomic numbers that are not integers."""
    fields = properties.split(":")
    names, kinds, widths = fields[::3], fields[1::3], fields[2::3]
    total = sum(int(width) if width.isascii() and width.isdigit() else 1 for width in widths)
    if words and total > words:
        raise InputError(f"{where}: Properties={short(properties)} are {total} columns; the first atom has {words}")
    for name, kind in zip(names, kinds):
        if name in _NUMBERS and kind != "I":
            raise InputError(f"{where}: the column {name} is of type {short(kind)}; atomic numbers are of type I")


def check_xyz(stream: TextIO, name: str) -> None:
    """Compare the atom counts of an XYZ file with its lines.

    ASE would spend minutes on a small file that claims a billion atoms, and would end silently at an empty line.

    Raises
    ------
    InputError
    """
    for _ in xyz_frames(stream, name):
        pass
