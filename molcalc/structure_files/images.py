"""Images of structure files: what ASE reads, with the charge and spin that its readers leave in the file."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any, TextIO

from ase import Atoms
from ase.io.formats import UnknownFileTypeError, filetype, get_ioformat, read

from molcalc.elements import check_numbers, check_xyz_symbols
from molcalc.errors import InputError, MissingFileError, reason_of
from molcalc.io.budget import bounded_memory
from molcalc.io.exact_numbers import exact_integers
from molcalc.io.files import COMPRESSED, check_regular, open_text
from molcalc.io.plain_numbers import decimal, numbers_of_python
from molcalc.io.xyz_frames import XYZFrame, xyz_frames
from molcalc.state import CHARGE_KEYS, state_key
from molcalc.structure_files.mol2 import read_mol2
from molcalc.structure_files.molfiles import read_molfile
from molcalc.structure_files.stated_charges import stated_in, unread_mention

log = logging.getLogger(__name__)

MOLFILES = ("mol", "sdf")
MOL2 = "mol2"
READ_HERE = (*MOLFILES, MOL2)
"""Formats that are not ASE's, or that ASE reads one structure of."""
XYZ = ("extxyz", "xyz")
TRAJECTORY = "traj"
GAUSSIAN = "gaussian-in"
_CHARGE_LINE = re.compile(r"^[ \t]*[+-]?\d+(?:[ \t,]+[+-]?\d+)+[ \t]*$", re.MULTILINE)
"""Charge and multiplicity of a Gaussian input, of all and of fragments."""
_ANNOUNCED = {
    "gen": re.compile(r"\A\s*(\d+)"),
    "gromacs": re.compile(r"\A[^\n]*\n\s*(\d+)"),
    "rmc6f": re.compile(r"^Number of atoms:\s*(\d+)", re.MULTILINE),
}
"""Numbers of atoms in files of which ASE reads any part; in other formats it compares them, or there are none."""
EVERYTHING = slice(None)


def check_structure_file(path: Path, name: str) -> None:
    """Refuse what is no file with something in it.

    Parameters
    ----------
    name : of the file, for messages.

    Raises
    ------
    FileNotFoundError, InputError
    """
    if not path.exists():
        raise MissingFileError(f"no file {name}")
    check_regular(path)
    if not path.is_file():
        raise InputError(f"{name} is a folder; a file is needed")
    if path.stat().st_size == 0:
        raise InputError(f"{name} is empty")


@contextmanager
def readers_named(name: str, passed: tuple[type[Exception], ...]) -> Iterator[None]:
    """Make one error of whatever readers of ASE raise.

    Parameters
    ----------
    name : of the file.
    passed : errors that say enough as they are.

    Raises
    ------
    InputError
        For every other error in the block.
    """
    try:
        yield
    except passed:
        raise
    except UnknownFileTypeError as error:
        raise InputError(f"{name}: ASE does not know this file format; see 'ase info --formats'") from error
    except Exception as error:  # readers of ASE raise anything
        raise InputError(f"{name} cannot be read: {reason_of(error)}") from error


def image_format(path: Path) -> str:
    """ASE's name of the format of a file, or one of our own.

    Returns
    -------
    name of the format

    Raises
    ------
    UnknownFileTypeError
        When ASE does not know it.
    """
    plain = Path(path.stem) if path.suffix.lower() in COMPRESSED else path
    if plain.suffix.lower() == f".{MOL2}":
        return MOL2
    return str(get_ioformat(filetype(os.path.abspath(path))).name)


def read_images(path: Path, form: str, index: slice = EVERYTHING, name: str | None = None) -> list[Atoms]:
    """Structures of a file.

    Parameters
    ----------
    form : ASE's name of the format.
    index : which of them.
    name : of the file, for messages; its path unless given.

    Returns
    -------
    structures; what the file states of charge and multiplicity is in their ``info``

    Raises
    ------
    InputError
        When the file cannot be read; readers of ASE raise anything else.
    """
    shown = str(path) if name is None else name
    images = _images(path, form, index, shown)
    for number, atoms in enumerate(images):
        check_numbers(atoms.numbers.tolist(), f"{shown}, structure {number}")
    return images


