"""Harmonic vibrations, infrared intensities, and the potential of the charges."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.constraints import FixAtoms, FixCartesian
from ase.optimize import BFGS
from ase.vibrations.data import VibrationsData

from molcalc.analysis.spectra import spectrum_of
from molcalc.calculators import D3, AIMNet2
from molcalc.calculators.base import MolCalculator
from molcalc.calculators.normal_modes import NormalModes
from molcalc.calculators.vibrations import InfraredVibrations
from molcalc.errors import InputError
from molcalc.io.checkpoint import Checkpoint
from tests.helpers.calculators import tiny_calculator
from tests.helpers.networks import tiny_checkpoint


def test_water_has_its_three_bands(member64: AIMNet2) -> None:
    atoms = molecule("H2O")
    atoms.calc = member64
    BFGS(atoms, logfile=None).run(fmax=1e-7)
    vibrations = member64.get_vibrations(atoms)
    frequencies = vibrations.get_frequencies()
    assert np.abs(frequencies[:6]).max() < 1.0
    assert frequencies[6:].real == pytest.approx([1600, 3830, 3940], rel=0.03)
    assert vibrations.ir_intensities.shape == (9,)
    assert (vibrations.ir_intensities[6:] > 1.0).all()


def test_intensity_is_the_squared_slope_of_the_dipole(member64: AIMNet2) -> None:
    atoms = molecule("H2O")
    vibrations = member64.get_vibrations(atoms)
    mode = vibrations.get_modes(all_atoms=True)[-1]
    dipoles = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions += sign * 1e-4 * mode
        dipoles.append(member64.get_dipole_moment(moved))
    slope = (dipoles[0] - dipoles[1]) / 2e-4 / units.Debye
    assert vibrations.ir_intensities[-1] == pytest.approx(42.2561 * slope @ slope, rel=1e-4)


def test_vibrations_know_the_charge_that_they_belong_to(tmp_path: Path) -> None:
    calculator = tiny_calculator(tiny_checkpoint(), charge=-1)
    vibrations = calculator.get_vibrations(molecule("OH"))
    vibrations.write(tmp_path / "ion.json")
    for found in (vibrations, InfraredVibrations.read(tmp_path / "ion.json")):
        modes = NormalModes.of(found)
        assert modes.formula == "HO (-1)"
        assert modes.movie(1)[0].info["charge"] == -1
        assert spectrum_of(replace(modes, wavenumbers=np.abs(modes.wavenumbers))).title == "HO (-1), harmonic"


def test_model_without_charges_has_no_intensities() -> None:
    vibrations = D3("pbe0").get_vibrations(molecule("C2H6"))
    assert vibrations.get_frequencies().shape == (24,)
    with pytest.raises(AttributeError, match="no charges"):
        _ = vibrations.ir_intensities
    with pytest.raises(PropertyNotImplementedError, match="charges"):
        D3("pbe0").get_esp(np.ones((1, 3)), molecule("H2O"))


def test_potential_is_that_of_the_charges(member64: AIMNet2) -> None:
    atoms = molecule("H2O")
    points = np.array([[0.0, 0.0, 3.0], [2.0, -1.0, 0.5]])
    distances = np.linalg.norm(points[:, None] - atoms.positions[None], axis=2)
    expected = (14.399645 * member64.get_charges(atoms) / distances).sum(axis=1)
    assert member64.get_esp(points, atoms) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.zeros(3), r"shape \(3,\)"),
        (np.zeros((0, 3)), "n_points ≥ 1"),
        (molecule("H2O").positions, "on a charge"),
        (np.full((2, 3), 3 + 1j), "no real numbers, but complex128"),
        (np.ones((2, 3), dtype=bool), "no real numbers, but bool"),
        (np.full((2, 3), "3.0"), "no real numbers, but <U3"),
    ],
    ids=["one point", "no points", "on an atom", "complex", "truth values", "texts"],
)
def test_wrong_points_are_refused(member64: AIMNet2, points: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        member64.get_esp(points, molecule("H2O"))


@pytest.fixture(scope="module")
def methanol(open_shell: Checkpoint) -> tuple[MolCalculator, Atoms]:
    """A small network and a molecule that it is not at rest with: conventions do not ask for that."""
    return tiny_calculator(open_shell), molecule("CH3OH")


def test_isotopes_have_their_own_frequencies_and_intensities(methanol: tuple[MolCalculator, Atoms]) -> None:
    calc, atoms = methanol
    heavy = atoms.copy()
    masses = atoms.get_masses()
    masses[2:] *= 2
    heavy.set_masses(masses)
    changed, expected = calc.get_vibrations(atoms).with_new_masses(masses), calc.get_vibrations(heavy)
    assert np.allclose(changed.get_frequencies(), expected.get_frequencies())
    assert np.allclose(changed.ir_intensities, expected.ir_intensities)
    assert not np.allclose(changed.ir_intensities, calc.get_vibrations(atoms).ir_intensities)


@pytest.mark.parametrize("constraint", [FixAtoms([0, 3]), FixCartesian([0, 3])], ids=["atoms", "cartesian"])
def test_fixed_atoms_do_not_vibrate(methanol: tuple[MolCalculator, Atoms], constraint: Any) -> None:
    calc, atoms = methanol
    free = [1, 2, 4, 5]
    fixed = atoms.copy()
    fixed.set_constraint(constraint)
    found = calc.get_vibrations(fixed)
    assert found.get_indices().tolist() == free
    whole = calc.get_vibrations(atoms)
    assert np.array_equal(found.get_hessian(), whole.get_hessian()[free][:, :, free])
    masses = atoms.get_masses()
    masses[[0, 3]] = 1e12  # atoms that cannot move are as good as fixed ones
    heavy = whole.with_new_masses(masses)
    moving = np.sort(np.argsort(abs(heavy.get_frequencies()))[6:])
    assert found.ir_intensities == pytest.approx(heavy.ir_intensities[moving], rel=1e-3, abs=1e-4)
    assert np.array_equal(calc.get_vibrations(atoms, indices=free).ir_intensities, found.ir_intensities)


@pytest.mark.parametrize("indices", [[], [0, 0], [6], [-7], [0.5], "ab"], ids=str)
def test_wrong_indices_are_named(methanol: tuple[MolCalculator, Atoms], indices: Any) -> None:
    calc, atoms = methanol
    with pytest.raises(InputError, match="indices"):
        calc.get_vibrations(atoms, indices=indices)


def test_files_keep_intensities_and_ase_reads_them_too(methanol: tuple[MolCalculator, Atoms], tmp_path: Path) -> None:
    calc, atoms = methanol
    atoms = atoms.copy()
    atoms.set_constraint(FixAtoms([1]))
    written = calc.get_vibrations(atoms)
    written.write(tmp_path / "v.json")
    again = InfraredVibrations.read(tmp_path / "v.json")
    assert np.allclose(again.ir_intensities, written.ir_intensities, rtol=1e-9)
    assert again.get_indices().tolist() == [0, 2, 3, 4, 5]
    assert np.allclose(VibrationsData.read(tmp_path / "v.json").get_frequencies(), written.get_frequencies())
    VibrationsData(molecule("H2O"), np.eye(9).reshape(3, 3, 3, 3)).write(tmp_path / "plain.json")
    with pytest.raises(AttributeError, match="no dipole"):
        _ = InfraredVibrations.read(tmp_path / "plain.json").ir_intensities
    (tmp_path / "other.json").write_text("[1]")
    with pytest.raises(ValueError, match="does not hold vibrations"):
        InfraredVibrations.read(tmp_path / "other.json")


def test_flat_hessians_make_the_same_vibrations(methanol: tuple[MolCalculator, Atoms]) -> None:
    """As optimizers of transition states take them."""
    calc, atoms = methanol
    flat = calc.get_hessian_2d(atoms)
    found = InfraredVibrations.from_2d(atoms, flat)
    assert isinstance(found, InfraredVibrations)
    assert np.array_equal(found.get_hessian(), calc.get_hessian(atoms))
    with pytest.raises(ValueError, match=r"\(3, 6, 3\)"):
        InfraredVibrations.from_2d(atoms, flat, dipole_derivatives=np.zeros((3, 5, 3)))


def test_a_periodic_network_without_end_has_vibrations_but_no_intensities(closed_shell: Checkpoint) -> None:
    calc = tiny_calculator(closed_shell, coulomb="dsf", dispersion=None)
    chain = Atoms("CC", [[0, 0, 0], [1.3, 0, 0]], cell=[2.6, 9, 9], pbc=True)
    found = calc.get_vibrations(chain)
    assert found.get_frequencies().shape == (6,)
    with pytest.raises(AttributeError, match="network without end"):
        _ = found.ir_intensities
    molecule_in_box = molecule("H2O", cell=[9, 9, 9], pbc=True)
    assert calc.get_vibrations(molecule_in_box).ir_intensities.max() > 0
