"""Coulomb sums in real space."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from electrostatics_checks import (
    assert_batch_equals_single,
    assert_derivatives_exact,
    assert_invariant,
    assert_smooth_at,
    batch_of,
    energies_of,
    random_atoms,
    random_charges,
    total_energy,
)

from molcalc.electrostatics.coulomb import SimpleCoulomb
from molcalc.errors import CellError, ConfigError
from molcalc.units import COULOMB

pytestmark = pytest.mark.usefixtures("path")

WATER_CHARGES = torch.tensor([-0.8, 0.4, 0.4], dtype=torch.float64)


def textbook_energy(positions, charges, short_range_cutoff):
    """The double sum of the docstring, in plain numpy."""
    total = 0.0
    for i in range(len(positions)):
        for j in range(i):
            d = np.linalg.norm(positions[i] - positions[j])
            x = d / short_range_cutoff
            envelope = np.exp(1 - 1 / (1 - x * x)) if x < 1 else 0.0
            total += (1 - envelope) * charges[i] * charges[j] / d
    return COULOMB * total


@pytest.mark.parametrize("n_atoms", [2, 3, 24, 130])
def test_simple_equals_the_textbook_sum(n_atoms):
    atoms, charges = random_atoms(n_atoms), random_charges(n_atoms, total=1.0)
    expected = textbook_energy(atoms.positions, charges.numpy(), 4.6)
    assert total_energy(SimpleCoulomb(), batch_of(atoms), charges) == pytest.approx(expected, abs=1e-10)


def test_simple_reproduces_the_published_aimnet2_coulomb_energy():
    """Charges and Coulomb energy of aimnet2_wb97m-d3, member 0, in float64: NH4+ and HCOO- 7.3 Å apart."""
    a = 0.58976328373
    ammonium = [[0, 0, 0], [a, a, a], [a, -a, -a], [-a, a, -a], [-a, -a, a]]
    carbon, oxygen, hydrogen = [0, 0, 7.31069993973], [0, 1.13160002232, 6.77199983597], [0, 0, 8.44900035858]
    formate = [carbon, oxygen, [0, -oxygen[1], oxygen[2]], hydrogen]
    charges = [-0.508975630654, *[0.381293717304] * 4]
    charges += [0.252247406093, -0.627637119652, -0.627637119652, -0.0131723683521]
    batch = batch_of(Atoms("NH4CO2H", ammonium + formate))
    energy = total_energy(SimpleCoulomb(), batch, torch.tensor(charges, dtype=torch.float64))
    assert energy == pytest.approx(-1.26043747078, abs=1e-6)


def test_without_short_range_cutoff_two_charges_follow_coulombs_law():
    atoms = Atoms("H2", [[0, 0, 0], [0, 0, 2.0]])
    charges = torch.tensor([1.0, -1.0], dtype=torch.float64)
    energy = total_energy(SimpleCoulomb(short_range_cutoff=None), batch_of(atoms), charges)
    assert energy == pytest.approx(-COULOMB / 2.0, rel=1e-14)


def test_short_range_is_left_out_at_contact_and_kept_beyond_the_cutoff():
    charges = torch.tensor([1.0, 1.0], dtype=torch.float64)
    near, far = (batch_of(Atoms("H2", [[0, 0, 0], [0, 0, d]])) for d in (1e-3, 4.6))
    assert total_energy(SimpleCoulomb(), near, charges) == pytest.approx(COULOMB * 1e-3 / 4.6**2, rel=1e-5)
    assert total_energy(SimpleCoulomb(), far, charges) == pytest.approx(COULOMB / 4.6, rel=1e-14)


def test_coinciding_charges_stay_finite_with_the_envelope():
    batch = batch_of(Atoms("H2", [[0, 0, 0], [0, 0, 0]]))
    positions = batch.positions.clone().requires_grad_()
    energy = energies_of(SimpleCoulomb(), batch, torch.ones(2, dtype=torch.float64), positions).sum()
    (gradient,) = torch.autograd.grad(energy, positions)
    assert abs(float(energy.detach())) < 1e-9
    assert bool((gradient == 0).all())


@pytest.mark.parametrize("short_range_cutoff", [4.6, 2.0, None], ids=["rs=4.6", "rs=2", "no rs"])
def test_simple_derivatives_equal_finite_differences(short_range_cutoff):
    batch = batch_of(random_atoms(4), random_atoms(3, seed=1))
    assert_derivatives_exact(SimpleCoulomb(short_range_cutoff), batch, random_charges(7))


def test_gradients_with_graph_equal_gradients_without():
    batch, charges = batch_of(random_atoms(40)), random_charges(40)
    leaves = charges.requires_grad_(), batch.positions.clone().requires_grad_()
    weights = torch.linspace(-1.0, 2.0, 40, dtype=torch.float64)
    for weight in (weights, torch.ones_like(weights)):
        energy = (energies_of(SimpleCoulomb(), batch, *leaves) * weight).sum()
        plain = torch.autograd.grad(energy, leaves, retain_graph=True)
        with_graph = torch.autograd.grad(energy, leaves, create_graph=True)
        for a, b in zip(plain, with_graph):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_simple_in_a_batch_equals_single_systems():
    sizes = (3, 1, 12, 2)
    structures = [random_atoms(n, seed=n) for n in sizes]
    assert_batch_equals_single(SimpleCoulomb(), structures, [random_charges(n, seed=n) for n in sizes])


def test_simple_is_invariant_under_rotation_reflection_and_permutation():
    assert_invariant(SimpleCoulomb(), random_atoms(9), random_charges(9))


def test_simple_is_smooth_where_the_envelope_ends():
    assert_smooth_at(SimpleCoulomb(), 4.6)


def test_one_atom_has_no_energy_and_no_force():
    batch = batch_of(Atoms("Na"))
    positions = batch.positions.clone().requires_grad_()
    energies = energies_of(SimpleCoulomb(), batch, torch.ones(1, dtype=torch.float64), positions)
    (gradient,) = torch.autograd.grad(energies.sum(), positions)
    assert energies.tolist() == [0.0]
    assert bool((gradient == 0).all())


def test_float32_charges_are_summed_in_float64():
    batch = batch_of(random_atoms(20))
    charges = random_charges(20).float().requires_grad_()
    energies = energies_of(SimpleCoulomb(), batch, charges)
    (gradient,) = torch.autograd.grad(energies.sum(), charges)
    assert energies.dtype == torch.float64
    assert gradient.dtype == torch.float32
    assert float(energies.detach().sum()) == total_energy(SimpleCoulomb(), batch, charges.detach().double())


def test_two_waters_interact_as_dipoles_far_apart():  # A17
    charges = torch.cat([WATER_CHARGES, WATER_CHARGES])

    def interaction(distance):
        pair = molecule("H2O") + molecule("H2O")
        pair.positions[3:] += [0.0, 0.0, distance]
        alone = total_energy(SimpleCoulomb(), batch_of(molecule("H2O")), WATER_CHARGES)
        return total_energy(SimpleCoulomb(), batch_of(pair), charges) - 2 * alone

    assert interaction(20.0) / interaction(50.0) == pytest.approx(15.6, rel=0.05)
    assert abs(interaction(1000.0)) < 1e-6


def test_energy_does_not_depend_on_the_number_of_threads():
    batch, charges = batch_of(random_atoms(150)), random_charges(150)
    n_threads = torch.get_num_threads()
    results = []
    try:
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            positions = batch.positions.clone().requires_grad_()
            energy = energies_of(SimpleCoulomb(), batch, charges, positions).sum()
            results.append(torch.autograd.grad(energy, positions)[0])
    finally:
        torch.set_num_threads(n_threads)
    for other in results[1:]:
        torch.testing.assert_close(results[0], other, rtol=0, atol=1e-12)


@pytest.mark.parametrize("pbc", [(True, True, True), (False, False, True)], ids=["3-D", "1-D"])
def test_simple_refuses_periodic_structures_and_names_the_alternatives(pbc):
    atoms = random_atoms(3, cell=np.eye(3) * 6)
    atoms.pbc = pbc
    with pytest.raises(CellError, match='"dsf" or "ewald"'):
        energies_of(SimpleCoulomb(), batch_of(atoms, pair_cutoff=5.0), random_charges(3))


def test_pairs_that_end_before_the_term_are_an_error():
    batch = batch_of(random_atoms(3), pair_cutoff=5.0)
    with pytest.raises(ConfigError, match="5.0 Å.*pair_cutoff=inf"):
        energies_of(SimpleCoulomb(), batch, random_charges(3))


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_short_range_cutoff_is_an_error_with_its_name(value):
    with pytest.raises(ConfigError, match=f"short_range_cutoff={value}"):
        SimpleCoulomb(short_range_cutoff=value)
