"""``parts.csv`` of a run: which row of which file is in which part, so that a run that goes on keeps its parts."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from molcalc.errors import CheckpointCorruptError
from molcalc.io.files import write_atomic
from molcalc.train.data.dataset import Dataset
from molcalc.train.data.geometry_hash import geometry_hashes
from molcalc.train.data.split import Split

HEADER = ["part", "file", "row", "geometry"]


def write_parts(path: Path, parts: dict[str, Dataset]) -> None:
    """Write one line for every row: its part, file, number, and the fingerprint of its geometry.

    Parameters
    ----------
    parts : by name, "train", "valid" and "test".
    """
    lines = [",".join(HEADER)]
    for name, part in parts.items():
        files = [_quoted(source.name) for source in part.sources]
        sources, rows = part.row_ids()
        lines += [
            f"{name},{files[source]},{row},{code:016x}"
            for source, row, code in zip(sources.tolist(), rows.tolist(), geometry_hashes(part).tolist())
        ]
    write_atomic(path, ("\n".join(lines) + "\n").encode())


@dataclass(frozen=True)
class KeptParts:
    """Parts that geometries were in when a run began.

    Attributes
    ----------
    geometries : (n,) uint64, ascending.
    parts : (n,) int64, position among the fields of :class:`Split`.
    """

    geometries: np.ndarray
    parts: np.ndarray

    @classmethod
    def read(cls, path: Path) -> KeptParts | None:
        """What :func:`write_parts` wrote.

        Returns
        -------
        parts by geometry; None where there is no such file

        Raises
        ------
        CheckpointCorruptError
            When it is another file.
        """
        if not path.is_file():
            return None
        try:
            with path.open(encoding="utf-8", newline="") as file:
                rows = [(int(row["geometry"], 16), Split._fields.index(row["part"])) for row in csv.DictReader(file)]
        except (KeyError, ValueError, UnicodeDecodeError) as error:
            raise CheckpointCorruptError(f"{path} does not say which rows are in which part: {error!r}") from error
        geometries, first = np.unique(np.array([code for code, _ in rows], dtype=np.uint64), return_index=True)
        return cls(geometries, np.array([part for _, part in rows], dtype=np.int64)[first])

    def applied(self, dataset: Dataset, chosen: Split) -> Split:
        """A division in which geometries of the run are where they were; added ones are where they were drawn."""
        part = np.zeros(len(dataset), dtype=np.int64)
        for number, systems in enumerate(chosen):
            part[systems] = number
        if len(self.geometries):
            codes = geometry_hashes(dataset)
            places = np.searchsorted(self.geometries, codes).clip(max=len(self.geometries) - 1)
            known = self.geometries[places] == codes
            part[known] = self.parts[places[known]]
        return Split(*(np.flatnonzero(part == number) for number in range(len(Split._fields))))


def _quoted(name: str) -> str:
    """A name as a field of a CSV file."""
    return '"' + name.replace('"', '""') + '"' if any(letter in name for letter in ',"\n\r') else name
