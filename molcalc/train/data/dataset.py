"""Structures with labels, packed and memory-mapped, and batches of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from molcalc.batch import AtomicBatch
from molcalc.cells import reduced_cell
from molcalc.errors import DatasetError
from molcalc.properties import LABELS
from molcalc.train.data.block import Block, offsets_of, ranges
from molcalc.train.data.formats.base import DataFile
from molcalc.train.data.pair_lists import Geometries, edges, pairs
from molcalc.train.data.store import Store, codes_of, load_store


class Dataset:
    """Structures with labels, memory-mapped from packed arrays; a view of some of them, or of all.

    Everything that is asked of a view comes in its order: entry ``k`` of an array of structures belongs to structure
    ``k`` of the view, and ``offsets`` says which atoms are its. Arrays of all structures are those of the files and
    take no memory; arrays of a part are copies, made when they are first asked for. What goes through many structures
    takes them in :meth:`blocks`. Made by :func:`molcalc.train.data.open_dataset`.

    Attributes
    ----------
    sources : files that the structures come from.
    fidelities : names of levels of theory; ``fidelity`` holds positions in it.
    hash : of the content of the packed arrays: not of paths, dates, row numbers or keys.
    labels : float64 arrays by name, see :data:`molcalc.properties.LABELS`; NaN where missing.
    """

    def __init__(self, store: Store, sources: Sequence[DataFile], systems: np.ndarray | None = None) -> None:
        arrays = store.arrays
        self._store, self._whole = store, systems is None
        self._systems = np.arange(len(arrays["total_charge"])) if systems is None else np.asarray(systems, np.int64)
        self.sources = tuple(sources)
        self.fidelities: tuple[str, ...] = tuple(store.index["fidelities"])
        self.hash: str = store.index["hash"]
        self.labels: Mapping[str, np.ndarray] = _Labels([name for name in LABELS if name in arrays], self._of_view)

    def __len__(self) -> int:
        return len(self._systems)

    def __repr__(self) -> str:
        listed = ", ".join(f"{name} {count}" for name, count in self.counts().items())
        return f"<Dataset of {len(self)} structures ({listed})>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Other processes map the same files instead of getting copies."""
        return _reopen, (self._store.folder, self.sources, None if self._whole else self._systems)

    @cached_property
    def total_charge(self) -> np.ndarray:
        """(len(self),) float64, e."""
        return self._of_view("total_charge")

    @cached_property
    def multiplicity(self) -> np.ndarray:
        """(len(self),) int64."""
        return self._of_view("multiplicity")

    @property
    def weighted(self) -> bool:
        """Whether rows say how much their errors count in a loss."""
        return "weight" in self._store.arrays

    @cached_property
    def weight(self) -> np.ndarray:
        """(len(self),) float64, how much the errors of a structure count in a loss; 1 unless its row says otherwise."""
        return self._of_view("weight") if self.weighted else np.ones(len(self))

    @cached_property
    def fidelity(self) -> np.ndarray:
        """(len(self),) int64, positions in ``fidelities``."""
        return self._of_view("fidelity")

    @cached_property
    def cell(self) -> np.ndarray:
        """(len(self), 3, 3) float64, Å."""
        return self._of_view("cell")

    @cached_property
    def pbc(self) -> np.ndarray:
        """(len(self), 3) bool."""
        return self._of_view("pbc")

    @cached_property
    def numbers(self) -> np.ndarray:
        """(n_atoms,) int32, atomic numbers."""
        return self._of_view("numbers")

    @cached_property
    def positions(self) -> np.ndarray:
        """(n_atoms, 3) float64, Å."""
        return self._of_view("positions")

    @cached_property
    def offsets(self) -> np.ndarray:
        """(len(self) + 1,) int64, first atom of each structure in arrays of atoms."""
        return offsets_of(self.n_atoms())

    @cached_property
    def esp_points(self) -> np.ndarray:
        """(n_points, 3) float64, Å; empty where no structure has an ESP."""
        return self._of_view("esp_points") if "esp" in self.labels else np.empty((0, 3))

    @cached_property
    def esp_offsets(self) -> np.ndarray:
        """(len(self) + 1,) int64, first point of each structure in arrays of points."""
        return offsets_of(self.n_points())

    @property
    def skipped(self) -> dict[str, dict[str, int]]:
        """Reasons and counts of rows that were left out, by file."""
        return {source.name: found["counts"] for source, found in zip(self.sources, self._store.index["problems"])}

    @property
    def lookalikes(self) -> dict[str, str]:
        """Labels by names in the files that look like them and are not used as such."""
        return dict(self._store.index["lookalikes"])

    @property
    def selection(self) -> bytes:
        """Which structures of the packed arrays these are, in which order: equal for equal choices."""
        return self._systems.tobytes()

    def row_name(self, k: int) -> str:
        """Where a structure comes from, for messages: "co2.db row 17"."""
        system = self._systems[k]
        source = self.sources[int(self._store.arrays["source"][system])]
        return f"{source.name} {source.word} {source.row_label(int(self._store.arrays['row'][system]))}"

    def row_ids(self) -> tuple[np.ndarray, np.ndarray]:
        """(len(self),) positions in ``sources``, and numbers of rows in those files."""
        return self._of_view("source"), self._of_view("row")

    def subset(self, indices: np.ndarray | Sequence[int]) -> Dataset:
        """A view of some structures of this view."""
        return Dataset(self._store, self.sources, self._systems[np.asarray(indices, dtype=np.int64)])

    def n_atoms(self) -> np.ndarray:
        """(len(self),) int64, atoms of each structure."""
        return self._places("atom", self._systems)[1]

    def n_points(self) -> np.ndarray:
        """(len(self),) int64, points of the ESP of each structure."""
        return self._places("point", self._systems)[1]

    def has(self, name: str) -> np.ndarray:
        """(len(self),) bool, which structures have a label."""
        if name not in self.labels:
            return np.zeros(len(self), dtype=bool)
        if LABELS[name].kind == "point":
            return self.n_points() > 0
        values = self._store.arrays[name]
        first, _ = self._places(LABELS[name].kind, self._systems)
        return ~np.isnan(values.reshape(len(values), -1)[first, 0])

    def counts(self) -> dict[str, int]:
        """Number of structures that have each label."""
        return {name: int(self.has(name).sum()) for name in self.labels}

    def blocks(self, size: int = 1000, overlap: int = 0) -> Iterator[Block]:
        """All structures, some at a time.

        Parameters
        ----------
        size : structures of a block.
        overlap : structures that a block begins with and the one before ends with, for what compares neighbors.

        Returns
        -------
        Blocks as :meth:`block` gives them.
        """
        for start in range(0, max(1, len(self) - overlap), size - overlap):
            yield self.block(np.arange(start, min(start + size, len(self))))

    def block(self, indices: np.ndarray | Sequence[int]) -> Block:
        """Copies of some structures, one after another.

        Parameters
        ----------
        indices : positions in this view.

        Returns
        -------
        Block without keys and data, whose ``row`` is the position in this view; charge, multiplicity and fidelity are
        among its ``systems``.
        """
        chosen = np.asarray(indices, dtype=np.int64)
        systems = self._systems[chosen]
        places = {kind: ranges(*self._places(kind, systems)) for kind in ("system", "atom", "point")}
        parts: dict[str, dict[str, np.ndarray]] = {"system": {}, "atom": {}, "point": {}}
        parts["system"].update(row=chosen, n_atoms=self._places("atom", systems)[1])
        names = {
            "system": ["total_charge", "multiplicity", "fidelity", "cell", "pbc"],
            "atom": ["numbers", "positions"],
        }
        if "esp" in self.labels:
            parts["system"]["n_points"] = self._places("point", systems)[1]
            names["point"] = ["esp_points"]
        for kind, listed in names.items():
            for name in [*listed, *(name for name in self.labels if LABELS[name].kind == kind)]:
                parts[kind][name] = np.take(self._store.arrays[name], places[kind], axis=0)
        return Block(parts["system"], parts["atom"], parts["point"])

    def _of_view(self, name: str) -> np.ndarray:
        """An array of the store in the order of this view."""
        values = self._store.arrays[name]
        if self._whole:
            return values
        found = np.take(values, ranges(*self._places(_kind(name), self._systems)), axis=0)
        found.flags.writeable = False
        return found

    def _places(self, kind: str, systems: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """First entry and number of entries of some structures in the arrays of a kind."""
        arrays = self._store.arrays
        if kind == "system":
            return systems, np.ones(len(systems), dtype=np.int64)
        name = "offsets" if kind == "atom" else "esp_offsets"
        if name not in arrays:
            return np.zeros_like(systems), np.zeros_like(systems)
        return arrays[name][systems], arrays[name][systems + 1] - arrays[name][systems]

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the key-value pairs that rows carry."""
        return tuple(name[4:] for name in self._store.arrays if name.startswith("key:"))

    def key_codes(self, name: str) -> np.ndarray:
        """(len(self),) int64, equal for equal values of a key; 0 where a row does not have it.

        Returns
        -------
        (len(self),) int64

        Raises
        ------
        DatasetError
            When no row has the key.
        """
        if name not in self.keys:
            raise DatasetError(f"no row has the key {name!r}; keys are: {', '.join(self.keys) or 'none'}")
        return self._store.arrays[f"key:{name}"][self._systems]

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

        Returns
        -------
        Structures in the order of ``indices``, with float64 labels; ``weight`` is among them where rows have one.

        Raises
        ------
        DatasetError
            When a label is asked for that no structure has.
        """
        arrays = self._store.arrays
        systems = self._systems[np.asarray(indices, dtype=np.int64)]
        starts, sizes = self._places("atom", systems)
        atoms = ranges(starts, sizes)
        positions = np.take(arrays["positions"], atoms, axis=0)
        cell, pbc = arrays["cell"][systems], arrays["pbc"][systems]
        for k in np.flatnonzero(pbc.any(axis=1)):
            cell[k] = reduced_cell(cell[k], pbc[k]).cell
        geometries = Geometries(offsets_of(sizes), positions, cell, pbc)
        edge_index, unit_shifts = edges(geometries, cutoff)
        pair_index, pair_shifts = pairs(geometries, pair_cutoff)
        names = tuple(self.labels) if labels is None else tuple(labels)
        self._check_names(names)
        points, point_counts = self._points(systems, names, esp_points, rng)
        rows = {"system": systems, "atom": atoms, "point": np.empty(0, dtype=np.int64) if points is None else points}
        return AtomicBatch(
            numbers=torch.from_numpy(np.take(arrays["numbers"], atoms).astype(np.int64)),
            positions=torch.from_numpy(positions),
            cell=torch.from_numpy(geometries.cell),
            pbc=torch.from_numpy(geometries.pbc),
            system_idx=torch.from_numpy(np.repeat(np.arange(len(systems)), sizes)),
            edge_index=torch.from_numpy(edge_index),
            unit_shifts=torch.from_numpy(unit_shifts),
            cutoff=cutoff,
            total_charge=torch.from_numpy(arrays["total_charge"][systems]),
            multiplicity=torch.from_numpy(arrays["multiplicity"][systems]),
            fidelity=torch.from_numpy(arrays["fidelity"][systems]),
            pair_index=torch.from_numpy(pair_index),
            pair_shifts=torch.from_numpy(pair_shifts),
            pair_cutoff=0.0 if pair_cutoff is None else float(pair_cutoff),
            esp_points=None if points is None else torch.from_numpy(np.take(arrays["esp_points"], points, axis=0)),
            esp_system_idx=_owners(point_counts),
            labels={
                **{name: torch.from_numpy(np.take(arrays[name], rows[LABELS[name].kind], axis=0)) for name in names},
                **({"weight": torch.from_numpy(arrays["weight"][systems])} if self.weighted else {}),
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
        if "esp" not in names:
            return None, None
        first, counts = self._places("point", systems)
        if limit is None or (counts <= limit).all():
            return ranges(first, counts), counts
        if rng is None:
            raise ValueError(f"to draw {limit} of {int(counts.max())} ESP points, give a random generator rng")
        drawn = [
            start + (np.arange(count) if count <= limit else np.sort(rng.choice(count, limit, False, shuffle=False)))
            for start, count in zip(first.tolist(), counts.tolist())
        ]
        return np.concatenate(drawn), np.minimum(counts, limit)


def _owners(counts: np.ndarray | None) -> Tensor | None:
    return None if counts is None else torch.from_numpy(np.repeat(np.arange(len(counts)), counts))


def _kind(name: str) -> str:
    """Whether an array of a store has an entry per system, atom or point."""
    if name in LABELS:
        return LABELS[name].kind
    return {"numbers": "atom", "positions": "atom", "esp_points": "point"}.get(name, "system")


class _Labels(Mapping[str, np.ndarray]):
    """Arrays by name, each read when it is first asked for."""

    def __init__(self, names: Sequence[str], read: Callable[[str], np.ndarray]) -> None:
        self._found: dict[str, np.ndarray | None] = dict.fromkeys(names)
        self._read = read

    def __getitem__(self, name: str) -> np.ndarray:
        found = self._found[name]
        if found is None:
            found = self._found[name] = self._read(name)
        return found

    def __contains__(self, name: object) -> bool:
        return name in self._found

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


def _reopen(folder: Any, sources: Sequence[DataFile], systems: np.ndarray | None) -> Dataset:
    return Dataset(load_store(folder, verify=False), sources, systems)
