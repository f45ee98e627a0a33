"""Calculators of PhysNet with distributed charges: what they promise and what they refuse."""

from __future__ import annotations

import copy
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_stress

from molcalc.calculators import AIMNet2, NonEquivariantDCM, PhysNetDCM
from molcalc.errors import (
    CellError,
    CheckpointMismatchError,
    ConfigError,
    FidelityError,
    InputError,
    NonEquivariantWarning,
    UnsupportedElementError,
)
from molcalc.io.checkpoint import save
from molcalc.registry import calculator_class
from molcalc.testing import check_calculator
from molcalc.units import ATOMIC_MASSES, COULOMB
from tests.helpers.calculators import tiny_calculator
from tests.helpers.networks import DCM_KINDS, tiny_checkpoint, tiny_dcm
from tests.helpers.structures import crystal, organic, random_rotation

kinds = pytest.mark.parametrize("kind", DCM_KINDS)
POINTS = np.array([[9.0, 0.0, 0.0], [0.0, -8.0, 1.0], [3.0, 3.0, 7.0]])


@pytest.fixture(autouse=True)
def _expected_warning() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NonEquivariantWarning)
        yield


@pytest.mark.parametrize(
    ("kind", "dtype", "coulomb"),
    [("physnet-dcm", "float32", "shifted"), ("noneq-dcm", "float64", "auto")],
    ids=["equivariant, crystals, f32", "plain, molecules, f64"],
)
def test_calculator_passes_the_common_checks(kind: str, dtype: str, coulomb: str) -> None:
    checkpoint = tiny_dcm(kind)
    report = check_calculator(lambda: tiny_calculator(checkpoint, dtype, coulomb=coulomb), quiet=True, memory_steps=50)
    assert report.ok, report
    if coulomb == "shifted":
        assert not report.skipped


@kinds
def test_results_and_extras_are_complete(kind: str) -> None:
    atoms = organic()
    atoms.calc = calc = tiny_calculator(tiny_dcm(kind))
    atoms.get_forces()
    assert set(calc.results) == {"energy", "free_energy", "energies", "forces", "charges", "dipole"}
    assert set(calc.extras) == {"dcm_charges", "dcm_positions", "dcm_dipole", "charge_dipole"}
    assert calc.extras["dcm_positions"].shape == (len(atoms), 3, 3)
    assert calc.extras["dcm_charges"].sum(axis=1) == pytest.approx(calc.results["charges"], abs=1e-12)
    source = "dcm_dipole" if kind == "physnet-dcm" else "charge_dipole"
    assert (calc.results["dipole"] == calc.extras[source]).all()
    assert np.abs(calc.extras["dcm_dipole"] - calc.extras["charge_dipole"]).max() > 0.01
    assert calc.todict()["equivariant"] is calc.parameters["equivariant"] is (kind == "physnet-dcm")


@kinds
def test_dipole_potential_and_field_are_those_of_the_distributed_charges(kind: str) -> None:
    atoms = organic()
    calc = tiny_calculator(tiny_dcm(kind))
    sites, charges = calc.get_distributed_charges(atoms)
    assert sites.shape == (3 * len(atoms), 3)
    assert charges.sum() == pytest.approx(0.0, abs=1e-12)
    masses = ATOMIC_MASSES[atoms.numbers]
    center = masses @ atoms.positions / masses.sum()
    assert calc.extras["dcm_dipole"] == pytest.approx(charges @ (sites - center), abs=1e-12)
    arms = POINTS[:, None] - sites
    distances = np.linalg.norm(arms, axis=2)
    assert calc.get_esp(POINTS, atoms) == pytest.approx(COULOMB * (charges / distances).sum(axis=1), rel=1e-12)
    field = COULOMB * np.einsum("s,ps,psx->px", charges, distances**-3, arms)
    assert calc.get_electric_field(POINTS, atoms) == pytest.approx(field, rel=1e-10)
    atomic = calc.results["charges"] / np.linalg.norm(POINTS[:, None] - atoms.positions, axis=2)
    assert calc.get_esp(POINTS, atoms, source="charges") == pytest.approx(COULOMB * atomic.sum(axis=1), rel=1e-12)
    with pytest.raises(ConfigError, match="source='charge'.*did you mean 'charges'"):
        calc.get_esp(POINTS, atoms, source="charge")


