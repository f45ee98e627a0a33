"""What every reader of a file offers."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from molcalc.errors import DatasetError, InputError
from molcalc.train.data.declared_units import unit_factors
from molcalc.train.data.rows import Row

READ_SIZE = 1 << 22
CHUNK = 1000
"""Rows that are read before they are packed."""


class Source(ABC):
    """A file of structures with results.

    Attributes
    ----------
    word : what the file calls a row, for messages.
    factors : from the units of the file to eV, Å and e, by name; ones are left out.
    metadata : what the file says about all its rows.
    """

    word = "row"

    def __init__(self, path: Path, declared: Mapping[str, str]) -> None:
        self.path = path
        self.declared = dict(declared)
        self.metadata: dict[str, Any] = {}
        self.factors = unit_factors(declared, self.name)

    @property
    def name(self) -> str:
        """File name for messages."""
        return self.path.name

    @property
    def files(self) -> list[Path]:
        """Everything whose content decides what is read."""
        if self.path.is_dir():
            return sorted(path for path in self.path.rglob("*") if path.is_file())
        return [self.path]

    @abstractmethod
    def chunks(self) -> Iterator[Sequence[Row]]:
        """All rows in the order of the file, some thousand at a time.

        Raises
        ------
        DatasetError
            When the file is damaged.
        """

    def rows(self) -> Iterator[Row]:
        """All rows, one by one."""
        for chunk in self.chunks():
            yield from chunk

    def row_label(self, row: int) -> str:
        """Text of the number of a row, for messages."""
        return str(row)

    def check(self) -> None:  # noqa: B027
        """Look for damage that reading alone would not find.

        Raises
        ------
        DatasetError
        """

    def content_hash(self) -> bytes:
        """Digest of the bytes of the file."""
        digest = hashlib.blake2b(digest_size=16)
        try:
            for path in self.files:
                with open(path, "rb") as handle:
                    while part := handle.read(READ_SIZE):
                        digest.update(part)
        except OSError as error:
            raise DatasetError(f"{self.path} cannot be read: {error.strerror or error}") from error
        return digest.digest()


class RowByRowSource(Source):
    """A file whose reader gives one row after the other and may raise anything."""

    @abstractmethod
    def read(self) -> Iterator[Row]:
        """All rows in the order of the file."""

    def chunks(self) -> Iterator[Sequence[Row]]:
        """All rows in the order of the file, :data:`CHUNK` at a time."""
        rows = self.read()
        while True:
            try:
                chunk = list(islice(rows, CHUNK))
            except DatasetError:
                raise
            except InputError as error:
                raise DatasetError(str(error)) from error
            except Exception as error:  # readers of ASE raise anything
                raise damaged(self.path, error) from error
            if not chunk:
                return
            yield chunk


def as_bytes(values: Any) -> bytes | None:
    """Little-endian float64 bytes of an array; None for None."""
    return None if values is None else np.ascontiguousarray(values, dtype="<f8").tobytes()


def damaged(path: Path, error: BaseException) -> DatasetError:
    """The error for a file that its reader cannot make sense of."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return DatasetError(f"{path} is damaged or not what its name says: {reason}")
