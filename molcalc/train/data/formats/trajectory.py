"""ASE trajectories; they are read without making calculators and constraints into objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from molcalc.io.files import NewFile
from molcalc.state import state_key
from molcalc.train.data.block import Block
from molcalc.train.data.formats.atoms import atoms_with_info
from molcalc.train.data.formats.row import RESULTS, Row, named, packed_row
from molcalc.train.data.formats.rows import RowFile


class Trajectory(RowFile):
    """Frames of a ``.traj`` file with the results that were written beside them."""

    word = "frame"

    def rows(self) -> Iterator[Row]:
        """All frames in the order of the file."""
        from ase.io import ulm

        with open(self.content, "rb") as handle:  # ASE's own open leaves damaged files open
            first = reader = ulm.Reader(handle)
            for number in range(len(reader)):
                yield _row(number, f"{self.name}, frame {number}", reader[number], first)

    @staticmethod
    def write(path: Path, blocks: Iterator[Block], metadata: Mapping[str, Any]) -> int:
        """Write structures; charge, keys and data stand in the info of each frame."""
        from ase.io.trajectory import TrajectoryWriter

        count = 0
        with NewFile(path) as handle, TrajectoryWriter(handle, "w") as writer:
            writer.set_description({"metadata": _json_ready(metadata)})
            for block in blocks:
                for k in range(len(block)):
                    writer.write(atoms_with_info(block, k))
                count += len(block)
        return count


def _json_ready(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _json_ready(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_ready(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def _row(number: int, where: str, frame: Any, first: Any) -> Row:
    """A row of one frame; atomic numbers and pbc are written once when all frames share them."""
    header = frame if "numbers" in frame else first
    results = {name: frame.calculator.get(name) for name in RESULTS} if "calculator" in frame else {}
    info = named(frame.get("info") or {})
    keys = {key: value for key, value in info.items() if isinstance(value, (str, int, float, bool)) or state_key(key)}
    return packed_row(
        number,
        where,
        numbers=header.numbers,
        positions=frame.positions,
        cell=frame.get("cell"),
        pbc=header.pbc,
        initial_charges=frame.get("charges"),
        initial_magmoms=frame.get("magmoms"),
        results=results,
        keys=keys,
        data={key: value for key, value in info.items() if key not in keys},
    )