@kinds
def test_sites_follow_the_structure_and_its_charge(kind: str) -> None:
    atoms = molecule("H2O")
    calc = tiny_calculator(tiny_dcm(kind))
    first = calc.get_distributed_charges(atoms)
    atoms.info["charge"] = 2
    assert calc.get_distributed_charges(atoms)[1].sum() == pytest.approx(2.0, abs=1e-10)
    del atoms.info["charge"]
    atoms.positions += 1.0
    again = calc.get_distributed_charges(atoms)
    assert again[0] == pytest.approx(first[0] + 1.0, abs=1e-12)
    assert again[1] == pytest.approx(first[1], abs=1e-12)


def test_potential_with_quadrupoles_turns_with_the_molecule() -> None:
    calc, matrix = tiny_calculator(tiny_dcm(quadrupoles=True)), random_rotation(2)
    atoms = organic()
    expected, field = calc.get_esp(POINTS, atoms), calc.get_electric_field(POINTS, atoms)
    sites, charges = calc.get_distributed_charges(atoms)
    bare = COULOMB * (charges / np.linalg.norm(POINTS[:, None] - sites, axis=2)).sum(axis=1)
    assert np.abs(expected - bare).max() > 1e-4
    atoms.positions = atoms.positions @ matrix.T
    assert calc.get_esp(POINTS @ matrix.T, atoms) == pytest.approx(expected, abs=1e-10)
    assert calc.get_electric_field(POINTS @ matrix.T, atoms) == pytest.approx(field @ matrix.T, abs=1e-10)


def test_plain_head_warns_once_when_its_charges_are_asked_for() -> None:
    calc, atoms = tiny_calculator(tiny_dcm("noneq-dcm")), molecule("H2O")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        atoms.calc = calc
        atoms.get_forces()
        calc.get_esp(POINTS, source="charges")
        assert not caught
        calc.get_distributed_charges()
        calc.get_esp(POINTS)
    assert [warning.category for warning in caught] == [NonEquivariantWarning]
    assert "when the molecule turns" in str(caught[0].message)


@kinds
def test_copies_and_pickles_give_the_same_results(kind: str) -> None:
    atoms = organic()
    calc = tiny_calculator(tiny_dcm(kind))
    expected = calc.get_esp(POINTS, atoms)
    for other in (copy.deepcopy(calc), pickle.loads(pickle.dumps(calc))):  # noqa: S301
        assert (other.get_esp(POINTS, organic()) == expected).all()


@kinds
def test_model_directory_is_loaded(kind: str, tmp_path: Path) -> None:
    checkpoint = tiny_dcm(kind)
    save(tmp_path / "model", checkpoint)
    calc = calculator_class(kind)(tmp_path / "model", dtype="float64")
    expected = tiny_calculator(checkpoint).get_potential_energy(organic())
    assert calc.get_potential_energy(organic()) == expected
    assert calc.todict()["model"] == "model"


@pytest.mark.parametrize(
    ("wrong", "kind", "cure"),
    [
        (PhysNetDCM, "noneq-dcm", "NonEquivariantDCM"),
        (NonEquivariantDCM, "physnet-dcm", "PhysNetDCM"),
        (AIMNet2, "physnet-dcm", "PhysNetDCM"),
        (PhysNetDCM, "aimnet2", "AIMNet2"),
    ],
)
def test_model_of_another_kind_is_refused_with_the_cure(wrong: Any, kind: str, cure: str, tmp_path: Path) -> None:
    save(tmp_path / "run", tiny_checkpoint() if kind == "aimnet2" else tiny_dcm(kind))
    with pytest.raises(CheckpointMismatchError, match=rf"'run' holds a '{kind}' model.*load it with {cure}\('run'\)"):
        wrong(tmp_path / "run")


