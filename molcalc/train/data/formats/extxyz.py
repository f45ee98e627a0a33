"""Extended XYZ; energies, forces and stress as ASE names them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from molcalc.io.files import check_xyz
from molcalc.train.data.block import Block
from molcalc.train.data.formats.atoms import atoms_with_info, row_of
from molcalc.train.data.formats.row import Row
from molcalc.train.data.formats.rows import RowFile


class ExtendedXYZ(RowFile):
    """Frames of an extended XYZ file, with the results that ASE's reader puts into the calculator of a frame."""

    word = "frame"

    def rows(self) -> Iterator[Row]:
        """All frames in the order of the file."""
        from ase.io.extxyz import read_xyz

        with open(self.path, encoding="utf-8") as stream:
            check_xyz(stream, self.name)
            stream.seek(0)
            for number, atoms in enumerate(read_xyz(stream, index=slice(None))):
                results: Any = {} if atoms.calc is None else atoms.calc.results
                yield row_of(number, atoms, results)

    @staticmethod
    def write(path: Path, blocks: Iterator[Block], metadata: Mapping[str, Any]) -> int:
        """Write structures with eight decimals; charge, keys and data stand in the comment line of each frame."""
        from ase.io.extxyz import write_xyz

        count = 0
        with open(path, "w", encoding="utf-8") as stream:
            for block in blocks:
                write_xyz(stream, [atoms_with_info(block, k) for k in range(len(block))])
                count += len(block)
        return count
