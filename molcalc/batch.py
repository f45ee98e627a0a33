"""One immutable description of any number of structures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int, Int64
from torch import Tensor

from molcalc.cells import reduced_cell
from molcalc.neighbors import all_pairs, neighbor_list, pair_list

if TYPE_CHECKING:
    from ase import Atoms


@dataclass(frozen=True, kw_only=True)
class AtomicBatch:
    """Structures stored one after another, atoms contiguous per structure; one structure is a batch of one.

    Two lists describe who is near whom, both with r_ij = R[j] − R[i] + shift @ cell:

    * *edges* (short range, for networks): every ordered pair within ``cutoff``, sorted by i;
    * *pairs* (long range, for energy terms): every unordered pair once, within ``pair_cutoff``.

    Attributes
    ----------
    numbers : (n_atoms,) int64, true atomic numbers.
    positions : (n_atoms, 3) float64, Å.
    cell : (n_systems, 3, 3) float64, Å, rows are lattice vectors: the shortest of the lattice, see
        :mod:`molcalc.cells`, which need not be those of the structure.
    pbc : (n_systems, 3) bool.
    system_idx : (n_atoms,) int64, sorted.
    edge_index : (2, n_edges) int64, rows i and j.
    unit_shifts : (n_edges, 3) float64, whole lattice translations.
    cutoff : Å, range of the edges.
    total_charge : (n_systems,) float64, e.
    multiplicity : (n_systems,) int64, 2S+1.
    fidelity : (n_systems,) int64, index of the level of theory.
    pair_index : (2, n_pairs) int64.
    pair_shifts : (n_pairs, 3) float64.
    pair_cutoff : Å, up to which the pairs are complete; infinite when all pairs of molecules are listed.
    esp_points : (n_points, 3) float64, Å, where the electrostatic potential is wanted; or None.
    esp_system_idx : (n_points,) int64, or None.
    labels : targets by property name; NaN where a label is missing.
    """

    numbers: Int64[Tensor, " n_atoms"]
    positions: Float[Tensor, "n_atoms 3"]
    cell: Float[Tensor, "n_systems 3 3"]
    pbc: Bool[Tensor, "n_systems 3"]
    system_idx: Int64[Tensor, " n_atoms"]
    edge_index: Int64[Tensor, "2 n_edges"]
    unit_shifts: Float64[Tensor, "n_edges 3"]
    cutoff: float
    total_charge: Float64[Tensor, " n_systems"]
    multiplicity: Int64[Tensor, " n_systems"]
    fidelity: Int64[Tensor, " n_systems"]
    pair_index: Int64[Tensor, "2 n_pairs"]
    pair_shifts: Float64[Tensor, "n_pairs 3"]
    pair_cutoff: float
    esp_points: Float[Tensor, "n_points 3"] | None = None
    esp_system_idx: Int64[Tensor, " n_points"] | None = None
    labels: Mapping[str, Float[Tensor, " ..."]] = field(default_factory=dict)

    @property
    def n_atoms(self) -> int:
        return int(self.numbers.shape[0])

    @property
    def n_systems(self) -> int:
        return int(self.total_charge.shape[0])

    @cached_property
    def periodic(self) -> bool:
        """Whether any structure has a periodic direction."""
        return bool(self.pbc.any())

    def has_volume(self) -> Bool[Tensor, " n_systems"]:
        """(n_systems,) bool, which structures have a stress: some direction is periodic and the cell has a volume."""
        return self.pbc.any(dim=1) & (self.cell.detach() != 0).any(dim=2).all(dim=1)

    def atoms_per_system(self) -> Int64[Tensor, " n_systems"]:
        """(n_systems,) int64 number of atoms of each structure."""
        return torch.bincount(self.system_idx, minlength=self.n_systems)

    def edge_vectors(self) -> Float[Tensor, "n_edges 3"]:
        """(n_edges, 3) r_ij in Å, in the dtype of the positions."""
        return self._vectors(self.edge_index, self.unit_shifts)

    def pair_vectors(self) -> Float[Tensor, "n_pairs 3"]:
        """(n_pairs, 3) r_ij in Å, in the dtype of the positions."""
        return self._vectors(self.pair_index, self.pair_shifts)

    def _vectors(self, index: Tensor, shifts: Tensor) -> Tensor:
        i, j = index[0], index[1]
        vectors = self.positions.index_select(0, j) - self.positions.index_select(0, i)
        if shifts.shape[0] and self.periodic:
            cell = self.cell.index_select(0, self.system_idx.index_select(0, i))
            vectors = vectors + torch.einsum("ei,eij->ej", shifts, cell)
        return vectors

    def to(self, device: torch.device | str) -> AtomicBatch:
        """The same batch on another device; itself where it is there."""
        if self.positions.device == torch.device(device):
            return self
        moved: dict[str, Any] = {
            name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        return replace(self, **moved, labels={k: v.to(device) for k, v in self.labels.items()})


def from_atoms(
    atoms: Atoms,
    *,
    cutoff: float,
    pair_cutoff: float | None = None,
    total_charge: float = 0.0,
    multiplicity: int = 1,
    fidelity: int = 0,
) -> AtomicBatch:
    """Build a batch of one structure.

    Parameters
    ----------
    cutoff : range of the edges in Å.
    pair_cutoff : range of the pairs in Å; ``math.inf`` takes all pairs (structures without periodicity
        only), ``None`` leaves the list empty.

    Returns
    -------
    batch with lists of neighbors, without labels and points
    """
    positions = np.array(atoms.positions, dtype=np.float64)
    cell = reduced_cell(atoms.cell.array, atoms.pbc).cell
    edges = neighbor_list(positions, cell, atoms.pbc, cutoff)
    if pair_cutoff is None:
        pairs = np.empty((2, 0), dtype=np.int64), np.empty((0, 3))
    elif np.isinf(pair_cutoff):
        pairs = all_pairs(len(atoms)), np.zeros((len(atoms) * (len(atoms) - 1) // 2, 3))
    else:
        pairs = pair_list(positions, cell, atoms.pbc, pair_cutoff)
    return build_batch(
        numbers=np.array(atoms.numbers),
        positions=positions,
        cell=cell,
        pbc=np.array(atoms.pbc),
        edges=edges,
        cutoff=cutoff,
        pairs=pairs,
        pair_cutoff=0.0 if pair_cutoff is None else float(pair_cutoff),
        total_charge=total_charge,
        multiplicity=multiplicity,
        fidelity=fidelity,
    )


def build_batch(
    *,
    numbers: Int[np.ndarray, " n_atoms"],
    positions: Float[np.ndarray, "n_atoms 3"],
    cell: Float[np.ndarray, "3 3"],
    pbc: Bool[np.ndarray, " 3"],
    edges: tuple[Int[np.ndarray, "2 n_edges"], Float[np.ndarray, "n_edges 3"]],
    cutoff: float,
    pairs: tuple[Int[np.ndarray, "2 n_pairs"], Float[np.ndarray, "n_pairs 3"]],
    pair_cutoff: float,
    total_charge: float,
    multiplicity: int,
    fidelity: int,
) -> AtomicBatch:
    """Build a batch of one structure from arrays and ready-made lists (index, shifts)."""
    return AtomicBatch(
        numbers=_tensor(numbers, np.int64),
        positions=_tensor(positions, np.float64),
        cell=_tensor(cell[None], np.float64),
        pbc=_tensor(pbc[None], np.bool_),
        system_idx=_tensor(np.zeros(len(numbers), dtype=np.int64), np.int64),
        edge_index=_tensor(edges[0], np.int64),
        unit_shifts=_tensor(edges[1], np.float64),
        cutoff=cutoff,
        total_charge=_tensor([total_charge], np.float64),
        multiplicity=_tensor([multiplicity], np.int64),
        fidelity=_tensor([fidelity], np.int64),
        pair_index=_tensor(pairs[0], np.int64),
        pair_shifts=_tensor(pairs[1], np.float64),
        pair_cutoff=pair_cutoff,
    )


def _tensor(values: np.ndarray | list[float] | list[int], dtype: type) -> Tensor:
    """Tensor on the memory of an array, which takes half as long as letting torch find out what is given."""
    return torch.from_numpy(np.asarray(values, dtype))


def collate(batches: Sequence[AtomicBatch]) -> AtomicBatch:
    """Join batches into one; atoms keep their order.

    Returns
    -------
    one batch, in the order of the given ones

    Raises
    ------
    ValueError
        When the batches differ in edge cutoff, names of labels, or only some have ESP points.
    """
    if not batches:
        raise ValueError("collate needs at least one batch; got an empty list")
    first = batches[0]
    if len(batches) == 1:
        return first
    cutoffs = {batch.cutoff for batch in batches}
    if len(cutoffs) > 1:
        raise ValueError(f"cannot join batches with different cutoff: {sorted(cutoffs)} Å")
    atom_offsets = np.cumsum([0] + [batch.n_atoms for batch in batches])
    system_offsets = np.cumsum([0] + [batch.n_systems for batch in batches])

    def join(name: str, offsets: np.ndarray | None = None, dim: int = 0) -> Tensor:
        tensors = [getattr(batch, name) for batch in batches]
        if offsets is not None:
            tensors = [tensor + int(offset) for tensor, offset in zip(tensors, offsets)]
        return torch.cat(tensors, dim=dim)

    names = set(first.labels)
    if any(set(batch.labels) != names for batch in batches):
        raise ValueError("cannot join batches with different labels: mark missing ones with NaN")
    has_points = [batch.esp_points is not None for batch in batches]
    if any(has_points) and not all(has_points):
        raise ValueError("cannot join batches of which only some have esp_points: use empty arrays")
    return AtomicBatch(
        numbers=join("numbers"),
        positions=join("positions"),
        cell=join("cell"),
        pbc=join("pbc"),
        system_idx=join("system_idx", system_offsets),
        edge_index=join("edge_index", atom_offsets, dim=1),
        unit_shifts=join("unit_shifts"),
        cutoff=first.cutoff,
        total_charge=join("total_charge"),
        multiplicity=join("multiplicity"),
        fidelity=join("fidelity"),
        pair_index=join("pair_index", atom_offsets, dim=1),
        pair_shifts=join("pair_shifts"),
        pair_cutoff=min(batch.pair_cutoff for batch in batches),
        esp_points=join("esp_points") if all(has_points) else None,
        esp_system_idx=join("esp_system_idx", system_offsets) if all(has_points) else None,
        labels={name: torch.cat([batch.labels[name] for batch in batches]) for name in names},
    )