def test_options_that_do_not_fit_are_refused() -> None:
    checkpoint = tiny_dcm()
    assert tiny_calculator(checkpoint, fidelity="pbe0").fidelity == "pbe0"
    with pytest.raises(FidelityError, match="fidelity='gfn2': 'pbe0' has 'pbe0'"):
        tiny_calculator(checkpoint, fidelity="gfn2")
    with pytest.raises(ConfigError, match=r"member=1.*members 0…0"):
        tiny_calculator(checkpoint, member=1)
    with pytest.raises(ConfigError, match="trained with 'physnet', which allows auto, shifted"):
        tiny_calculator(checkpoint, coulomb="ewald")
    with pytest.raises(CheckpointMismatchError, match="unknown repulsion 'born'"):
        tiny_calculator(tiny_dcm(repulsion="born"))


def test_bad_structures_and_points_are_refused() -> None:
    calc = tiny_calculator(tiny_dcm())
    with pytest.raises(UnsupportedElementError, match=r"He \(Z=2\).*supported: H, C, N, O"):
        calc.get_potential_energy(Atoms("He"))
    with pytest.raises(CellError, match='not defined for periodic.*coulomb="shifted"'):
        calc.get_potential_energy(crystal())
    sites, _ = calc.get_distributed_charges(molecule("H2O"))
    with pytest.raises(InputError, match="point 1 .* is on a charge"):
        calc.get_esp(np.array([POINTS[0], sites[4]]), molecule("H2O"))
    for ask in (calc.get_esp, calc.get_electric_field):  # charges around a nucleus have a potential there, it has none
        with pytest.raises(InputError, match="point 1 .* is on a charge or a nucleus"):
            ask(np.array([POINTS[0], molecule("H2O").positions[2] + 1e-6]), molecule("H2O"))
    with pytest.raises(InputError, match=r"shape \(3,\)"):
        calc.get_electric_field(POINTS[0], molecule("H2O"))


def test_repulsion_is_part_of_the_energy() -> None:
    close = molecule("H2O")
    close.positions[1] = close.positions[0] + 0.45 * (close.positions[1] - close.positions[0])
    with_zbl, without = (
        tiny_calculator(tiny_dcm(repulsion=name)).get_potential_energy(close) for name in ("zbl", None)
    )
    assert with_zbl > without + 1.0


@kinds
def test_stress_is_the_derivative_by_strain(kind: str) -> None:
    atoms = crystal()
    atoms.calc = tiny_calculator(tiny_dcm(kind), coulomb="shifted")
    numeric = calculate_numerical_stress(atoms, eps=1e-4)
    assert np.abs(numeric).max() > 1e-4
    assert atoms.get_stress() == pytest.approx(numeric, abs=1e-8)
    with pytest.raises(PropertyNotImplementedError, match="3 periodic"):
        atoms.calc.get_property("stress", molecule("H2O"))


def test_energy_of_distributed_charges_is_part_of_forces_and_hessian() -> None:
    checkpoint, atoms = tiny_dcm(coulomb="distributed"), molecule("H2O")
    calc = tiny_calculator(checkpoint)
    without = tiny_calculator(tiny_dcm(coulomb=None))
    assert abs(calc.get_potential_energy(atoms) - without.get_potential_energy(atoms)) > 1e-2
    matrix = calc.get_hessian(atoms)
    step, forces = 1e-4, []
    for sign in (1, -1):
        image = atoms.copy()
        image.positions[1, 2] += sign * step
        forces.append(calc.get_forces(image))
    assert matrix[1, 2] == pytest.approx(-(forces[0] - forces[1]) / (2 * step), abs=1e-5)
    with pytest.raises(CellError, match="periodic"):
        calc.get_potential_energy(crystal())


@kinds
def test_vibrations_use_the_dipole_of_the_results(kind: str) -> None:
    atoms = molecule("CO2")
    intensities = tiny_calculator(tiny_dcm(kind)).get_vibrations(atoms).ir_intensities
    assert intensities.shape == (9,)
    assert np.isfinite(intensities).all()


def test_many_structures_at_once_equal_single_ones() -> None:
    calc = tiny_calculator(tiny_dcm(n_members=2))
    images = [organic(), molecule("H2O"), Atoms("O"), molecule("CO2")]
    together = calc.evaluate(images, ("energy", "forces", "charges", "dipole"))
    for atoms, found in zip(images, together):
        assert found["energy"] == pytest.approx(calc.get_potential_energy(atoms), abs=1e-9)
        assert found["dipole"] == pytest.approx(calc.get_dipole_moment(atoms), abs=1e-10)
