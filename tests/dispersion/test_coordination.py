"""Coordination numbers."""

import math

import pytest
from ase.build import molecule

from molcalc.batch import from_atoms
from molcalc.dispersion.coordination import coordination_numbers
from molcalc.dispersion.reference import atom_data
from molcalc.units import BOHR


def counts(atoms, cutoff=math.inf, width=0.0):
    batch = from_atoms(atoms, cutoff=0.1, pair_cutoff=math.inf)
    distances = batch.pair_vectors().norm(dim=1) / BOHR
    radii = atom_data(batch.numbers).covalent_radii
    return coordination_numbers(batch.pair_index, distances, radii, cutoff, width)


@pytest.mark.parametrize(("name", "expected"), [("CH4", 4), ("C2H4", 3), ("C2H2", 2), ("H2O", 2), ("NH3", 3)])
def test_counts_are_near_the_number_of_bonds(name, expected):
    assert counts(molecule(name))[0] == pytest.approx(expected, abs=0.05)


def test_one_pair_follows_the_formula():
    atoms = molecule("H2")
    r = atoms.get_distance(0, 1) / BOHR
    radius = 4.0 / 3.0 * 0.32 / 0.529177210903  # Pyykkö and Atsumi (2009), Å
    expected = 1.0 / (1.0 + math.exp(-16.0 * (2.0 * radius / r - 1.0)))
    assert counts(atoms).tolist() == pytest.approx([expected] * 2, abs=1e-14)


def test_pairs_beyond_the_cutoff_do_not_count():
    atoms = molecule("H2")
    r = atoms.get_distance(0, 1) / BOHR
    assert counts(atoms, cutoff=r - 1e-9).tolist() == [0.0, 0.0]
    assert counts(atoms, cutoff=r + 1e-9)[0] > 0.9
    assert 0.0 < counts(atoms, cutoff=r + 0.5, width=1.0)[0] < 0.9


def test_count_tends_to_a_constant_which_is_why_a_cutoff_is_needed():
    atoms = molecule("H2")
    atoms.positions *= 1000.0
    assert counts(atoms)[0] == pytest.approx(math.exp(-16.0), rel=0.05)


def test_no_pairs_no_counts():
    assert counts(molecule("H")).tolist() == [0.0]
