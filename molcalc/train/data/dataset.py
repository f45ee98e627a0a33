"""Structures with labels, packed and memory-mapped, and batches of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from molcalc.batch import AtomicBatch
from molcalc.errors import DatasetError
from molcalc.properties import LABELS
from molcalc.train.data.formats.base import Source
from molcalc.train.data.pair_lists import Geometries, edges, pairs
from molcalc.train.data.store import Store, codes_of, load


class Dataset:
    """Read-only structures with labels; views share the memory of the packed arrays.

    All arrays are those of the whole store; ``indices`` says which of its structures belong to this view, in which
    order. Made by :func:`molcalc.train.data.open_dataset`.

    Attributes
    ----------
    fidelities : names of levels of theory; ``fidelity`` holds positions in it.
    hash : of the content: not of paths, dates, row numbers or keys.
    indices : (len(self),) int64, structures of this view.
    offsets : (n + 1,) int64, first atom of each structure.
    numbers : (n_atoms,) int32.
    positions : (n_atoms, 3) float64, Å.
    cell : (n, 3, 3) float64, Å; pbc : (n, 3) bool.
    total_charge : (n,) float64, e; multiplicity, fidelity : (n,) int64.
    labels : float64 arrays by name, see :data:`molcalc.properties.LABELS`; NaN where missing.
    esp_offsets : (n + 1,) int64, first point of each structure, or None; esp_points : (n_points, 3) Å, or None.
    skipped : reasons and counts of rows that were left out, by file.
    """

    def __init__(self, store: Store, sources: Sequence[Source], indices: np.ndarray | None = None) -> None:
        arrays = store.arrays
        self._store = store
        self.sources = tuple(sources)
        self.fidelities: tuple[str, ...] = tuple(store.index["fidelities"])
        self.hash: str = store.index["hash"]
        self.offsets, self.numbers, self.positions = arrays["offsets"], arrays["numbers"], arrays["positions"]
        self.cell, self.pbc = arrays["cell"], arrays["pbc"]
        self.total_charge, self.multiplicity = arrays["total_charge"], arrays["multiplicity"]
        self.fidelity = arrays["fidelity"]
        self.labels = {name: arrays[name] for name in LABELS if name in arrays}
        self.esp_offsets: np.ndarray | None = arrays.get("esp_offsets")
        self.esp_points: np.ndarray | None = arrays.get("esp_points")
        everything = np.arange(len(self.total_charge), dtype=np.int64)
        self.indices: np.ndarray = everything if indices is None else np.asarray(indices, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.indices)

    def __repr__(self) -> str:
        listed = ", ".join(f"{name} {count}" for name, count in self.counts().items())
        return f"<Dataset of {len(self)} structures ({listed})>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Other processes map the same files instead of getting copies."""
        return _reopen, (self._store.folder, self.sources, self.indices)

    @property
    def skipped(self) -> dict[str, dict[str, int]]:
        return {source.name: found["counts"] for source, found in zip(self.sources, self._store.index["problems"])}

    def row_name(self, k: int) -> str:
        """Where a structure of this view comes from, for messages: "co2.db row 17"."""
        system = self.indices[k]
        source = self.sources[int(self._store.arrays["source"][system])]
        return f"{source.name} {source.word} {source.row_label(int(self._store.arrays['row'][system]))}"

    def row_ids(self) -> tuple[np.ndarray, np.ndarray]:
        """(len(self),) positions in ``sources``, and numbers of rows in those files."""
        return self._store.arrays["source"][self.indices], self._store.arrays["row"][self.indices]

    def subset(self, indices: np.ndarray | Sequence[int]) -> Dataset:
        """A view of some structures of this view."""
        return Dataset(self._store, self.sources, self.indices[np.asarray(indices, dtype=np.int64)])

    def n_atoms(self) -> np.ndarray:
        """(len(self),) int64, atoms of each structure of this view."""
        return self.offsets[self.indices + 1] - self.offsets[self.indices]

    def has(self, name: str) -> np.ndarray:
        """(len(self),) bool, which structures of this view have a label."""
        if name not in self.labels:
            return np.zeros(len(self), dtype=bool)
        if LABELS[name].kind == "point":
            assert self.esp_offsets is not None
            return self.esp_offsets[self.indices + 1] > self.esp_offsets[self.indices]
        first = self.indices if LABELS[name].kind == "system" else self.offsets[self.indices]
        return ~np.isnan(self.labels[name].reshape(len(self.labels[name]), -1)[first, 0])

    def counts(self) -> dict[str, int]:
        """Number of structures of this view that have each label."""
        return {name: int(self.has(name).sum()) for name in self.labels}

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the key-value pairs that rows carry."""
        return tuple(name[4:] for name in self._store.arrays if name.startswith("key:"))

    def key_codes(self, name: str) -> np.ndarray:
        """(len(self),) int64, equal for equal values of a key; 0 where a row does not have it.

        Raises
        ------
        DatasetError
            When no row has the key.
        """
        if name not in self.keys:
            raise DatasetError(f"no row has the key {name!r}; keys are: {', '.join(self.keys) or 'none'}")
        return self._store.arrays[f"key:{name}"][self.indices]

    def key_texts(self, name: str) -> dict[int, str] | None:
        """Values of a key by code; None when there are too many different ones to keep."""
        found = self._store.index["texts"].get(name)
        return None if found is None else {int(code): text for code, text in found.items()}

    def where_key(self, name: str, value: Any) -> np.ndarray:
        """Positions in this view of the structures whose key has a value."""
        return np.flatnonzero(self.key_codes(name) == codes_of([value])[0])

    def batch(
        self,
        indices: np.ndarray | Sequence[int],
        *,
        cutoff: float,
        pair_cutoff: float | None = None,
        esp_points: int | None = None,
        rng: np.random.Generator | None = None,
        labels: Sequence[str] | None = None,
    ) -> AtomicBatch:
        """Structures of this view as one batch, with the lists that ``collate(from_atoms(...))`` gives.

        Parameters
        ----------
        indices : positions in this view.
        cutoff, pair_cutoff : Å, see :func:`molcalc.batch.from_atoms`.
        esp_points : random points per structure, drawn with ``rng``; None takes all.
        labels : names of the labels wanted; None takes all there are.

        Raises
        ------
        DatasetError
            When a label is asked for that no structure has.
        """
        systems = self.indices[np.asarray(indices, dtype=np.int64)]
        sizes = self.offsets[systems + 1] - self.offsets[systems]
        atoms = ranges(self.offsets[systems], sizes)
        positions = np.take(self.positions, atoms, axis=0)
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        geometries = Geometries(offsets, positions, self.cell[systems], self.pbc[systems])
        edge_index, unit_shifts = edges(geometries, cutoff)
        pair_index, pair_shifts = pairs(geometries, pair_cutoff)
        names = tuple(self.labels) if labels is None else tuple(labels)
        self._check_names(names)
        points, point_counts = self._points(systems, names, esp_points, rng)
        rows = {"system": systems, "atom": atoms, "point": np.empty(0, dtype=np.int64) if points is None else points}
        return AtomicBatch(
            numbers=torch.from_numpy(np.take(self.numbers, atoms).astype(np.int64)),
            positions=torch.from_numpy(positions),
            cell=torch.from_numpy(geometries.cell),
            pbc=torch.from_numpy(geometries.pbc),
            system_idx=torch.from_numpy(np.repeat(np.arange(len(systems)), sizes)),
            edge_index=torch.from_numpy(edge_index),
            unit_shifts=torch.from_numpy(unit_shifts),
            cutoff=cutoff,
            total_charge=torch.from_numpy(self.total_charge[systems]),
            multiplicity=torch.from_numpy(self.multiplicity[systems]),
            fidelity=torch.from_numpy(self.fidelity[systems]),
            pair_index=torch.from_numpy(pair_index),
            pair_shifts=torch.from_numpy(pair_shifts),
            pair_cutoff=0.0 if pair_cutoff is None else float(pair_cutoff),
            esp_points=_taken(self.esp_points, points),
            esp_system_idx=_owners(point_counts),
            labels={
                name: torch.from_numpy(np.take(self.labels[name], rows[LABELS[name].kind], axis=0)) for name in names
            },
        )

    def _check_names(self, names: Sequence[str]) -> None:
        for name in names:
            if name not in self.labels:
                raise DatasetError(f"no structure has the label {name!r}; labels are: {', '.join(self.labels)}")

    def _points(
        self, systems: np.ndarray, names: Sequence[str], limit: int | None, rng: np.random.Generator | None
    ) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Rows of the points of a batch and how many each structure has; None when ESP is not wanted."""
        if self.esp_offsets is None or "esp" not in names:
            return None, None
        first = self.esp_offsets[systems]
        counts = self.esp_offsets[systems + 1] - first
        if limit is None or (counts <= limit).all():
            return ranges(first, counts), counts
        if rng is None:
            raise ValueError(f"to draw {limit} of {int(counts.max())} ESP points, give a random generator rng")
        drawn = [
            start + (np.arange(count) if count <= limit else np.sort(rng.choice(count, limit, False, shuffle=False)))
            for start, count in zip(first.tolist(), counts.tolist())
        ]
        return np.concatenate(drawn), np.minimum(counts, limit)


def _taken(points: np.ndarray | None, rows: np.ndarray | None) -> Tensor | None:
    return None if points is None or rows is None else torch.from_numpy(np.take(points, rows, axis=0))


def _owners(counts: np.ndarray | None) -> Tensor | None:
    return None if counts is None else torch.from_numpy(np.repeat(np.arange(len(counts)), counts))


def ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Concatenated start…start+length of each pair."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.repeat(starts - (ends - lengths), lengths) + np.arange(total)


def _reopen(folder: Any, sources: Sequence[Source], indices: np.ndarray) -> Dataset:
    return Dataset(load(folder, verify=False), sources, indices)