def _images(path: Path, form: str, index: slice, shown: str) -> list[Atoms]:
    if form in MOLFILES:
        with open_text(path) as stream:
            return read_molfile(stream.read(), shown)[index]
    if form == MOL2:
        with open_text(path) as stream:
            return read_mol2(stream.read(), shown)[index]
    if form in XYZ:
        return _read_xyz(path, index, shown)
    if form == TRAJECTORY:
        _check_trajectory(path)
    images = _read_by_ase(path, form, index, shown)
    _check_announced(path, form, images, shown)
    stated = stated_in(path, form)
    for atoms in images:
        atoms.info.update(stated)
    if images and not _states_charge(images[0]) and (mention := unread_mention(path, form)):
        log.warning("%s speaks of a charge, which is not read from files of this kind (%s)", shown, mention)
    return list(images)


def _check_announced(path: Path, form: str, images: Sequence[Atoms], shown: str) -> None:
    """Refuse a file with fewer atoms than it says, where ASE takes those that are there."""
    if form not in _ANNOUNCED or not images:
        return
    with open_text(path) as stream:
        found = _ANNOUNCED[form].search(stream.read())
    if found and int(found[1]) != len(images[0]):
        raise InputError(f"{shown} announces {found[1]} atoms and has {len(images[0])}: it is cut off or damaged")


def _check_trajectory(path: Path) -> None:
    """Refuse atomic numbers that are not whole, which ASE would cut; the first frame has them, and any whose differ."""
    from ase.io import ulm

    with open(path, "rb") as handle:
        for number, frame in enumerate(ulm.Reader(handle)):
            if "numbers" in frame:
                exact_integers(frame.numbers, f"frame {number}: numbers")


def _read_by_ase(path: Path, form: str, index: slice, shown: str) -> Any:
    known = get_ioformat(form)
    with bounded_memory(path, shown):
        if known.acceptsfd and not known.isbinary and known.encoding is None:  # ASE would read it as the locale says
            with open_text(path) as stream:
                images = read(_as_ase_reads(stream, form), index=index, format=form)
            _refuse_numbers_of_python(path, form, index, images, shown)
            return images
        # ASE takes names that begin with "postgres" or "mysql" for servers; an absolute path never does.
        return read(path.absolute(), index=index, format=form, do_not_split_by_at_sign=True)


def _refuse_numbers_of_python(path: Path, form: str, index: slice, images: list[Atoms], shown: str) -> None:
    """Refuse 1_0 and digits of other scripts where a reader of ASE has taken them for numbers.

    They may stand in a title. Whether they do is found by taking them out: the structures stay the same then.

    Raises
    ------
    InputError
        Names the line.
    """
    with open_text(path) as stream:
        found = [(place, words) for place, line in enumerate(stream, 1) if (words := numbers_of_python(line))]
    if not found:
        return
    with open_text(path) as stream:
        lines = _as_ase_reads(stream, form).readlines()
    for place, words in found:
        for word in words:
            lines[place - 1] = lines[place - 1].replace(word, "?" * len(word))
        try:
            same = read(StringIO("".join(lines)), index=index, format=form) == images
        except Exception:  # readers of ASE raise anything; here it means that they wanted a number
            same = False
        if not same:
            raise InputError(
                f"{shown}, line {place}: {words[0]!r} is not a number as files have them; write its digits"
            )


def _as_ase_reads(stream: TextIO, form: str) -> TextIO:
    """A file in the spelling that ASE's reader of its format takes: without commas between charge and multiplicity."""
    if form != GAUSSIAN:
        return stream
    return StringIO(_CHARGE_LINE.sub(lambda found: found[0].replace(",", " "), stream.read(), count=1))


def _read_xyz(path: Path, index: slice, shown: str) -> list[Atoms]:
    with open_text(path) as stream:
        molecules = [_of_qm9(frame) for frame in xyz_frames(stream, shown) if frame.qm9]
    if molecules:
        return molecules[index]
    try:
        return list(_read_by_ase(path, "extxyz", index, shown))
    except KeyError:  # which is how ASE speaks of symbols
        with open_text(path) as stream:
            check_xyz_symbols(stream, shown)
        raise


def _of_qm9(frame: XYZFrame) -> Atoms:
    words = [line.replace("*^", "e").split() for line in frame.atoms]
    positions = [[decimal(word) for word in row[1:4]] for row in words]
    return Atoms([row[0] for row in words], positions, info={"name": " ".join(frame.comment.split()[:2])})


def _states_charge(atoms: Atoms) -> bool:
    return any(state_key(str(key)) in CHARGE_KEYS for key in atoms.info) or bool(atoms.get_initial_charges().any())
