"""Reading structures: whatever ASE reads, with one clear error for a file that cannot be used.

Charge and multiplicity, which ASE drops from MDL molfiles and Gaussian input, are read here.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.io.formats import UnknownFileTypeError, filetype, get_ioformat, open_with_compression, string2index
from ase.io.formats import read as read_images

from molcalc.errors import InputError, MissingFileError
from molcalc.io.files import check_xyz
from molcalc.state import is_single, single, state_key

STANDARD_INPUT = "-"
_STDIN = "standard input"
DATABASES = ("db", "json")
MOLFILES = ("mol", "sdf")
GAUSSIAN_INPUT = "gaussian-in"
_CHARGE_OF_CODE = {1: 3, 2: 2, 3: 1, 5: -1, 6: -2, 7: -3}
"""e by the number in the sixth column of an atom; 4 is a radical."""
_DOUBLET_CODE, _DOUBLET = 4, 2

Index = int | slice


@dataclass(frozen=True)
class InputStructure:
    """One structure and where it comes from.

    Attributes
    ----------
    source : name of the file as the user wrote it, without index.
    number : position in the file, from 0; negative when it was asked for from the end.
    """

    atoms: Atoms
    source: str
    number: int

    @property
    def stem(self) -> str:
        """Beginning of the names of files that are made from this one."""
        return "stdin" if self.source == _STDIN else Path(self.source).stem

    @property
    def label(self) -> str:
        """Name for messages."""
        return f"{self.source}, frame {self.number}"


def read_frames(name: str, default: Index = slice(None)) -> list[InputStructure]:
    """Structures of ``FILE``, ``FILE@INDEX`` or ``-``.

    Parameters
    ----------
    default : the frames taken when the name has no index.

    Returns
    -------
    structures with the file and frame that each comes from

    Raises
    ------
    FileNotFoundError, InputError
        When there is no such file or frame, or the file cannot be read.
    """
    path, index = split_index(name)
    index = default if index is None else index
    source = _STDIN if path == STANDARD_INPUT else path
    try:
        frames = _read(path, index)
    except (InputError, FileNotFoundError, IsADirectoryError, PermissionError):
        raise
    except UnknownFileTypeError as error:
        raise InputError(f"{source}: ASE does not know this file format; see 'ase info --formats'") from error
    except Exception as error:  # readers of ASE raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{source} cannot be read: {reason}") from error
    if not frames:
        raise InputError(f"{source} holds no structure")
    return [InputStructure(atoms, source, number) for number, atoms in frames]


def read_structure(name: str) -> InputStructure:
    """One structure of ``FILE`` (the last one), ``FILE@INDEX`` or ``-``.

    Returns
    -------
    the structure with the file and frame that it comes from

    Raises
    ------
    FileNotFoundError, InputError
        As :func:`read_frames`, and when the index selects several.
    """
    frames = read_frames(name, default=-1)
    if len(frames) > 1:
        raise InputError(f"{name} selects {len(frames)} structures; this command takes one: FILE@-1 is the last")
    return frames[0]


def split_index(name: str) -> tuple[str, Index | None]:
    """Path and index of ``FILE@INDEX``; a file whose own name has an @ is that file.

    Returns
    -------
    path, and index or None

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    InputError
        For an index that is none.
    """
    if "@" not in os.path.basename(name) or os.path.lexists(name):
        return name, None
    path, _, text = name.rpartition("@")
    if not os.path.exists(path):
        raise MissingFileError(f"no file {name}")
    try:
        index = string2index(text)
    except (ValueError, TypeError):
        index = text
    if isinstance(index, str):
        raise InputError(f"{name}: {text!r} is not an index such as 0, -1, 2:10 or ::5")
    return path, index


def _read(name: str, index: Index) -> list[tuple[int, Atoms]]:
    if name == STANDARD_INPUT:
        text = sys.stdin.read()
        check_xyz(StringIO(text), _STDIN)
        return _select(read_images(StringIO(text), index=":", format="extxyz"), index, _STDIN)
    path = Path(name)
    if not path.exists():
        raise MissingFileError(f"no file {name}")
    if not path.is_file():
        raise InputError(f"{name} is a folder; a structure file is needed")
    if path.stat().st_size == 0:
        raise InputError(f"{name} is empty")
    # ASE takes names that begin with "postgres" or "mysql" for servers; an absolute path never does.
    full = os.path.abspath(name)
    form = filetype(full)
    if form in DATABASES:
        return _select(_read_database(full), index, name)
    if form in ("extxyz", "xyz"):
        with open_with_compression(full, "r") as stream:
            check_xyz(stream, name)
    if isinstance(index, int) and not get_ioformat(form).single:
        # One frame of a long trajectory, without reading all of it.
        one: Any = _images(full, form, slice(index, index + 1 or None))
        if one:
            return [(index, one[0])]
    images = _images(full, form, slice(None))
    stated = stated_in(full, form)
    for atoms in images:
        atoms.info.update(stated)
    return _select(images, index, name)


def _images(path: str, form: str, index: slice) -> Any:
    return read_images(path, index=index, format=form, do_not_split_by_at_sign=True)


def _select(images: list[Atoms], index: Index, name: str) -> list[tuple[int, Atoms]]:
    """Numbered images of an index."""
    numbers = range(len(images))
    if isinstance(index, slice):
        return [(number, images[number]) for number in numbers[index]]
    if not images:
        return []
    if not -len(images) <= index < len(images):
        raise InputError(f"{name} has no frame {index}: its {len(images)} frames are 0…{len(images) - 1}")
    return [(numbers[index], images[index])]


def _read_database(path: str) -> list[Atoms]:
    """Structures of an ASE database, with the keys of their rows, and what their data state of charge and the like."""
    from ase.db import connect

    images = []
    with connect(path) as database:
        for row in database.select():
            atoms = row.toatoms()
            in_data = {key: value for key, value in row.data.items() if state_key(key) and is_single(value)}
            # Keys live beside ASE's own names; row.charge, for one, is a property that hides a key of that name.
            keys = {key: vars(row)[key] for key in row._keys}
            for key in in_data.keys() & keys.keys():
                if single(in_data[key]) not in (None, single(keys[key])):
                    raise InputError(
                        f"{path} row {row.id}: {key} among the keys and among the data of the row differ: remove one"
                    )
            atoms.info.update({**in_data, **keys})
            images.append(atoms)
    return images


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
