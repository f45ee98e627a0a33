"""What every file of structures offers."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, ClassVar, TextIO

from molcalc.errors import DatasetError, damaged
from molcalc.io.budget import bounded_memory
from molcalc.io.files import UNREADABLE, decompressed, open_text
from molcalc.train.data.block import Block
from molcalc.train.data.declaration import Declaration
from molcalc.train.data.declared_units import unit_factors
from molcalc.train.data.problems import Problems

READ_SIZE = 1 << 22


class DataFile(ABC):
    """A file of structures with results, opened for reading.

    Parameters
    ----------
    declared : what the user says of units and names of labels.

    Attributes
    ----------
    word : what the file calls a row, for messages.
    factors : from the units of the file to eV, Å and e, by name; ones are left out.
    metadata : what the file says about all its rows.
    selection : query or slice of the rows that count; None for all.
    """

    word: ClassVar[str] = "row"

    def __init__(self, path: Path, declared: Declaration) -> None:
        self.path = path
        self.declared = declared
        self.selection: str | None = None
        self.metadata: dict[str, Any] = {}
        self.factors = unit_factors(declared.units, self.name)

    @classmethod
    def partners(cls, paths: Sequence[Path]) -> dict[Path, Path]:
        """The second file of each that is one of a pair; most kinds of files have none."""
        return {}

    @classmethod
    def kind_of(cls, path: Path) -> type[DataFile]:
        """Class that reads a file with the suffix of this kind; some suffixes stand for several layouts."""
        return cls

    @property
    def name(self) -> str:
        """File name for messages."""
        return self.path.name

    @property
    def content(self) -> Path:
        """The file to read from: itself, or a decompressed copy."""
        return content_of(self.path)

    @property
    def files(self) -> list[Path]:
        """Everything whose content decides what is read."""
        if self.path.is_dir():
            return sorted(path for path in self.path.rglob("*") if path.is_file())
        return [self.path]

    def bounded_memory(self) -> AbstractContextManager[None]:
        """Keeps a reader to the budget of the file."""
        return bounded_memory(self.path, self.name) if self.path.is_file() else nullcontext()

    def open_text(self) -> TextIO:
        """The file as text, decompressed if its name says that it is compressed."""
        return open_text(self.path)

    @abstractmethod
    def read(self, problems: Problems) -> Iterator[Block]:
        """All structures in the order of the file, some thousand at a time, as the file has them.

        Parameters
        ----------
        problems : takes the rows that cannot be packed, which are left out.

        Returns
        -------
        Blocks with ``n_atoms``, ``row``, ``cell``, ``pbc``, ``numbers``, ``positions`` and whatever else there is.

        Raises
        ------
        DatasetError
            When the file is damaged.
        """

    @staticmethod
    def write(path: Path, blocks: Iterator[Block], metadata: Mapping[str, Any]) -> int:
        """Write structures in eV, Å and e into a new file.

        Returns
        -------
        Number of structures.

        Raises
        ------
        DatasetError
            When files of this kind are only read, or cannot hold what the structures carry.
        """
        raise DatasetError(f"{path}: files of this kind are read, not written")

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


def content_of(path: Path) -> Path:
    """What to read a file from: itself, or a decompressed copy."""
    try:
        return decompressed(path)
    except UNREADABLE as error:
        raise damaged(path, error) from error
