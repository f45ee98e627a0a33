"""Any other file that ASE reads: outputs of programs, structure files, bundles of frames."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ase.io.formats import UnknownFileTypeError, get_ioformat

from molcalc.errors import DatasetError
from molcalc.structure_files.images import READ_HERE, image_format, read_images
from molcalc.train.data.declaration import Declaration
from molcalc.train.data.formats.atoms import row_of
from molcalc.train.data.formats.row import Row
from molcalc.train.data.formats.rows import RowFile

_REFUSED = ("bundletrajectory", "db", "json", "mysql", "postgresql")
"""Formats that may hold pickles, and databases, which are known by their suffixes."""


class AseFile(RowFile):
    """Frames of a file with the results that ASE's reader finds in it, in ASE's units."""

    word = "frame"

    def __init__(self, path: Path, declared: Declaration) -> None:
        super().__init__(path, declared)
        try:
            self.form = image_format(self.content)
            read = self.form in READ_HERE or (get_ioformat(self.form).can_read and self.form not in _REFUSED)
        except (UnknownFileTypeError, IsADirectoryError):
            read = False
        if not read:
            raise DatasetError(
                f"{path}: not a file that ASE reads, nor one of .db, .json, .aselmdb, .xyz, .traj, .h5, .npz"
            )

    def rows(self) -> Iterator[Row]:
        """All frames in the order of the file."""
        for number, atoms in enumerate(read_images(self.content, self.form, name=self.name)):
            results: Any = {} if atoms.calc is None else atoms.calc.results
            yield row_of(number, f"{self.name}, frame {number}", atoms, results)
