"""Structures for the D4 tests, and results of the term."""

from dataclasses import replace

import torch
from ase.build import molecule

from molcalc.batch import from_atoms
from tests.helpers.dispersion_systems import IDENTITY, molecules

SYSTEMS = molecules() | {name: molecule(name) for name in ("OH", "CH3O", "CN", "NH3")}
SMOOTH = {"cutoff": 12.0, "atm_cutoff": 8.0, "switch_width": 2.0}


def make_batch(atoms, charge=0):
    return from_atoms(atoms, cutoff=0.1, total_charge=charge)


def results(batch, term):
    """Energies (eV), and derivatives of their sum by positions and by strain."""
    positions = batch.positions.clone().requires_grad_()
    strain = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    deformation = IDENTITY + strain
    energies = term(replace(batch, positions=positions @ deformation, cell=batch.cell @ deformation), {})
    gradients = torch.autograd.grad(energies.sum(), (positions, strain), materialize_grads=True)
    return energies.detach(), *gradients


def sums_of_structures(batch, term):
    """Function of positions and cell that returns the energy of each structure, and its arguments."""

    def function(positions, cell):
        energies = term(replace(batch, positions=positions, cell=cell), {})
        return torch.zeros(batch.n_systems, dtype=torch.float64).index_add(0, batch.system_idx, energies)

    return function, (batch.positions.clone().requires_grad_(), batch.cell.clone().requires_grad_())
