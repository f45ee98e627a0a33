"""Extended XYZ; energies, forces and stress as ASE names them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from molcalc.errors import DatasetError, InputError
from molcalc.files import check_xyz
from molcalc.train.data.rows import Row
from molcalc.train.data.sources.atoms import row_of
from molcalc.train.data.sources.base import Source, damaged

CHUNK = 1000


class XYZSource(Source):
    """Frames of an extended XYZ file, with the results that ASE's reader puts into the calculator of a frame."""

    word = "frame"

    def chunks(self) -> Iterator[Sequence[Row]]:
        from ase.io.extxyz import read_xyz

        chunk: list[Row] = []
        try:
            with open(self.path, encoding="utf-8") as stream:
                check_xyz(stream, self.name)
                stream.seek(0)
                for number, atoms in enumerate(read_xyz(stream, index=slice(None))):
                    results: Any = {} if atoms.calc is None else atoms.calc.results
                    chunk.append(row_of(number, atoms, results))
                    if len(chunk) == CHUNK:
                        yield chunk
                        chunk = []
        except DatasetError:
            raise
        except InputError as error:
            raise DatasetError(str(error)) from error
        except Exception as error:  # readers of ASE raise anything
            raise damaged(self.path, error) from error
        if chunk:
            yield chunk
