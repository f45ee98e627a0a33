"""Atoms objects as data, with the results of their calculators."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from molcalc.errors import DatasetError
from molcalc.train.data.declaration import Declaration
from molcalc.train.data.formats.atoms import row_of
from molcalc.train.data.formats.row import Row
from molcalc.train.data.formats.rows import RowFile

if TYPE_CHECKING:
    from ase import Atoms


class AtomsList(RowFile):
    """A list of Atoms in the place of a file; results that calculators have are labels, and nothing is calculated.

    Raises
    ------
    DatasetError
        When a calculator has results of another geometry.
    """

    word = "structure"

    def __init__(self, images: Sequence[Atoms], declared: Declaration) -> None:
        super().__init__(Path("list of Atoms"), declared)
        self._rows = [
            row_of(k, f"structure {k} of the list", atoms, _results(k, atoms)) for k, atoms in enumerate(images)
        ]

    @property
    def files(self) -> list[Path]:
        return []

    def rows(self) -> Iterator[Row]:
        """All structures in the order of the list."""
        return iter(self._rows)

    def content_hash(self) -> bytes:
        """Digest of everything that rows say."""
        digest = hashlib.blake2b(digest_size=16)
        for row in self._rows:
            for value in row:
                digest.update(_bytes(value))
        return digest.digest()


def _results(k: int, atoms: Atoms) -> dict[str, Any]:
    if atoms.calc is None:
        return {}
    if atoms.calc.results and (changed := atoms.calc.check_state(atoms)):
        raise DatasetError(
            f"structure {k} of the list: its calculator has results of another structure "
            f"({', '.join(changed)} differ): give every structure a SinglePointCalculator of its own"
        )
    return dict(atoms.calc.results)


def _bytes(value: Any) -> bytes:
    """Bytes that differ where values do, also inside of dicts of arrays."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, np.ndarray):
        return repr((value.dtype.str, value.shape)).encode() + np.ascontiguousarray(value).tobytes()
    if isinstance(value, dict):
        return b"".join(repr(key).encode() + _bytes(item) for key, item in value.items())
    return repr(value).encode()
