"""Settings, velocities and integrators of ``molcalc md``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
from ase import Atoms, units

from molcalc.errors import ConfigError

CONTINUED = "a restart continues the same run: leave the option out, or begin a new run with --keep-velocities"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What decides a trajectory, beside model and start. It is written into the trajectory.

    Attributes
    ----------
    thermostat : None for constant energy.
    temperature : K; in an NVE run that of the initial velocities.
    timestep : fs.
    friction : 1/fs; the bussi thermostat's relaxation time is its inverse.
    interval : steps between two frames.
    """

    ensemble: str = "nvt"
    thermostat: str | None = "langevin"
    temperature: float = 300.0
    timestep: float = 0.5
    friction: float = 0.01
    seed: int
    interval: int = 10

    def __post_init__(self) -> None:
        if self.thermostat == "bussi" and self.temperature == 0.0:
            raise ConfigError("--thermostat bussi scales velocities and needs --temperature > 0")

    def text(self) -> str:
        """One line for people."""
        if self.thermostat is None:
            return f"nve, time step {self.timestep:g} fs, seed {self.seed}"
        return f"nvt ({self.thermostat}) at {self.temperature:g} K, time step {self.timestep:g} fs, seed {self.seed}"


@dataclass(frozen=True)
class Begin:
    """Where a run begins.

    Attributes
    ----------
    n_freedom : degrees of freedom that carry kinetic energy.
    step : last step that is recorded; -1 before the first.
    n_frames : recorded frames.
    """

    atoms: Atoms
    settings: Settings
    n_freedom: int
    step: int = -1
    n_frames: int = 0

    def description(self) -> dict[str, Any]:
        """What the trajectory says about the run."""
        return {"program": "molcalc md", **asdict(self.settings), "degrees_of_freedom": self.n_freedom}


def new_settings(given: Mapping[str, Any], seed: int) -> Settings:
    """Settings of a new run: what the user gave, defaults for the rest.

    Raises
    ------
    ConfigError
        For a thermostat or friction in an NVE run.
    """
    chosen = {name: value for name, value in given.items() if value is not None}
    if chosen.get("ensemble") == "nve":
        for name in ("thermostat", "friction"):
            if name in chosen:
                raise ConfigError(f"--{name} has no meaning with --ensemble nve: leave it out")
        chosen["thermostat"] = None
    return replace(Settings(seed=seed), **chosen)


def recorded_settings(description: Mapping[str, Any], given: Mapping[str, Any], where: str) -> Settings:
    """Settings of the run to be continued; what the user gives must agree with them.

    Raises
    ------
    ConfigError
    """
    recorded = Settings(**{field.name: description[field.name] for field in fields(Settings)})
    for name, value in given.items():
        if value is not None and value != getattr(recorded, name):
            raise ConfigError(f"--{name} {value}: {where} was made with {getattr(recorded, name)}; {CONTINUED}")
    return recorded


def generator(settings: Settings, step: int) -> np.random.Generator:
    """Random numbers of one step, the same whenever that step is taken.

    A counter-based generator has an independent stream for every (seed, step), so that a continued run needs no saved
    state to go on with the same noise. Step 0 is for the initial velocities.
    """
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(settings.seed), counter=[0, 0, 0, step]))


def degrees_of_freedom(atoms: Atoms, settings: Settings) -> int:
    """Number of degrees of freedom that carry kinetic energy.

    NVE and the bussi thermostat conserve the momentum, which is zero, and without periodicity the angular momentum.
    Langevin noise acts on all atoms independently.
    """
    if atoms.constraints or settings.thermostat == "langevin":
        return int(atoms.get_number_of_degrees_of_freedom())
    n = 3 * len(atoms)
    if atoms.pbc.any():
        return max(n - 3, 0)
    linear = np.linalg.matrix_rank(atoms.positions - atoms.get_center_of_mass(), tol=1e-3) < 2
    return max(n - (5 if linear else 6), 0)


def temperature(atoms: Atoms, n_freedom: int) -> float:
    """Kinetic temperature in K; 0 when nothing can move."""
    return 2.0 * float(atoms.get_kinetic_energy()) / (n_freedom * units.kB) if n_freedom else 0.0


def set_velocities(atoms: Atoms, settings: Settings) -> None:
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


def integrator(atoms: Atoms, settings: Settings, n_freedom: int) -> Any:
    """ASE's integrator of an ensemble.

    Raises
    ------
    ConfigError
        When the bussi thermostat has no velocities to scale.
    """
    from ase.md.bussi import Bussi
    from ase.md.langevin import Langevin
    from ase.md.verlet import VelocityVerlet

    timestep = settings.timestep * units.fs
    if settings.thermostat is None:
        return VelocityVerlet(atoms, timestep)
    if settings.thermostat == "langevin":
        return Langevin(
            atoms, timestep, temperature_K=settings.temperature, friction=settings.friction / units.fs, fixcm=False
        )
    try:
        dynamics = Bussi(atoms, timestep, settings.temperature, taut=units.fs / settings.friction)
    except ValueError as error:
        raise ConfigError(f"--thermostat bussi: {error}") from error
    # ASE counts three degrees of freedom per atom, which would heat a water molecule to three times the temperature.
    dynamics.ndof = n_freedom
    dynamics.target_kinetic_energy = 0.5 * n_freedom * units.kB * settings.temperature
    return dynamics
