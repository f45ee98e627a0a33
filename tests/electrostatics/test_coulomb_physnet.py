"""PhysNet's switched Coulomb energy."""

import numpy as np
import pytest
import torch
from ase import Atoms

from molcalc.electrostatics.coulomb import PhysNetCoulomb
from molcalc.errors import CellError, ConfigError
from molcalc.units import COULOMB
from tests.helpers.checks import (
    assert_batch_equals_single,
    assert_derivatives_exact,
    assert_invariant,
    assert_smooth_at,
    batch_of,
    energies_of,
    random_charges,
    total_energy,
)
from tests.helpers.structures import random_atoms

CELL = [[6.0, 0.0, 0.0], [1.0, 5.5, 0.0], [-0.5, 0.7, 5.0]]
BOTH = pytest.mark.parametrize("long_cutoff", [None, 7.0], ids=["all pairs", "L=7"])


def pair_energy(term, distance, pair_cutoff=np.inf):
    charges = torch.tensor([1.0, -1.0], dtype=torch.float64)
    return total_energy(term, batch_of(Atoms("H2", [[0, 0, 0], [0, 0, distance]]), pair_cutoff=pair_cutoff), charges)


@pytest.mark.parametrize("distance", [5.0, 5.001, 9.0, 300.0])
def test_energy_is_coulombs_law_beyond_half_the_short_cutoff(distance):
    assert pair_energy(PhysNetCoulomb(10.0), distance) == pytest.approx(-COULOMB / distance, rel=1e-12)


def test_energy_is_softened_at_short_range():
    assert pair_energy(PhysNetCoulomb(10.0), 1e-4) == pytest.approx(-COULOMB, rel=1e-7)
    y = 2.0 / 5.0
    switch = 10 * y**3 - 15 * y**4 + 6 * y**5
    expected = -COULOMB * ((1 - switch) / np.sqrt(5.0) + switch / 2.0)
    assert pair_energy(PhysNetCoulomb(10.0), 2.0) == pytest.approx(expected, rel=1e-14)


def test_long_cutoff_shifts_both_branches():
    length, y = 8.0, 2.0 / 5.0
    switch = 10 * y**3 - 15 * y**4 + 6 * y**5
    soft, bare = (1 / d + d / length**2 - 2 / length for d in (np.sqrt(5.0), 2.0))
    expected = -COULOMB * ((1 - switch) * soft + switch * bare)
    assert pair_energy(PhysNetCoulomb(10.0, length), 2.0) == pytest.approx(expected, rel=1e-14)
    assert pair_energy(PhysNetCoulomb(10.0, length), 8.0) == 0.0
    assert pair_energy(PhysNetCoulomb(10.0, length), 9.0) == 0.0
    assert pair_energy(PhysNetCoulomb(10.0, length), 50.0) == 0.0


def test_force_vanishes_at_the_long_cutoff():
    batch = batch_of(Atoms("H2", [[0, 0, 0], [0, 0, 8.0 - 1e-6]]))
    positions = batch.positions.clone().requires_grad_()
    energy = energies_of(PhysNetCoulomb(10.0, 8.0), batch, torch.ones(2, dtype=torch.float64), positions).sum()
    (gradient,) = torch.autograd.grad(energy, positions)
    assert float(gradient.abs().max()) < COULOMB * 3 * 1e-6 / 8.0**3


def test_coinciding_charges_have_a_finite_energy_and_no_force():
    batch = batch_of(Atoms("H2", [[0, 0, 0], [0, 0, 0]]))
    positions = batch.positions.clone().requires_grad_()
    energy = energies_of(PhysNetCoulomb(), batch, torch.ones(2, dtype=torch.float64), positions).sum()
    (gradient,) = torch.autograd.grad(energy, positions)
    assert float(energy.detach()) == pytest.approx(COULOMB)
    assert bool((gradient == 0).all())


@BOTH
def test_derivatives_equal_finite_differences(long_cutoff):
    batch = batch_of(random_atoms(4), random_atoms(3, seed=1))
    assert_derivatives_exact(PhysNetCoulomb(6.0, long_cutoff), batch, random_charges(7))


@pytest.mark.filterwarnings("ignore::molcalc.electrostatics.charged_cells.ChargedCellWarning")
def test_derivatives_of_a_crystal_equal_finite_differences():
    batch = batch_of(random_atoms(3, cell=CELL), random_atoms(2), pair_cutoff=7.5)
    assert_derivatives_exact(PhysNetCoulomb(6.0, 7.0), batch, random_charges(5))


@BOTH
def test_batch_equals_single_systems(long_cutoff):
    structures = [random_atoms(n, seed=n) for n in (3, 1, 12)]
    assert_batch_equals_single(PhysNetCoulomb(6.0, long_cutoff), structures, [random_charges(n) for n in (3, 1, 12)])


@BOTH
def test_energy_is_invariant_under_rotation_reflection_and_permutation(long_cutoff):
    assert_invariant(PhysNetCoulomb(6.0, long_cutoff), random_atoms(9), random_charges(9))


@pytest.mark.parametrize("radius", [5.0, 9.0], ids=["switch", "long cutoff"])
def test_energy_is_smooth_at_its_cutoffs(radius):
    assert_smooth_at(PhysNetCoulomb(10.0, 9.0), radius)


def test_supercell_is_extensive():
    atoms, charges, term = random_atoms(4, cell=CELL), random_charges(4), PhysNetCoulomb(6.0, 9.0)
    single = total_energy(term, batch_of(atoms, pair_cutoff=9.0), charges)
    repeated = total_energy(term, batch_of(atoms.repeat((2, 2, 1)), pair_cutoff=9.0), charges.repeat(4))
    assert repeated == pytest.approx(4 * single, rel=1e-12)


def test_crystal_without_long_cutoff_is_an_error():
    assert not PhysNetCoulomb().supports_periodic
    with pytest.raises(CellError, match="set long_cutoff"):
        energies_of(PhysNetCoulomb(), batch_of(random_atoms(2, cell=CELL), pair_cutoff=5.0), random_charges(2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"short_cutoff": 0.0}, "short_cutoff=0.0"),
        ({"long_cutoff": float("nan")}, "long_cutoff=nan"),
        ({"long_cutoff": 4.0}, "long_cutoff=4.0 Å is within the switched range of 5.0 Å"),
    ],
)
def test_impossible_options_are_errors_with_name_and_value(options, message):
    with pytest.raises(ConfigError, match=message):
        PhysNetCoulomb(**options)
