"""Reading structures: whatever ASE reads, with one clear error for a file that cannot be used."""

from __future__ import annotations

import glob
import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from ase import Atoms
from ase.io.formats import get_ioformat, string2index
from ase.io.formats import read as read_by_ase

from molcalc.cli.failures import Failures
from molcalc.errors import InputError, MissingFileError, MolcalcError
from molcalc.io.xyz_frames import check_xyz
from molcalc.structure_files.images import READ_HERE, check_structure_file, image_format, read_images, readers_named
from molcalc.train.data.formats.database_structures import DATABASES, structures_of_database

STANDARD_INPUT = "-"
_STDIN = "standard input"

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


def read_frames(name: str, *, latest: bool = False) -> list[InputStructure]:
    """Structures of ``FILE``, ``FILE@INDEX`` or ``-``.

    Parameters
    ----------
    latest : of a name without index take the last frame only; of a database, which is no path in time, all rows.

    Returns
    -------
    structures with the file and frame that each comes from

    Raises
    ------
    FileNotFoundError, InputError
        When there is no such file or frame, or the file cannot be read.
    """
    path, index = split_index(name)
    source = _STDIN if path == STANDARD_INPUT else path
    with readers_named(source, passed=(InputError, FileNotFoundError, IsADirectoryError, PermissionError)):
        frames = _read(path, index, latest)
    if not frames:
        raise InputError(f"{source} holds no structure")
    return [InputStructure(atoms, source, number) for number, atoms in frames]


def read_all(names: Sequence[str], failures: Failures, *, latest: bool = False) -> list[InputStructure]:
    """Structures of several files; of files that cannot be read, the reason goes to ``failures``.

    Parameters
    ----------
    latest : as in :func:`read_frames`.

    Returns
    -------
    structures in the order of the names
    """
    frames = []
    for name in names:
        files = _matching(name)
        if not files:
            failures.add(MissingFileError(f"no file matches {name}"))
        for file in files:
            try:
                frames += read_frames(file, latest=latest)
            except (MolcalcError, OSError) as error:
                failures.add(error)
    return frames


def _matching(name: str) -> list[str]:
    """Files of a pattern such as 'runs/*.xyz' or 'runs/*.xyz@-1' by name; the name itself where it is no pattern."""
    pattern, at, index = name.rpartition("@") if "@" in os.path.basename(name) else (name, "", "")
    if os.path.lexists(name) or os.path.lexists(pattern) or not any(sign in pattern for sign in "*?["):
        return [name]
    return [f"{file}{at}{index}" for file in sorted(glob.glob(pattern))]


def stems_of(frames: Sequence[InputStructure], wanted: str | None = None) -> list[str]:
    """Beginnings of the names of files that are made of several structures, no two of them equal.

    Parameters
    ----------
    wanted : by the user; None takes the names of the files.

    Returns
    -------
    NAME of a single structure; NAME-0, NAME-1, … of several, or of several in one file

    Raises
    ------
    InputError
        For the name of a folder, or none.
    """
    if wanted is not None:
        if not wanted or wanted.endswith(("/", os.sep)):
            raise InputError(f"{wanted!r} is no beginning of names of files: add one, such as {wanted}water")
        return [wanted] if len(frames) == 1 else [f"{wanted}-{k}" for k in range(len(frames))]
    counts = Counter(frame.stem for frame in frames)
    seen: Counter[str] = Counter()
    stems = []
    for frame in frames:
        stems.append(frame.stem if counts[frame.stem] == 1 else f"{frame.stem}-{seen[frame.stem]}")
        seen[frame.stem] += 1
    return stems


def sources_of(names: Iterable[str]) -> list[str]:
    """Files among what a user named, without indices and standard input."""
    files = [file for name in names if name != STANDARD_INPUT for file in _matching(name)]
    return [file if os.path.lexists(file) else file.rpartition("@")[0] for file in files]


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


def _read(name: str, index: Index | None, latest: bool) -> list[tuple[int, Atoms]]:
    if name == STANDARD_INPUT:
        index = _default(latest) if index is None else index
        text = sys.stdin.read()
        check_xyz(StringIO(text), _STDIN)
        return _select(read_by_ase(StringIO(text), index=":", format="extxyz"), index, _STDIN)
    path = Path(name)
    check_structure_file(path, name)
    # ASE takes names that begin with "postgres" or "mysql" for servers; an absolute path never does.
    full = os.path.abspath(name)
    form = image_format(Path(full))
    if index is None:
        index = _default(latest and form not in DATABASES)
    if form in DATABASES:
        return _select(structures_of_database(full, name), index, name)
    if isinstance(index, int) and form not in READ_HERE and not get_ioformat(form).single:
        # One frame of a long trajectory, without reading all of it.
        one = read_images(path, form, slice(index, index + 1 or None), name)
        if one:
            return [(index, one[0])]
    return _select(read_images(path, form, name=name), index, name)


def _default(latest: bool) -> Index:
    """Index of what is taken where a name has none."""
    return -1 if latest else slice(None)


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
