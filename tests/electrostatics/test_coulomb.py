"""Coulomb sums in real space."""

import copy
import pickle
import warnings

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule

from molcalc.batch import collate
from molcalc.electrostatics.charged_cells import ChargedCellWarning
from molcalc.electrostatics.coulomb import DSFCoulomb, PhysNetCoulomb, SimpleCoulomb
from molcalc.errors import CellError, ConfigError
from molcalc.units import COULOMB
from tests.helpers.checks import (
    assert_batch_equals_single,
    assert_derivatives_exact,
    assert_invariant,
    assert_nan_stays_in_its_system,
    assert_smooth_at,
    batch_of,
    energies_of,
    random_charges,
    total_energy,
)
from tests.helpers.structures import random_atoms

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


def test_two_waters_interact_as_dipoles_far_apart():
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
    assert not SimpleCoulomb().supports_periodic
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


TRICLINIC = [[7.0, 0.0, 0.0], [1.2, 6.5, 0.0], [-0.8, 1.1, 6.0]]


def dsf_by_images(atoms, charges, cutoff, alpha, short_range_cutoff):
    """The sum of the docstring over explicit periodic images."""
    from math import erfc, exp, pi, sqrt

    edge = erfc(alpha * cutoff) / cutoff
    slope = edge / cutoff + 2 * alpha * exp(-((alpha * cutoff) ** 2)) / (sqrt(pi) * cutoff)
    images = np.array(np.meshgrid(*[range(-3, 4) if p else [0] for p in atoms.pbc])).reshape(3, -1).T
    total = -(edge / 2 + alpha / sqrt(pi)) * float((charges**2).sum())
    for i in range(len(atoms)):
        for j in range(len(atoms)):
            for d in np.linalg.norm(atoms.positions[j] - atoms.positions[i] + images @ atoms.cell, axis=1):
                if 0 < d < cutoff:
                    x = d / short_range_cutoff
                    envelope = exp(1 - 1 / (1 - x * x)) if x < 1 else 0.0
                    radial = erfc(alpha * d) / d - edge + (d - cutoff) * slope - envelope / d
                    total += 0.5 * float(charges[i] * charges[j]) * radial
    return COULOMB * total


@pytest.mark.filterwarnings("ignore::molcalc.electrostatics.charged_cells.ChargedCellWarning")
@pytest.mark.parametrize("pbc", [(0, 0, 0), (1, 0, 0), (1, 1, 0), (1, 1, 1)], ids=["0-D", "1-D", "2-D", "3-D"])
def test_dsf_equals_the_sum_over_images_in_cells_smaller_than_the_cutoff(pbc):
    atoms, charges = random_atoms(6, cell=TRICLINIC), random_charges(6, total=0.3)
    atoms.pbc = pbc
    energy = total_energy(DSFCoulomb(9.0, 0.25), batch_of(atoms, pair_cutoff=9.0), charges)
    assert energy == pytest.approx(dsf_by_images(atoms, charges, 9.0, 0.25, 4.6), rel=1e-12)


def test_dsf_ignores_pairs_beyond_its_cutoff():
    atoms, charges = random_atoms(60), random_charges(60)
    term = DSFCoulomb(cutoff=6.0)
    far, near = (total_energy(term, batch_of(atoms, pair_cutoff=c), charges) for c in (np.inf, 6.0))
    assert far == pytest.approx(near, rel=1e-13)


@pytest.mark.filterwarnings("ignore::molcalc.electrostatics.charged_cells.ChargedCellWarning")
@pytest.mark.parametrize("short_range_cutoff", [4.0, None], ids=["rs=4", "no rs"])
def test_dsf_derivatives_equal_finite_differences(short_range_cutoff):
    term = DSFCoulomb(6.0, 0.3, short_range_cutoff)
    crystal, molecule_ = random_atoms(4, cell=TRICLINIC), random_atoms(2, seed=1)
    batch = batch_of(crystal, molecule_, pair_cutoff=8.0)
    assert_derivatives_exact(term, batch, random_charges(6))


@pytest.mark.parametrize("periodic", [False, True], ids=["molecule", "crystal"])
def test_dsf_is_invariant_under_rotation_reflection_and_permutation(periodic):
    atoms = random_atoms(8, cell=TRICLINIC if periodic else None)
    assert_invariant(DSFCoulomb(), atoms, random_charges(8), pair_cutoff=15.0)


