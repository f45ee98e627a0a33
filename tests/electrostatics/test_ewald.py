"""Ewald summation."""

import warnings

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from molcalc.electrostatics.charged_cells import ChargedCellWarning
from molcalc.electrostatics.coulomb import DSFCoulomb, EwaldCoulomb, SimpleCoulomb
from molcalc.electrostatics.ewald import EwaldSum
from molcalc.electrostatics.pair_formulas import SoftenedCoulomb
from molcalc.errors import CellError, ChargeError, ConfigError
from molcalc.units import COULOMB
from tests.helpers.checks import (
    IDENTITY,
    assert_batch_equals_single,
    assert_derivatives_exact,
    assert_invariant,
    assert_nan_stays_in_its_system,
    batch_of,
    energies_of,
    random_charges,
    total_energy,
)
from tests.helpers.structures import random_atoms

pytestmark = pytest.mark.usefixtures("path")

TRICLINIC = [[5.0, 0.0, 0.0], [1.2, 4.5, 0.0], [-0.8, 1.1, 4.2]]
NACL = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
NACL_CHARGES = torch.tensor([1.0, -1.0] * 4, dtype=torch.float64)
TIGHT = 1e-13
"""Accuracy at which changing sets of pairs and vectors do not show in differences."""


def plain(accuracy=TIGHT, **options):
    return EwaldCoulomb(accuracy, short_range_cutoff=None, **options)


def crystal_energy(atoms, charges, term):
    """Energy in e²/Å."""
    charges = torch.as_tensor(charges, dtype=torch.float64)
    return total_energy(term, batch_of(atoms, pair_cutoff=1.0), charges) / COULOMB


# Madelung constants, and the energy of a Wigner crystal; the length unit is the nearest-neighbor distance, for CaF2
# the lattice constant.
@pytest.mark.parametrize("scale", [0.4, 1.0, 2.0, 30.0])
@pytest.mark.parametrize(
    ("name", "structure", "a", "charges", "constant"),
    [
        ("NaCl", "rocksalt", 2.0, [1, -1], 1.747564594633),
        ("CsCl", "cesiumchloride", 2 / np.sqrt(3), [1, -1], 1.762674773071),
        ("ZnS", "zincblende", 4 / np.sqrt(3), [1, -1], 1.638055053389),
        ("CaF2", "fluorite", 1.0, [2, -1, -1], 11.636575227077),
    ],
)
def test_madelung_constants(name, structure, a, charges, constant, scale):
    energy = crystal_energy(bulk(name, structure, a=a * scale), charges, plain(1e-12))
    assert -energy * scale == pytest.approx(constant, rel=1e-9)


