"""ASE trajectories, read without making calculators and constraints into objects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from molcalc.state import STATE_KEYS
from molcalc.train.data.formats.base import RowByRowSource, as_bytes
from molcalc.train.data.rows import Row


class TrajectorySource(RowByRowSource):
    """Frames of a ``.traj`` file with the results that were written beside them."""

    word = "frame"

    def read(self) -> Iterator[Row]:
        """All frames in the order of the file."""
        from ase.io import ulm

        with open(self.path, "rb") as handle:  # ASE's own open leaves damaged files open
            first = reader = ulm.Reader(handle)
            for number in range(len(reader)):
                yield _row(number, reader[number], first)


def _row(number: int, frame: Any, first: Any) -> Row:
    """A row of one frame; atomic numbers and pbc are written once when all frames share them."""
    header = frame if "numbers" in frame else first
    results = frame.calculator if "calculator" in frame else {}
    info = frame.get("info") or {}
    numbers = np.asarray(header.numbers)
    return Row(
        id=number,
        natoms=len(numbers),
        numbers=np.ascontiguousarray(numbers, dtype="<i4").tobytes(),
        positions=as_bytes(frame.positions) or b"",
        cell=as_bytes(frame.get("cell")),
        pbc=int(np.dot(header.pbc, [1, 2, 4])),
        initial_charges=as_bytes(frame.get("charges")),
        energy=results.get("energy"),
        forces=as_bytes(results.get("forces")),
        stress=as_bytes(results.get("stress")),
        dipole=as_bytes(results.get("dipole")),
        magmoms=as_bytes(results.get("magmoms")),
        charges=as_bytes(results.get("charges")),
        keys={
            key: value for key, value in info.items() if isinstance(value, (str, int, float, bool)) or key in STATE_KEYS
        },
        data={key: value for key, value in info.items() if isinstance(value, np.ndarray)},
    )
