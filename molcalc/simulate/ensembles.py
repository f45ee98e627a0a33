"""Ensembles of molecular dynamics: their settings, initial velocities and random numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from ase import Atoms, units

from molcalc.errors import ConfigError, checked_positive, checked_whole, is_number, short, suggest
from molcalc.simulate import ENSEMBLES
from molcalc.simulate.constraints import removed_freedom

TIMESTEPS = (1e-4, 100.0)
"""fs; outside, rounding or the fastest vibration makes every step meaningless, whatever the masses."""
MAX_TEMPERATURE = 1e5
"""K; no potential of atoms in their ground state means anything above."""


@dataclass(frozen=True, kw_only=True)
class DynamicsSettings:
    """Settings that decide a trajectory, beside model and start. They are written into the trajectory.

    Attributes
    ----------
    ensemble : one of :data:`molcalc.simulate.ENSEMBLES`.
    temperature : K; in an NVE run that of the initial velocities.
    timestep : fs.
    friction : 1/fs; the relaxation time of bussi and nose-hoover is its inverse. NVE has none.
    seed : of initial velocities and noise.
    interval : steps between two frames.
    system : number among the systems of a run, each of which has random numbers of its own.

    Raises
    ------
    ConfigError
        When a value is out of range.
    """

    ensemble: str = "langevin"
    temperature: float = 300.0
    timestep: float = 0.5
    friction: float = 0.01
    seed: int
    interval: int = 10
    system: int = 0

    def __post_init__(self) -> None:
        if self.ensemble not in ENSEMBLES:
            near = suggest(self.ensemble, ENSEMBLES)
            raise ConfigError(f"ensemble={self.ensemble!r}{near}; choose one of {', '.join(ENSEMBLES)}")
        for name in ("timestep", "friction"):
            checked_positive(name, getattr(self, name))
        if not TIMESTEPS[0] <= self.timestep <= TIMESTEPS[1]:
            raise ConfigError(
                f"timestep={self.timestep:g} fs is out of any sense ({TIMESTEPS[0]:g} to {TIMESTEPS[1]:g} fs); 0.5 fs "
                "is right for molecules with hydrogen"
            )
        if not is_number(self.temperature) or not 0.0 <= self.temperature < math.inf:
            raise ConfigError(f"temperature={short(self.temperature)} is not a number ≥ 0, in K")
        if self.temperature > MAX_TEMPERATURE:
            raise ConfigError(f"temperature={self.temperature:g} K is out of any sense; at most {MAX_TEMPERATURE:g} K")
        if self.thermostat is not None and self.friction * self.timestep > 1.0:
            raise ConfigError(
                f"friction={self.friction:g} 1/fs stops all motion within a timestep of {self.timestep:g} fs; "
                "0.01 is usual"
            )
        if self.ensemble in ("bussi", "nose-hoover") and self.temperature == 0.0:
            raise ConfigError(
                f"the {self.ensemble} thermostat scales velocities and needs a temperature > 0 (--temperature)"
            )
        checked_whole("seed", self.seed)
        checked_whole("interval", self.interval, 1)

    @property
    def thermostat(self) -> str | None:
        """Name of what keeps the temperature constant; None for constant energy."""
        return None if self.ensemble == "nve" else self.ensemble

    @cached_property
    def own_seed(self) -> int:
        """Seed with which the system has the same trajectory alone.

        That of the run for the first system, and numbers without relation for the others: runs with seeds 1 and 2 have
        no trajectory in common, as they would if the number of the system were added.
        """
        if self.system == 0:
            return self.seed
        return int(np.random.SeedSequence([self.seed, self.system]).generate_state(1, np.uint64)[0] >> 1)

    def description(self) -> dict[str, Any]:
        """Settings as plain values for the description of a trajectory; ``system`` only of several."""
        words = {"ensemble": "nvt" if self.thermostat else "nve", "thermostat": self.thermostat}
        left_out = {"ensemble"} if self.system else {"ensemble", "system"}
        return words | {name: value for name, value in asdict(self).items() if name not in left_out}

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> DynamicsSettings:
        """Settings that a trajectory was made with.

        Returns
        -------
        DynamicsSettings

        Raises
        ------
        ConfigError
            When it does not say them all.
        """
        names = ("thermostat", "temperature", "timestep", "friction", "seed", "interval")
        missing = [name for name in names if name not in description]
        if missing:
            raise ConfigError(f"a trajectory that does not say its {missing[0]} cannot be continued: begin a new run")
        numbers = {name: description[name] for name in names[1:]}
        return cls(ensemble=description["thermostat"] or "nve", system=description.get("system", 0), **numbers)


def generator(settings: DynamicsSettings, step: int) -> np.random.Generator:
    """Random numbers of one step, the same whenever that step is taken.

    A counter-based generator has an independent stream for every (seed, step), so that a continued run needs no saved
    state to go on with the same noise. Step 0 is for the initial velocities.

    Returns
    -------
    generator at the beginning of the step's stream
    """
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(settings.own_seed), counter=[0, 0, 0, step]))


def degrees_of_freedom(atoms: Atoms, settings: DynamicsSettings) -> int:
    """Number of degrees of freedom that carry kinetic energy.

    NVE and scaled velocities (bussi, nose-hoover) conserve the momentum, which is zero, and without periodicity the
    angular momentum. Langevin noise acts on all atoms independently.

    Returns
    -------
    number of them

    Raises
    ------
    InputError
        For a constraint that does not say how many it takes away.
    """
    if atoms.constraints or settings.thermostat == "langevin":
        return 3 * len(atoms) - removed_freedom(atoms)
    n = 3 * len(atoms)
    if atoms.pbc.any():
        return max(n - 3, 0)
    linear = np.linalg.matrix_rank(atoms.positions - atoms.get_center_of_mass(), tol=1e-3) < 2
    return max(n - (5 if linear else 6), 0)


def temperature(atoms: Atoms, n_freedom: int) -> float:
    """Kinetic temperature in K; 0 when nothing can move."""
    return 2.0 * float(atoms.get_kinetic_energy()) / (n_freedom * units.kB) if n_freedom else 0.0


def set_velocities(atoms: Atoms, settings: DynamicsSettings) -> None:
    """Maxwell-Boltzmann velocities without translation and, for molecules, rotation of the whole.

    Taking them out of the sample leaves the other degrees of freedom canonical; nothing is rescaled.
    """
    masses = atoms.get_masses()[:, None]
    noise = generator(settings, 0).standard_normal((len(atoms), 3))
    velocities = noise * np.sqrt(units.kB * settings.temperature / masses)
    if not atoms.constraints:
        velocities -= (masses * velocities).sum(axis=0) / masses.sum()
        if not atoms.pbc.any():
            velocities -= _rigid_rotation(atoms.positions - atoms.get_center_of_mass(), masses, velocities)
    atoms.set_velocities(velocities)


def _rigid_rotation(arms: np.ndarray, masses: np.ndarray, velocities: np.ndarray) -> np.ndarray:
    """Velocities ω × r of the rigid body that has the same angular momentum, Σ m r × v = I ω."""
    momentum = (masses * np.cross(arms, velocities)).sum(axis=0)
    inertia = (masses * arms**2).sum() * np.eye(3) - (masses * arms).T @ arms
    # The pseudo-inverse leaves the axis of a linear molecule alone.
    return np.cross(np.linalg.pinv(inertia, rcond=1e-8, hermitian=True) @ momentum, arms)
