"""Extended XYZ; energies, forces and stress as ASE names them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from molcalc.io.files import check_xyz
from molcalc.train.data.formats.atoms import row_of
from molcalc.train.data.formats.base import RowByRowSource
from molcalc.train.data.rows import Row


class XYZSource(RowByRowSource):
    """Frames of an extended XYZ file, with the results that ASE's reader puts into the calculator of a frame."""

    word = "frame"

    def read(self) -> Iterator[Row]:
        """All frames in the order of the file."""
        from ase.io.extxyz import read_xyz

        with open(self.path, encoding="utf-8") as stream:
            check_xyz(stream, self.name)
            stream.seek(0)
            for number, atoms in enumerate(read_xyz(stream, index=slice(None))):
                results: Any = {} if atoms.calc is None else atoms.calc.results
                yield row_of(number, atoms, results)
