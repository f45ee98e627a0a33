"""Guard of existing files and folders: nothing is replaced that nobody meant to replace.

Every command and function that writes asks here first, before any work is done, and keeps the name of its target from
others (:func:`reserved`) until it is written:

===========================  ===========================================================================
at the place of the target   what happens
===========================  ===========================================================================
nothing                      it is written, if its folder is there and can be written to
a file                       refused, unless ``force`` is given
a link, also a broken one    as a file. What is written in one piece takes the place of the link, not of what the link
                             points to; what grows frame by frame is written through the link
an input of the same run     refused, also with ``force``; so is a file of a folder that is an input, as of the model
a folder                     refused, where a file is to be written; a model directory is replaced with ``force``, a
                             folder that holds anything else never
a pipe, socket or device     refused: a rename would put a file in its place
===========================  ===========================================================================
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from molcalc.errors import InputError, MolcalcError
from molcalc.io.files import check_regular, make_parents
from molcalc.io.locks import only_writer


def check_file(path: Path, *, force: bool, inputs: Iterable[Path] = (), error: type[MolcalcError] = InputError) -> None:
    """Refuse a file to write that would replace something, or cannot be written where it is to be.

    Parameters
    ----------
    force : replace a file that is there.
    inputs : files that the same run reads.
    error : class of the errors about what is there.

    Raises
    ------
    InputError
        Or ``error``: when the target is refused.
    """
    if path.is_dir():
        raise error(f"{path} is a folder; give the name of a file")
    check_regular(path, error)
    check_not_input(path, inputs, error=error)
    if os.path.lexists(path) and not force:
        raise error(f"{path} exists: give another name, or --force to replace it (in Python force=True)")
    if not path.parent.is_dir():
        raise error(f"{path}: the folder {path.parent} does not exist")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise InputError(f"{path}: the folder {path.parent} cannot be written to; choose another one")


@contextlib.contextmanager
def reserved(
    path: Path, *, force: bool, inputs: Iterable[Path] = (), error: type[MolcalcError] = InputError
) -> Iterator[None]:
    """Keep the name of a file to write, which :func:`check_file` lets pass, from other runs until the block ends.

    Of two runs that begin with the same new name, the second one is told before it has worked in vain.

    Parameters are those of :func:`check_file`.

    Raises
    ------
    InputError
        Or ``error``: when the target is refused.
    InUseError
        When another run is going to write it.
    ResourceError
        When the lock file beside it cannot be written.
    """
    files = tuple(inputs)
    check_file(path, force=force, inputs=files, error=error)
    with only_writer(path):
        check_file(path, force=force, inputs=files, error=error)  # the run before may have written it just now
        yield


def check_distinct(paths: Iterable[Path | None]) -> None:
    """Refuse to write two things into one file, however it is spelled.

    Raises
    ------
    InputError
    """
    named: set[str] = set()
    for path in paths:
        if path is None:
            continue
        real = os.path.realpath(path)
        if real in named:
            raise InputError(f"{path} is named twice: give every file that is written a name of its own")
        named.add(real)


def check_not_input(path: Path, inputs: Iterable[Path], *, error: type[MolcalcError] = InputError) -> None:
    """Refuse a target that is an input of the same run, or a file of a folder that is one, under whatever name.

    Parameters
    ----------
    inputs : files or folders that the run reads.
    error : class of the error.

    Raises
    ------
    InputError
        Or ``error``.
    """
    for file in inputs:
        if not (path.exists() and file.exists()):
            continue
        if path.samefile(file):
            raise error(f"{path} is an input and the target at the same time: give the target another name")
        if file.is_dir() and Path(os.path.realpath(path)).is_relative_to(os.path.realpath(file)):
            raise error(f"{path} belongs to the input {file}: give the target another name")


def check_folder(path: Path, *, force: bool, kind: str, owns: Callable[[str], bool]) -> None:
    """Refuse a folder to write that would replace a file, or mix with files of another kind.

    Parameters
    ----------
    force : replace the files of its kind that are there.
    kind : what is to be written, as in "a model directory".
    owns : whether a file of that name belongs to a folder of the kind.

    Raises
    ------
    InputError
        When the target is refused.
    """
    check_not_file(path, kind)
    if not path.is_dir():
        return
    names = sorted(file.name for file in path.iterdir())
    strange = [name for name in names if not owns(name)]
    if strange:
        raise InputError(f"{path} is a folder with other files ({strange[0]}): choose another name")
    if names and not force:
        raise InputError(f"{path} exists: give another name, or --force to replace it (in Python force=True)")


@contextlib.contextmanager
def reserved_folder(path: Path, *, force: bool, kind: str, owns: Callable[[str], bool]) -> Iterator[None]:
    """Keep the name of a folder to write, which :func:`check_folder` lets pass, from other runs until the block ends.

    Parameters are those of :func:`check_folder`.

    Raises
    ------
    InputError
        When the target is refused.
    InUseError
        When another run is going to write it.
    ResourceError
        When the folder that it is to be in cannot be made or written to.
    """
    check_folder(path, force=force, kind=kind, owns=owns)
    make_parents(path)  # for the lock, which is beside it
    with only_writer(path):
        check_folder(path, force=force, kind=kind, owns=owns)
        yield


def check_not_file(path: Path, kind: str) -> None:
    """Refuse a folder to write where a file, a broken link or the like is.

    Parameters
    ----------
    kind : what is to be written, as in "a run".

    Raises
    ------
    InputError
    """
    if os.path.lexists(path) and not path.is_dir():
        raise InputError(f"{path} is a file; {kind} is a folder: choose another name")
