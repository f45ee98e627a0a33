"""Check of LMDB files before their library maps them, where a number of a page beyond the file ends the process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from molcalc.errors import MissingPackageError

LMDB = ".aselmdb"
"""Ending of the databases of ASE that are such files."""


def check_sound(path: Path) -> None:
    """Refuse a file of which something is missing, or in which a page refers to what it must not.

    The package of LMDB checks this by Python alone: all pages that can be reached, in 6 µs for each row.

    Raises
    ------
    ValueError
        When it is damaged, or no LMDB file.
    MissingPackageError
        Without the package lmdb, or with one below version 3.
    OSError
    """
    with lmdb_packages():
        from lmdb import verify

    try:
        problems = verify.verify(str(path), subdir=False)
    except verify.VerifyError as error:
        raise ValueError(str(error)) from error
    if problems:
        raise ValueError(problems[0] + (f" ({len(problems) - 1} more of this kind)" if problems[1:] else ""))


@contextlib.contextmanager
def lmdb_packages() -> Iterator[None]:
    """Say what is to be installed when an import of the block fails.

    Raises
    ------
    MissingPackageError
    """
    try:
        yield
    except ImportError as error:
        raise MissingPackageError(
            f"databases {LMDB} need the packages ase-db-backends and lmdb, version 3 or later: "
            f"pip install --upgrade ase-db-backends lmdb ({error})"
        ) from error
