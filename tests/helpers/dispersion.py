"""Results of D3 and D4 terms, and of the dftd3 package in the same units."""

from dataclasses import asdict, replace

import numpy as np
import torch
from ase.build import molecule
from dftd3.interface import DispersionModel, RationalDampingParam

from molcalc.batch import from_atoms
from molcalc.units import BOHR, HARTREE
from tests.helpers.checks import strained
from tests.helpers.structures import known_molecules

D4_MOLECULES = known_molecules() | {name: molecule(name) for name in ("OH", "CH3O", "CN", "NH3")}
SMOOTH_D4 = {"cutoff": 12.0, "atm_cutoff": 8.0, "switch_width": 2.0}


def make_batch(atoms, charge=0, listed_by=None):
    """Batch of one structure; with a list of pairs within the range of a term, or without."""
    return from_atoms(
        atoms, cutoff=0.1, pair_cutoff=None if listed_by is None else listed_by.range, total_charge=charge
    )


def results(batch, term):
    """Energies (eV), and derivatives of their sum by positions (eV/Å) and by strain (eV)."""
    positions = batch.positions.clone().requires_grad_()
    strain = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    energies = term(strained(batch, positions, strain), {})
    gradients = torch.autograd.grad(energies.sum(), (positions, strain), materialize_grads=True)
    return energies.detach(), *gradients


def atomic_results(atoms, term, listed=False):
    """Energy (Ha), gradient (Ha/Bohr) and strain derivative (Ha) of one structure."""
    energies, gradient, virial = results(make_batch(atoms, listed_by=term if listed else None), term)
    return energies.sum().item() / HARTREE, gradient.numpy() * BOHR / HARTREE, virial.numpy() / HARTREE


def library_results(atoms, parameters, cutoffs=(60.0, 40.0, 40.0)):
    """The same from the dftd3 package; ``cutoffs`` of pairs, counts and triples in Bohr."""
    lattice = (atoms.cell.array / BOHR, atoms.pbc) if atoms.pbc.any() else ()
    model = DispersionModel(atoms.numbers, atoms.positions / BOHR, *lattice)
    model.set_realspace_cutoff(disp2=cutoffs[0], cn=cutoffs[1], disp3=cutoffs[2])
    results = model.get_dispersion(RationalDampingParam(**asdict(parameters)), grad=True)
    return float(results["energy"]), results["gradient"], results["virial"]


def assert_same(ours, theirs, tolerance):
    for name, a, b in zip(("energy", "gradient", "virial"), ours, theirs):
        np.testing.assert_allclose(a, b, rtol=0.0, atol=tolerance, err_msg=name)


def sums_of_structures(batch, term):
    """Function of positions and cell that returns the energy of each structure, and its arguments."""

    def function(positions, cell):
        energies = term(replace(batch, positions=positions, cell=cell), {})
        return torch.zeros(batch.n_systems, dtype=torch.float64).index_add(0, batch.system_idx, energies)

    return function, (batch.positions.clone().requires_grad_(), batch.cell.clone().requires_grad_())
