"""From a structure to a batch, with the lists of neighbors that a potential needs."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from molcalc.batch import AtomicBatch, build_batch
from molcalc.calculators.inputs import check_distances
from molcalc.neighbors import VerletList, all_pairs, neighbor_list, unique_pairs
from molcalc.potential import Potential
from molcalc.state import State


def make_batch(
    atoms: Atoms, potential: Potential, state: State, min_distance: float | None, edges: VerletList | None = None
) -> AtomicBatch:
    """A batch of one structure.

    Parameters
    ----------
    min_distance, edges : as in :class:`molcalc.calculators.base.MolCalculator`.

    Raises
    ------
    AtomsTooCloseError
    """
    positions = np.array(atoms.positions, dtype=np.float64)
    cell, pbc = np.array(atoms.cell.array, dtype=np.float64), np.array(atoms.pbc)
    cutoff = potential.cutoff
    lists = edges.update(positions, cell, pbc) if edges else neighbor_list(positions, cell, pbc, cutoff)
    vectors = positions[lists[0][1]] - positions[lists[0][0]]
    if pbc.any():
        vectors += lists[1] @ cell
    check_distances(atoms.numbers, vectors, lists[0], min_distance)
    pair_cutoff = potential.pair_cutoff
    if pair_cutoff is None:
        pairs, pair_cutoff = (np.empty((2, 0), dtype=np.int64), np.empty((0, 3))), 0.0
    elif not pbc.any():
        index = all_pairs(len(atoms))
        pairs, pair_cutoff = (index, np.zeros((index.shape[1], 3))), np.inf
    else:
        pairs = unique_pairs(*neighbor_list(positions, cell, pbc, pair_cutoff))
    return build_batch(
        numbers=atoms.numbers,
        positions=positions,
        cell=cell,
        pbc=pbc,
        edges=lists,
        cutoff=cutoff,
        pairs=pairs,
        pair_cutoff=pair_cutoff,
        total_charge=state.charge,
        multiplicity=state.multiplicity,
        fidelity=state.fidelity,
    )