def test_dsf_in_a_batch_with_molecules_equals_single_systems():
    structures = [random_atoms(5, cell=TRICLINIC), random_atoms(4), random_atoms(1), random_atoms(6, seed=2)]
    charges = [random_charges(len(atoms)) for atoms in structures]
    assert_batch_equals_single(DSFCoulomb(8.0), structures, charges, pair_cutoff=8.0)


@pytest.mark.parametrize("term", [SimpleCoulomb(), DSFCoulomb()], ids=["simple", "dsf"])
def test_copies_of_a_used_term_give_the_same_energy(term):
    batch, charges = batch_of(random_atoms(5)), random_charges(5)
    energy = total_energy(term, batch, charges)
    for copied in (copy.deepcopy(term), pickle.loads(pickle.dumps(term))):  # noqa: S301
        assert total_energy(copied, batch, charges) == energy


@pytest.mark.parametrize("term", [SimpleCoulomb(), DSFCoulomb()], ids=["simple", "dsf"])
def test_a_position_that_is_no_number_spoils_only_its_own_system(term):
    structures = [random_atoms(n, seed=n) for n in (4, 3, 6)]
    assert_nan_stays_in_its_system(term, structures, [random_charges(n) for n in (4, 3, 6)])


@pytest.mark.parametrize("radius", [4.6, 9.0], ids=["envelope", "cutoff"])
def test_dsf_is_smooth_at_its_cutoffs(radius):
    assert_smooth_at(DSFCoulomb(9.0), radius, pair_cutoff=10.0)


def test_dsf_of_a_supercell_is_extensive():
    atoms, charges = random_atoms(5, cell=TRICLINIC), random_charges(5)
    single = total_energy(DSFCoulomb(), batch_of(atoms, pair_cutoff=15.0), charges)
    repeated = batch_of(atoms.repeat((2, 1, 3)), pair_cutoff=15.0)
    assert total_energy(DSFCoulomb(), repeated, charges.repeat(6)) == pytest.approx(6 * single, rel=1e-12)


def test_one_atom_has_only_its_self_energy_in_dsf():
    term = DSFCoulomb(15.0, 0.2)
    energy = total_energy(term, batch_of(Atoms("Na")), torch.tensor([2.0], dtype=torch.float64))
    # erfc(3) / 30 + 0.2 / sqrt(pi), times 4 e2 and 14.39964548 eV·Å
    assert energy == pytest.approx(-COULOMB * 4 * (2.209049699858544e-05 / 30 + 0.11283791670955126), rel=1e-12)


def test_no_pairs_within_the_cutoff_give_no_forces():
    batch = batch_of(Atoms("H2", [[0, 0, 0], [0, 0, 30.0]]))
    positions = batch.positions.clone().requires_grad_()
    energies = energies_of(DSFCoulomb(), batch, torch.ones(2, dtype=torch.float64), positions)
    (gradient,) = torch.autograd.grad(energies.sum(), positions)
    assert bool((gradient == 0).all())


def test_an_infinite_list_of_a_crystal_is_an_error():
    with pytest.raises(ConfigError, match="lists no periodic images.*pair_cutoff=15.0"):
        energies_of(DSFCoulomb(), batch_of(random_atoms(2, cell=TRICLINIC)), random_charges(2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cutoff": 0.0}, "cutoff=0.0 must be a positive"),
        ({"cutoff": float("nan")}, "cutoff=nan must be a positive"),
        ({"alpha": -0.2}, "alpha=-0.2 must be a positive"),
        ({"cutoff": 4.0}, "short_range_cutoff=4.6 Å is beyond cutoff=4.0 Å"),
    ],
)
def test_impossible_dsf_options_are_errors_with_name_and_value(arguments, message):
    with pytest.raises(ConfigError, match=message):
        DSFCoulomb(**arguments)


@pytest.mark.parametrize("make", [DSFCoulomb, lambda: PhysNetCoulomb(long_cutoff=12.0)], ids=["dsf", "shifted"])
def test_a_charged_cell_warns_once_and_a_charged_molecule_never(make):
    term, atoms = make(), random_atoms(4)
    atoms.pbc = False
    molecule = batch_of(atoms, pair_cutoff=15.0)
    atoms.set_cell(np.eye(3) * 14.0)
    atoms.pbc = (True, False, False)
    wire = batch_of(atoms, pair_cutoff=15.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        total_energy(term, molecule, random_charges(4, total=1.0))
        total_energy(term, wire, random_charges(4, total=0.0))
    with pytest.warns(ChargedCellWarning, match="charge 1 e: charges around each atom"):
        total_energy(term, collate([molecule, wire]), torch.cat([random_charges(4), random_charges(4, total=1.0)]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        total_energy(term, wire, random_charges(4, total=1.0))