@pytest.mark.parametrize("scale", [0.4, 1.0, 2.0])
def test_charged_cell_has_the_wigner_energy_and_warns_once(scale):
    term = plain(1e-12)
    atoms = Atoms("Na", cell=np.eye(3) * scale, pbc=True)
    with pytest.warns(ChargedCellWarning, match="charge 1 e.*background"):
        energy = crystal_energy(atoms, [1.0], term)
    assert -2 * energy * scale == pytest.approx(2.837297479481, rel=1e-9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert crystal_energy(atoms, [1.0], term) == energy


@pytest.mark.filterwarnings("ignore::molcalc.electrostatics.charged_cells.ChargedCellWarning")
@pytest.mark.parametrize("total", [0.0, 1.0], ids=["neutral", "charged"])
def test_energy_does_not_depend_on_the_splitting(total):
    atoms, charges = random_atoms(8, cell=TRICLINIC), random_charges(8, total=total)
    energies = [crystal_energy(atoms, charges, plain(alpha=alpha)) for alpha in (0.35, 0.6, 1.0)]
    energies.append(crystal_energy(atoms, charges, plain(real_cutoff=9.0)))
    energies.append(crystal_energy(atoms, charges, plain()))
    np.testing.assert_allclose(energies, energies[0], rtol=1e-11)


@pytest.mark.parametrize("accuracy", [1e-4, 1e-6, 1e-8, 1e-10])
def test_error_stays_below_the_accuracy_asked_for(accuracy):
    atoms, charges = random_atoms(12, cell=TRICLINIC), random_charges(12)
    exact = crystal_energy(atoms, charges, plain(1e-15))
    assert crystal_energy(atoms, charges, plain(accuracy)) == pytest.approx(exact, rel=accuracy)


def test_large_cells_use_factored_structure_factors_with_the_same_result(monkeypatch):
    atoms, charges = random_atoms(30, cell=np.eye(3) * 8.0), random_charges(30)
    batch = batch_of(atoms, pair_cutoff=1.0)
    results = []
    for limit in (0, 10**9):
        for name in ("DIRECT_PHASES", "COMPILED_PHASES"):
            monkeypatch.setattr(f"molcalc.electrostatics.reciprocal.{name}", limit)
        inputs = tuple(
            tensor.clone().requires_grad_()
            for tensor in (charges, batch.positions, torch.zeros(3, 3, dtype=torch.float64))
        )
        energies = energies_of(plain(), batch, *inputs)
        results.append((energies.detach(), *torch.autograd.grad(energies.sum(), inputs)))
    for factored, direct in zip(*results):
        torch.testing.assert_close(factored, direct, rtol=1e-11, atol=1e-11)


def test_ewald_does_not_depend_on_the_number_of_threads():
    batch, charges = batch_of(random_atoms(60, cell=np.eye(3) * 10.0), pair_cutoff=1.0), random_charges(60)
    n_threads = torch.get_num_threads()
    results = []
    try:
        for n in (1, 3):
            torch.set_num_threads(n)
            positions = batch.positions.clone().requires_grad_()
            energy = energies_of(EwaldCoulomb(), batch, charges, positions).sum()
            results.append(torch.autograd.grad(energy, positions)[0])
    finally:
        torch.set_num_threads(n_threads)
    torch.testing.assert_close(*results, rtol=0, atol=1e-11)


@pytest.mark.parametrize("repeat", [(2, 1, 1), (2, 3, 2)], ids=str)
def test_supercell_is_extensive(repeat):
    atoms, charges = random_atoms(5, cell=TRICLINIC), random_charges(5)
    n_cells = int(np.prod(repeat))
    single = crystal_energy(atoms, charges, plain())
    repeated = crystal_energy(atoms.repeat(repeat), charges.repeat(n_cells), plain())
    assert repeated == pytest.approx(n_cells * single, rel=1e-11)


def test_energy_does_not_depend_on_the_choice_of_cell_vectors_or_wrapping():
    atoms, charges = random_atoms(6, cell=TRICLINIC), random_charges(6)
    skewed = atoms.copy()
    skewed.set_cell([[1, 0, 0], [2, 1, 0], [-1, 1, 1]] @ atoms.cell.array)
    left_handed = atoms.copy()
    left_handed.set_cell(atoms.cell.array[[1, 0, 2]])
    unwrapped = atoms.copy()
    unwrapped.positions += np.random.default_rng(3).integers(-20, 20, (6, 3)) @ atoms.cell.array
    energy = crystal_energy(atoms, charges, plain())
    for other in (skewed, left_handed, unwrapped):
        assert crystal_energy(other, charges, plain()) == pytest.approx(energy, rel=1e-11)


def test_ewald_is_invariant_under_rotation_reflection_and_permutation():
    assert_invariant(plain(), random_atoms(8, cell=TRICLINIC), random_charges(8), pair_cutoff=1.0)


@pytest.mark.filterwarnings("ignore::molcalc.electrostatics.charged_cells.ChargedCellWarning")
@pytest.mark.parametrize("short_range_cutoff", [4.6, None], ids=["rs=4.6", "no rs"])
def test_ewald_derivatives_equal_finite_differences(short_range_cutoff):
    batch = batch_of(random_atoms(3, cell=TRICLINIC), random_atoms(2, seed=1, cell=np.eye(3) * 3.5), pair_cutoff=1.0)
    term = EwaldCoulomb(TIGHT, short_range_cutoff, real_cutoff=6.0)
    assert_derivatives_exact(term, batch, random_charges(5, total=1.0), atol=1e-6)


def test_default_accuracy_holds_for_forces_and_stress():
    batch, charges = batch_of(random_atoms(10, cell=TRICLINIC), pair_cutoff=1.0), random_charges(10)
    gradients = []
    for term in (EwaldCoulomb(), EwaldCoulomb(1e-15)):
        leaves = batch.positions.clone().requires_grad_(), torch.zeros_like(IDENTITY).requires_grad_()
        energy = energies_of(term, batch, charges, *leaves).sum()
        gradients.append(torch.autograd.grad(energy, leaves))
    for default, tight in zip(*gradients):
        assert float((default - tight).abs().max()) < 1e-7 * float(tight.abs().max())


def test_stress_of_rocksalt_is_that_of_a_1_over_r_energy():
    """Tr(dE/dε) = −E for any arrangement of charges that is scaled as a whole."""
    batch = batch_of(NACL, pair_cutoff=1.0)
    strain = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    energy = energies_of(plain(), batch, NACL_CHARGES, strain=strain).sum()
    (by_strain,) = torch.autograd.grad(energy, strain)
    assert float(by_strain.trace()) == pytest.approx(-float(energy.detach()), rel=1e-11)
    torch.testing.assert_close(by_strain, by_strain.trace() / 3 * IDENTITY, rtol=0, atol=1e-10)


@pytest.mark.filterwarnings("ignore::molcalc.electrostatics.charged_cells.ChargedCellWarning")
def test_ewald_in_a_batch_equals_single_systems():
    structures = [random_atoms(n, seed=n, cell=np.array(TRICLINIC) * s) for n, s in ((4, 1.0), (1, 0.7), (9, 1.4))]
    charges = [random_charges(len(atoms), total=0.2) for atoms in structures]
    assert_batch_equals_single(plain(), structures, charges, pair_cutoff=1.0)


def test_a_position_that_is_no_number_spoils_only_its_own_system():
    structures = [random_atoms(n, seed=n, cell=TRICLINIC) for n in (4, 3)]
    assert_nan_stays_in_its_system(plain(), structures, [random_charges(n) for n in (4, 3)], pair_cutoff=1.0)


def test_short_range_part_is_the_difference_between_full_and_simple_for_a_molecule():
    """In a large cell, what the envelope takes out is what it takes out of the isolated molecule."""
    molecule, charges = random_atoms(6), random_charges(6)
    boxed = molecule.copy()
    boxed.set_cell(np.eye(3) * 25.0)
    boxed.pbc = True
    isolated = [total_energy(SimpleCoulomb(rs), batch_of(molecule), charges) for rs in (4.6, None)]
    periodic = [total_energy(EwaldCoulomb(TIGHT, rs), batch_of(boxed, pair_cutoff=1.0), charges) for rs in (4.6, None)]
    assert periodic[0] - periodic[1] == pytest.approx(isolated[0] - isolated[1], rel=1e-10)


def test_dsf_converges_to_ewald_with_growing_cutoff():
    expected = crystal_energy(NACL, NACL_CHARGES, plain())
    errors = []
    for cutoff in (8.0, 12.0, 16.0, 24.0):
        dsf = DSFCoulomb(cutoff, 0.2, short_range_cutoff=None)
        energy = total_energy(dsf, batch_of(NACL, pair_cutoff=cutoff), NACL_CHARGES) / COULOMB
        errors.append(abs(energy / expected - 1))
    assert all(later < 0.3 * earlier for earlier, later in zip(errors, errors[1:]))
    assert errors[-1] < 1e-7


def test_energies_of_atoms_sum_to_the_energy_and_are_equal_for_equivalent_atoms():
    energies = energies_of(plain(), batch_of(NACL, pair_cutoff=1.0), NACL_CHARGES)
    np.testing.assert_allclose(energies, -COULOMB * 1.747564594633 / 2.82 / 2, rtol=1e-10)


@pytest.mark.parametrize("pbc", ["TTF", "FFT", "FFF"])
def test_other_periodicities_are_refused(pbc):
    atoms = NACL.copy()
    atoms.pbc = [flag == "T" for flag in pbc]
    with pytest.raises(CellError, match=f"Ewald needs pbc=TTT, got pbc={pbc}"):
        crystal_energy(atoms, NACL_CHARGES, plain())


def test_charged_cell_without_background_is_an_error():
    with pytest.raises(ChargeError, match="charge 0.5 e.*background=True"):
        crystal_energy(NACL, NACL_CHARGES + 0.5 / 8, plain(background=False))


def test_rounding_of_predicted_charges_is_no_charge():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        crystal_energy(NACL, NACL_CHARGES + 1e-6, plain(background=False))


def test_zero_volume_cell_is_an_error():
    batch = batch_of(random_atoms(2, cell=np.eye(3) * 4), pair_cutoff=1.0)
    batch.cell[0, 2] = batch.cell[0, 1]
    with pytest.raises(CellError, match="cell volume.*three independent"):
        energies_of(plain(), batch, random_charges(2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"accuracy": 0.0}, "accuracy=0.0 must be between 0 and 1"),
        ({"accuracy": float("nan")}, "accuracy=nan"),
        ({"alpha": -1.0}, "alpha=-1.0 must be a positive"),
        ({"real_cutoff": 0.0}, "real_cutoff=0.0 must be a positive"),
        ({"reciprocal_cutoff": float("inf")}, "reciprocal_cutoff=inf must be a positive"),
    ],
)
def test_impossible_ewald_options_are_errors_with_name_and_value(options, message):
    with pytest.raises(ConfigError, match=message):
        EwaldCoulomb(**options)


def test_an_ewald_sum_of_another_law_than_coulombs_is_an_error(path):
    batch = batch_of(random_atoms(3, cell=np.eye(3) * 6), pair_cutoff=1.0)
    with pytest.raises(ConfigError, match="is for Coulomb's law beyond a short range, not for SoftenedCoulomb"):
        EwaldSum().energies(batch, random_charges(3), SoftenedCoulomb(5.0))
