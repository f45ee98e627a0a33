"""A data format: text files of one structure per line, for data that come from a script or a web service.

    molcalc convert molecules.db molecules.jsonl
    molcalc train molecules.jsonl --model aimnet2 --output runs/x

In the package this is ``train/data/formats/json_lines.py``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from molcalc.errors import DatasetError
from molcalc.properties import LABELS
from molcalc.train.data.block import Block
from molcalc.train.data.formats import Format
from molcalc.train.data.formats.atoms import data_of, keys_of, labels_of, row_of
from molcalc.train.data.formats.row import Row
from molcalc.train.data.formats.rows import RowFile

IN_RESULTS = {name: label.ase_name for name, label in LABELS.items() if label.ase_name is not None}
"""What ASE calls the labels that it knows."""


class JSONLines(RowFile):
    """Lines like ``{"numbers": [8, 1, 1], "positions": [[0, 0, 0.1], …], "energy": -2080.1, "total_charge": 0}``.

    Labels have the names of :data:`molcalc.properties.LABELS`; ``cell`` and ``pbc`` may be left out. Numbers and texts
    beside them are keys, lists are data. Units are eV, Å and e, or what the user declares.
    """

    word = "line"

    def rows(self) -> Iterator[Row]:
        """All lines in the order of the file."""
        with open(self.path, encoding="utf-8") as stream:
            for number, line in enumerate(stream, start=1):
                try:
                    yield _row(number, f"{self.name}, line {number}", json.loads(line))
                except (ValueError, TypeError, KeyError, AttributeError) as error:
                    raise DatasetError(
                        f"{self.name}, line {number}: {error!r}; expected an object with numbers and positions"
                    ) from error

    @staticmethod
    def write(path: Path, blocks: Iterator[Block], metadata: Mapping[str, Any]) -> int:
        """Write structures in eV, Å and e, to the last digit; returns how many."""
        count = 0
        with open(path, "w", encoding="utf-8") as stream:
            for block in blocks:
                for k in range(len(block)):
                    entry = {**_geometry(block, k), **labels_of(block, k), **keys_of(block, k), **data_of(block, k)}
                    stream.write(json.dumps(entry, default=lambda value: value.tolist()) + "\n")
                count += len(block)
        return count


def _row(number: int, where: str, entry: dict[str, Any]) -> Row:
    """The row of a line."""
    geometry = {name: entry.pop(name) for name in ("numbers", "positions", "cell", "pbc") if name in entry}
    results = {theirs: entry.pop(name) for name, theirs in IN_RESULTS.items() if name in entry}
    data = {name: np.asarray(value) for name, value in entry.items() if isinstance(value, list)}
    keys = {name: value for name, value in entry.items() if name not in data}
    atoms = Atoms(geometry.pop("numbers"), geometry.pop("positions"), **geometry, info=keys)
    return row_of(number, where, atoms, results)._replace(data=data)


def _geometry(block: Block, k: int) -> dict[str, np.ndarray]:
    """What and where the atoms of a structure are."""
    geometry = {name: block.atoms[name][block.atoms_of(k)] for name in ("numbers", "positions")}
    if block.systems["pbc"][k].any():
        geometry.update({name: block.systems[name][k] for name in ("cell", "pbc")})
    return geometry


ENTRY = Format("JSON, one structure per line", "json_lines", "JSONLines")
"""The line ``".jsonl": ENTRY`` of the table ``FORMATS`` in ``train/data/formats/__init__.py``."""
