"""Ziegler-Biersack-Littmark repulsion."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.units import Bohr, Hartree

from molcalc.electrostatics.zbl import ZBLRepulsion
from molcalc.errors import ConfigError
from tests.helpers.checks import (
    assert_batch_equals_single,
    assert_derivatives_exact,
    assert_invariant,
    assert_smooth_at,
    batch_of,
    random_charges,
    total_energy,
)
from tests.helpers.structures import random_atoms

CELL = [[3.0, 0.0, 0.0], [0.4, 2.6, 0.0], [-0.5, 0.7, 2.8]]
UNSWITCHED = ZBLRepulsion(cutoff=50.0, switch_start=40.0)


def pair_energy(term, symbols, distance):
    return total_energy(term, batch_of(Atoms(symbols, [[0, 0, 0], [0, 0, distance]])), random_charges(2))


def in_atomic_units(z_i, z_j, distance):
    """Ziegler, Biersack, Littmark (1985), with Hartree and Bohr throughout."""
    r = distance / Bohr
    x = r * (z_i**0.23 + z_j**0.23) / 0.8854
    c, d = (0.18175, 0.50986, 0.28022, 0.02817), (3.1998, 0.94229, 0.4029, 0.20162)
    return Hartree * z_i * z_j / r * sum(a * np.exp(-b * x) for a, b in zip(c, d))


@pytest.mark.parametrize(("symbols", "z_i", "z_j"), [("H2", 1, 1), ("O2", 8, 8), ("HO", 1, 8), ("CAu", 6, 79)])
@pytest.mark.parametrize("distance", [0.05, 0.3, 0.7, 1.2])
def test_energy_equals_the_formula_in_atomic_units(symbols, z_i, z_j, distance):
    energy = pair_energy(UNSWITCHED, symbols, distance)
    assert energy == pytest.approx(in_atomic_units(z_i, z_j, distance), rel=1e-12)


def test_textbook_values_of_hydrogen_and_oxygen():
    """Worked out by hand from the published constants (a = 0.2343 Å for H-H, 0.1452 Å for O-O), in eV."""
    assert pair_energy(UNSWITCHED, "H2", 0.5) == pytest.approx(5.914, abs=2e-3)
    assert pair_energy(UNSWITCHED, "O2", 0.5) == pytest.approx(191.57, abs=0.05)


def test_bare_nuclei_repel_at_contact():
    assert pair_energy(UNSWITCHED, "O2", 1e-6) == pytest.approx(64 * Hartree * Bohr / 1e-6, rel=1e-4)


def test_energy_decreases_with_distance_and_ends_at_the_cutoff():
    energies = [pair_energy(ZBLRepulsion(1.5), "CO", d) for d in np.linspace(0.2, 1.5, 60)]
    assert all(later < earlier for earlier, later in zip(energies, energies[1:]))
    assert energies[-1] == pair_energy(ZBLRepulsion(1.5), "CO", 1.6) == 0.0


def test_switch_leaves_short_distances_alone():
    assert pair_energy(ZBLRepulsion(2.0, 1.0), "NN", 0.999) == pair_energy(UNSWITCHED, "NN", 0.999)
    half = pair_energy(UNSWITCHED, "NN", 1.5) / 2
    assert pair_energy(ZBLRepulsion(2.0, 1.0), "NN", 1.5) == pytest.approx(half, rel=1e-12)


@pytest.mark.parametrize("radius", [1.1, 2.2], ids=["switch starts", "cutoff"])
def test_energy_is_smooth_where_the_switch_begins_and_ends(radius):
    assert_smooth_at(ZBLRepulsion(2.2), radius, closest=0.5)


@pytest.mark.parametrize("name", ["N2", "CO", "C2H2", "HF", "CH3OH", "SO2"])
def test_no_bond_at_rest_is_repelled_by_a_range_of_covalent_radii(name):
    term, atoms = ZBLRepulsion(covalent=0.8), molecule(name)
    assert total_energy(term, batch_of(atoms), random_charges(len(atoms))) < 1e-3
    assert total_energy(ZBLRepulsion(), batch_of(atoms), random_charges(len(atoms))) > 1.0


def test_a_range_of_covalent_radii_keeps_the_formula_below_its_switch_and_ends_smoothly():
    term, reach = ZBLRepulsion(covalent=0.8), 0.8 * (0.76 + 0.66)  # C and O: Cordero et al. (2008)
    assert pair_energy(term, "CO", 0.49 * reach) == pair_energy(UNSWITCHED, "CO", 0.49 * reach)
    assert pair_energy(term, "CO", 0.999 * reach) > 0.0
    assert pair_energy(term, "CO", 1.001 * reach) == 0.0
    structures = [random_atoms(n, seed=n, min_distance=0.6) for n in (3, 12)]
    assert_batch_equals_single(term, structures, [random_charges(n) for n in (3, 12)], atol=1e-10)
    assert_derivatives_exact(term, batch_of(Atoms("CHO", [[0, 0, 0], [0, 0, 0.7], [0.8, 0, 0]])), random_charges(3),
                             atol=1e-6)  # fmt: skip


@pytest.mark.parametrize("periodic", [False, True], ids=["molecule", "crystal"])
def test_derivatives_equal_finite_differences(periodic):
    atoms = random_atoms(4, cell=CELL if periodic else None, min_distance=0.7)
    batch = batch_of(atoms, random_atoms(2, seed=3), pair_cutoff=3.0)
    assert_derivatives_exact(ZBLRepulsion(2.5), batch, random_charges(6), atol=1e-6)


def test_batch_equals_single_systems():
    structures = [random_atoms(n, seed=n) for n in (3, 1, 12)]
    assert_batch_equals_single(ZBLRepulsion(), structures, [random_charges(n) for n in (3, 1, 12)], atol=1e-10)


def test_energy_is_invariant_under_rotation_reflection_and_permutation():
    atoms = random_atoms(9, numbers=(8,))
    assert_invariant(ZBLRepulsion(), atoms, random_charges(9), atol=1e-9)


def test_cell_smaller_than_the_cutoff_counts_images():
    atoms, term = Atoms("O", cell=np.eye(3) * 1.5, pbc=True), ZBLRepulsion(2.0)
    repeated = total_energy(term, batch_of(atoms.repeat(3), pair_cutoff=2.0), random_charges(27))
    assert repeated == pytest.approx(27 * 3 * pair_energy(term, "O2", 1.5), rel=1e-12)
    assert total_energy(term, batch_of(atoms, pair_cutoff=2.0), random_charges(1)) == pytest.approx(repeated / 27)


def test_one_atom_and_distant_atoms_have_no_energy():
    assert total_energy(ZBLRepulsion(), batch_of(Atoms("U")), random_charges(1)) == 0.0
    assert pair_energy(ZBLRepulsion(), "U2", 30.0) == 0.0


def test_term_needs_no_prediction():
    assert ZBLRepulsion.requires == ()
    energies = ZBLRepulsion()(batch_of(random_atoms(3)), {})
    assert energies.shape == (3,)
    assert energies.dtype == torch.float64


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cutoff": -1.0}, "cutoff=-1.0"),
        ({"cutoff": 2.0, "switch_start": 2.0}, "switch_start=2.0 Å must be between 0 and cutoff=2.0"),
        ({"switch_start": float("nan")}, "switch_start=nan"),
    ],
)
def test_impossible_options_are_errors_with_name_and_value(options, message):
    with pytest.raises(ConfigError, match=message):
        ZBLRepulsion(**options)
