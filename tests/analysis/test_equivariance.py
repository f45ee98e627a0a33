"""Whether results follow structures that move."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.emt import EMT

from molcalc.analysis.equivariance import EquivarianceErrors, equivariance_errors
from molcalc.analysis.motions import MOTIONS, Motion
from molcalc.calculators import AIMNet2, NonEquivariantDCM, PhysNetDCM
from molcalc.electrostatics.thole import TholeCoulomb
from molcalc.errors import ConfigError, InputError
from molcalc.prediction.options import PredictorOptions
from molcalc.predictor import Predictor
from tests.helpers.networks import dcm_potential, tiny_checkpoint, tiny_dcm
from tests.helpers.structures import crystal, organic


@pytest.fixture(scope="module")
def plain() -> NonEquivariantDCM:
    """Model whose distributed charges do not turn."""
    return NonEquivariantDCM(tiny_dcm("noneq-dcm"))


def test_an_equivariant_model_follows_every_motion() -> None:
    found = equivariance_errors([organic(), molecule("CO2")], PhysNetDCM(tiny_dcm("physnet-dcm")), motions=2)
    assert found.kept
    assert (found.n_structures, found.dtype) == (2, "float32")
    assert all(error.declared and error.n == 4 for error in found.errors)
    assert found.of("rotation", "dipole").largest < 1e-5
    names = {"energy", "forces", "charges", "dipole", "dcm_dipole", "dcm_positions", "esp"}
    for motion in MOTIONS:
        assert names <= {error.name for error in found.errors if error.motion == motion}


def test_motion_is_told_and_not_the_rounding_of_batches_of_other_sizes() -> None:
    calculator = AIMNet2("wb97m-d3", member=0)
    found = equivariance_errors(molecule("C6H6"), calculator, motions=3, kinds=("translation",))
    assert found.dtype == "float32"
    assert found.of("translation", "energy").largest < 1e-9
    assert found.of("translation", "forces").largest < 1e-9


def test_the_sibling_does_not_turn_and_says_so(plain: NonEquivariantDCM) -> None:
    found = equivariance_errors(organic(), plain, motions=3)
    assert found.kept
    for name in ("dcm_dipole", "dcm_positions", "esp"):
        assert not found.of("rotation", name).declared
        assert found.of("rotation", name).largest > 1e-3
        assert found.of("translation", name).declared
        assert found.of("translation", name).largest < 1e-5
    assert found.of("rotation", "dipole").largest < 1e-5  # of the atomic charges


def test_a_model_that_declares_more_than_it_does_is_found_out(plain: NonEquivariantDCM) -> None:
    predictor = plain.predictor
    declared, predictor.potential.fixed_in_space = predictor.potential.fixed_in_space, ()
    try:
        found = equivariance_errors(organic(), plain, motions=2, kinds=("rotation", "translation"))
    finally:
        predictor.potential.fixed_in_space = declared
    assert not found.kept
    assert {(error.motion, error.name) for error in found.broken} == {("rotation", name) for name in declared}


def test_energies_that_contain_charges_which_do_not_turn_are_not_expected_to() -> None:
    predictor = Predictor(
        dcm_potential(tiny_dcm("noneq-dcm"), terms=(TholeCoulomb(),)),
        PredictorOptions(dtype="float64"),
        model="with Thole",
    )
    calc = NonEquivariantDCM(tiny_dcm("noneq-dcm"))
    calc.predictor = predictor
    found = equivariance_errors(organic(), calc, motions=2, kinds=("rotation",))
    assert found.of("rotation", "energy").largest > 1e-4
    assert not found.of("rotation", "energy").declared
    assert found.kept


def test_statistics_are_over_structures_and_motions_and_the_largest_over_atoms(plain: NonEquivariantDCM) -> None:
    atoms = organic()
    turns = [Motion.rotation(angle, (1, 1, 0)) for angle in (30.0, 110.0)]
    found = equivariance_errors(atoms, plain, motions=3, named=turns, kinds=("rotation", "translation"))
    assert {(error.motion, error.n) for error in found.errors} == {("rotation", 2), ("translation", 3)}
    charges, before = "dcm_positions", plain.predictor.evaluate([atoms], ("dcm_positions",))[0]
    lengths = []
    for turn in turns:
        after = plain.predictor.evaluate([turn.of_atoms(atoms)], (charges,))[0]
        lengths.append(np.linalg.norm(after[charges] - turn.of_points(before[charges], atoms), axis=-1))
    error = found.of("rotation", charges)
    assert error.mean == pytest.approx(np.mean(lengths), rel=1e-6)
    assert error.deviation == pytest.approx(np.std([length.mean() for length in lengths]), rel=1e-5)
    assert error.largest == pytest.approx(np.max(lengths), rel=1e-6)


def test_stress_of_a_crystal_turns_and_its_dipole_is_left_out() -> None:
    checkpoint = tiny_checkpoint()
    found = equivariance_errors(crystal(), AIMNet2(checkpoint, coulomb=None, dispersion=None), motions=2)
    assert found.kept
    names = {error.name for error in found.errors}
    assert "stress" in names
    assert not names & {"dipole", "esp"}


def test_what_cannot_be_measured_is_refused(plain: NonEquivariantDCM) -> None:
    with pytest.raises(InputError, match="no structures"):
        equivariance_errors([], plain)
    with pytest.raises(ConfigError, match="motions=0"):
        equivariance_errors(molecule("CO2"), plain, motions=0)
    with pytest.raises(ConfigError, match="at most 1,000,000 are compared"):
        equivariance_errors([molecule("CO2")] * 2, plain, motions=10**9)
    with pytest.raises(InputError, match="EMT"):
        equivariance_errors(molecule("CO2"), EMT())
    with pytest.raises(ConfigError, match="no error of 'energi'"):
        EquivarianceErrors("", "float32", 1, ()).of("rotation", "energi")
    with pytest.raises(InputError, match="structure 1.*He"):
        equivariance_errors([molecule("CO2"), Atoms("He")], plain)
