"""Points about which charges of a structure make its dipole: one for a molecule, one for each molecule of a crystal.

A periodic structure has no dipole of its own: moving one charge by a lattice vector changes it. That of its molecules
is defined, each put together along its bonds and about its own center of mass, and their sum does not depend on which
image of an atom is listed. A network of bonds without end has none.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from molcalc.batch import AtomicBatch
from molcalc.electrostatics.multipoles import center_of_mass
from molcalc.units import ATOMIC_MASSES, COVALENT_RADII

LONGEST_BOND = 1.25
"""Distance of two atoms over the sum of their covalent radii up to which they belong to one molecule."""


def dipole_origins(batch: AtomicBatch) -> Float64[Tensor, "n_atoms 3"]:
    """Point for each atom about which the charges that belong to it count.

    Without periodicity it is the center of mass of the structure. In a periodic structure it is that of the atom's
    molecule, in the image that this atom belongs to; not a number where bonds reach from a molecule to its own image.

    Returns
    -------
    (n_atoms, 3) float64, Å
    """
    device, positions = batch.positions.device, batch.positions
    masses = torch.as_tensor(ATOMIC_MASSES, device=device).index_select(0, batch.numbers)
    if not batch.periodic:
        center = center_of_mass(positions, masses, batch.system_idx, batch.n_systems)
        return center.index_select(0, batch.system_idx)
    found = _molecules(batch)
    molecule_idx = torch.as_tensor(found[0], device=device)
    images = torch.as_tensor(found[1], device=device)
    places = torch.einsum("ni,nij->nj", images, batch.cell.index_select(0, batch.system_idx))
    center = center_of_mass(positions + places, masses, molecule_idx, int(molecule_idx.max()) + 1)
    return center.index_select(0, molecule_idx) - places


def _molecules(batch: AtomicBatch) -> tuple[Int64[np.ndarray, " n_atoms"], Float64[np.ndarray, "n_atoms 3"]]:
    """Molecule of each atom, and the lattice translation (whole numbers) that joins it to the first of its molecule.

    A structure without periodicity counts as one molecule. Translations are not numbers in a molecule without end.
    """
    system_idx = batch.system_idx.cpu().numpy()
    periodic = batch.pbc.any(dim=1).cpu().numpy()[system_idx]
    i, j, shifts = _bonds(batch, periodic)
    n = len(system_idx)
    alone = np.flatnonzero(~periodic)
    first = np.searchsorted(system_idx, system_idx[alone])  # joined to the first atom of their structure
    rows, columns = np.concatenate([i, alone]), np.concatenate([j, first])
    n_molecules, molecule = connected_components(
        coo_array((np.ones(len(rows)), (rows, columns)), (n, n)), directed=False
    )
    images, placed = np.zeros((n, 3)), ~periodic
    placed[np.unique(molecule, return_index=True)[1]] = True
    left = np.arange(len(i))
    while len(left := left[~placed[j[left]]]):
        reached = left[placed[i[left]]]
        atoms, which = np.unique(j[reached], return_index=True)
        images[atoms] = images[i[reached[which]]] + shifts[reached[which]]
        placed[atoms] = True
    endless = np.zeros(n_molecules, dtype=bool)
    endless[molecule[i[(images[i] + shifts != images[j]).any(axis=1)]]] = True
    images[endless[molecule]] = np.nan
    return molecule.astype(np.int64), images


def _bonds(
    batch: AtomicBatch, periodic: Bool[np.ndarray, " n_atoms"]
) -> tuple[Int64[np.ndarray, " n_bonds"], Int64[np.ndarray, " n_bonds"], Float64[np.ndarray, "n_bonds 3"]]:
    """Edges of periodic structures that are bonds, both ways: atoms i and j, and the translation between them."""
    i, j = batch.edge_index.cpu().numpy()
    radii = COVALENT_RADII[batch.numbers.cpu().numpy()]
    distances = batch.edge_vectors().detach().norm(dim=1).cpu().numpy()
    kept = (distances < LONGEST_BOND * (radii[i] + radii[j])) & periodic[i]
    return i[kept], j[kept], batch.unit_shifts.cpu().numpy()[kept]
