"""Settings, velocities, degrees of freedom and thermostats of molecular dynamics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.constraints import FixAtoms

from molcalc.errors import ConfigError
from molcalc.simulate import ENSEMBLES
from molcalc.simulate.ensembles import (
    DynamicsSettings,
    degrees_of_freedom,
    generator,
    set_velocities,
    temperature,
)

SAMPLES = 400
FOUR_SIGMA = 4.0


def settings(**changes: Any) -> DynamicsSettings:
    return DynamicsSettings(**{"seed": 1, **changes})


@pytest.mark.parametrize(
    ("atoms", "expected"),
    [
        (Atoms("H"), 0),
        (molecule("N2"), 1),
        (molecule("CO2"), 4),
        (molecule("H2O"), 3),
        (molecule("CH4"), 9),
        (Atoms("H2", [[0, 0, 0], [0, 0, 2]], cell=[4, 4, 4], pbc=True), 3),
    ],
    ids=["atom", "N2", "CO2", "H2O", "CH4", "crystal"],
)
def test_only_motion_that_is_not_conserved_has_a_temperature(atoms: Atoms, expected: int) -> None:
    for ensemble in ("nve", "bussi"):
        assert degrees_of_freedom(atoms, settings(ensemble=ensemble)) == expected
    assert degrees_of_freedom(atoms, settings()) == 3 * len(atoms)


def test_fixed_atoms_have_no_temperature() -> None:
    atoms = molecule("CH4")
    atoms.set_constraint(FixAtoms([0, 1]))
    assert degrees_of_freedom(atoms, settings(ensemble="nve")) == 9
    set_velocities(atoms, settings())
    assert not atoms.get_velocities()[:2].any()
    assert atoms.get_velocities()[2:].all()


@pytest.mark.parametrize("name", ["H2O", "CO2", "N2", "CH3OH"])
def test_velocities_have_the_temperature_and_no_motion_of_the_whole(name: str) -> None:
    atoms = molecule(name)
    atoms.rotate(37, (1, 2, 3))
    atoms.translate((3, -8, 5))
    n_freedom = degrees_of_freedom(atoms, settings(ensemble="nve"))
    kelvins = []
    for seed in range(SAMPLES):
        set_velocities(atoms, settings(seed=seed, temperature=250.0))
        kelvins.append(temperature(atoms, n_freedom))
        assert atoms.get_momenta().sum(axis=0) == pytest.approx(0.0, abs=1e-12)
        assert atoms.get_angular_momentum() == pytest.approx(0.0, abs=1e-10)
    error = 250.0 * np.sqrt(2.0 / n_freedom / SAMPLES)
    assert np.mean(kelvins) == pytest.approx(250.0, abs=FOUR_SIGMA * error)


def test_velocities_in_a_crystal_keep_their_rotation() -> None:
    atoms = molecule("CH4")
    atoms.set_cell([8, 8, 8])
    atoms.pbc = True
    set_velocities(atoms, settings())
    assert atoms.get_momenta().sum(axis=0) == pytest.approx(0.0, abs=1e-12)
    assert np.linalg.norm(atoms.get_angular_momentum()) > 0.01


def test_noise_of_a_step_does_not_depend_on_the_steps_before() -> None:
    first = generator(settings(), 5).standard_normal(4)
    assert generator(settings(), 5).standard_normal(4) == pytest.approx(first, abs=0.0)
    others = [generator(settings(), 6), generator(settings(seed=2), 5)]
    assert all(abs(other.standard_normal(4) - first).min() > 1e-6 for other in others)


def test_noise_of_successive_steps_is_normal_and_uncorrelated() -> None:
    noise = np.array([generator(settings(), step).standard_normal(6) for step in range(4000)])
    limit = FOUR_SIGMA / np.sqrt(noise.size)
    assert noise.mean() == pytest.approx(0.0, abs=limit)
    assert noise.var() == pytest.approx(1.0, abs=np.sqrt(2) * limit)
    assert (noise[1:] * noise[:-1]).mean() == pytest.approx(0.0, abs=limit)
    assert np.unique(noise).size == noise.size


def test_temperature_is_in_kelvin() -> None:
    atoms = Atoms("H2", [[0, 0, 0], [0, 0, 0.8]])
    atoms.set_momenta([[0, 0, 1], [0, 0, -1]])
    assert temperature(atoms, 1) == pytest.approx(2 * atoms.get_kinetic_energy() / units.kB)
    assert temperature(atoms, 0) == 0.0


@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_a_trajectory_says_its_settings_in_words_that_make_them_again(ensemble: str) -> None:
    chosen = settings(ensemble=ensemble, temperature=77.0, timestep=0.1, friction=0.3, interval=2)
    words = chosen.description()
    assert list(words) == ["ensemble", "thermostat", "temperature", "timestep", "friction", "seed", "interval"]
    assert words["ensemble"] == ("nve" if ensemble == "nve" else "nvt")
    assert DynamicsSettings.from_description(words) == chosen


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"ensemble": "busi"},
            r"ensemble='busi' \(did you mean 'bussi'\?\); choose one of nve, langevin, bussi, nose-hoover",
        ),
        ({"ensemble": "bussi", "temperature": 0.0}, "the bussi thermostat scales velocities and needs a temperature"),
        ({"temperature": -1.0}, "temperature=-1.0 is not a number ≥ 0, in K"),
        ({"temperature": [300]}, r"temperature=\[300\] is not a number ≥ 0, in K"),
        ({"interval": 2.5}, "interval=2.5 is not a whole number ≥ 1"),
        ({"timestep": 0.0}, "timestep=0.0 must be a positive, finite number"),
        ({"timestep": 1e300}, r"timestep=1e\+300 fs is out of any sense \(0.0001 to 100 fs\)"),
        ({"timestep": 1e-9}, "timestep=1e-09 fs is out of any sense"),
        ({"temperature": 1e9}, r"temperature=1e\+09 K is out of any sense; at most 100000 K"),
        ({"friction": 1e4}, "friction=10000 1/fs stops all motion within a timestep"),
        ({"friction": float("inf")}, "friction=inf must be a positive, finite number"),
        ({"interval": 0}, "interval=0 is not a whole number ≥ 1"),
    ],
    ids=lambda value: ",".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_impossible_settings_are_refused_with_the_value(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        settings(**changes)
