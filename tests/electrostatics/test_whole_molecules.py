"""Dipoles of periodic structures: of whole molecules, whichever images of their atoms are listed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, graphene, molecule

from molcalc.batch import collate, from_atoms
from molcalc.electrostatics.sites import ChargeSites
from molcalc.electrostatics.whole_molecules import dipole_origins

CHARGES = {1: 0.4, 6: -0.1, 8: -0.7, 11: 0.9, 17: -0.9}


def dipoles(*structures: Atoms) -> np.ndarray:
    """(n_systems, 3) of charges that belong to elements."""
    batch = collate([from_atoms(atoms, cutoff=4.0) for atoms in structures])
    charges = torch.tensor([CHARGES[z] for z in batch.numbers.tolist()], dtype=torch.float64)
    sites = ChargeSites.of(batch, {"charges": charges}, "charges")
    return sites.dipole(dipole_origins(batch), batch.n_systems).numpy()


def boxed(*molecules: Atoms, cell: float = 9.0) -> Atoms:
    """Molecules side by side in a skewed periodic box."""
    atoms = Atoms(cell=[[cell, 0, 0], [2.0, cell, 0], [0, 1.0, cell]], pbc=True)
    for k, each in enumerate(molecules):
        each = each.copy()
        each.positions += np.array([0.5, 4.5 * k, 0.3])
        atoms += each
    return atoms


def test_a_molecule_in_a_box_has_the_dipole_of_the_molecule() -> None:
    alone, inside = molecule("CH3OH"), boxed(molecule("CH3OH"))
    assert np.allclose(dipoles(inside), dipoles(alone), atol=1e-12)


@pytest.mark.parametrize("pbc", [(True, True, True), (True, False, True)])
def test_images_of_atoms_do_not_matter(pbc: tuple[bool, bool, bool]) -> None:
    atoms = boxed(molecule("CH3OH"), molecule("H2O"))
    atoms.pbc = pbc
    moved = atoms.copy()
    moved.positions += np.random.default_rng(0).integers(-3, 4, (len(atoms), 3)) * np.array(pbc) @ atoms.cell.array
    assert np.allclose(dipoles(moved), dipoles(atoms), atol=1e-10)
    assert np.allclose(dipoles(atoms), dipoles(molecule("CH3OH")) + dipoles(molecule("H2O")), atol=1e-12)


def test_a_molecule_larger_than_its_cell_is_put_together() -> None:
    chain = molecule("trans-butane")
    small = chain.copy()
    small.set_cell(np.diag(np.ptp(chain.positions, axis=0) + 2.2))
    small.pbc = True
    small.positions[::2] += small.cell.array[1]
    assert np.allclose(dipoles(small), dipoles(chain), atol=1e-10)


@pytest.mark.parametrize(
    "network",
    [
        bulk("NaCl", "rocksalt", 5.6, cubic=True),
        graphene(vacuum=8.0),
        Atoms("CC", [[0] * 3, [1.3, 0, 0]], cell=[2.6, 9, 9]),
    ],
    ids=["salt", "sheet", "chain"],
)
def test_a_network_without_end_has_no_dipole_and_others_in_the_batch_have_theirs(network: Atoms) -> None:
    network = network.copy()
    network.pbc = True
    found = dipoles(molecule("H2O"), network, boxed(molecule("H2O")))
    assert np.isnan(found[1]).all()
    assert np.allclose(found[[0, 2]], dipoles(molecule("H2O")), atol=1e-12)


def test_an_atom_alone_has_no_dipole_moment() -> None:
    assert np.allclose(dipoles(Atoms("O", cell=[3, 3, 3], pbc=True)), 0.0, atol=1e-12)
