"""Integrators of molecular dynamics: one step in two halves, with one evaluation of the forces between them.

The first half moves the atoms, the second completes their momenta with the forces there. Whoever drives a step
evaluates in between: one structure, or many in a batch. Constraints act as in ASE, on positions in the first half and
on momenta in both (RATTLE).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.constraints import FixLinearTriatomic

from molcalc.errors import ConfigError
from molcalc.simulate.ensembles import DynamicsSettings

NOSE_HOOVER = "nose_hoover"
"""Key of ``atoms.info`` under which frames carry positions and velocities of the thermostats of a chain."""
CHAIN = 3
"""Thermostats of a Nosé-Hoover chain."""
YOSHIDA = (1.0 / (2.0 - 2.0 ** (1.0 / 3.0)), -(2.0 ** (1.0 / 3.0)) / (2.0 - 2.0 ** (1.0 / 3.0)))
"""Outer and inner weight of a fourth-order step in three (H. Yoshida, Phys. Lett. A 150, 262 (1990))."""


class Integrator(ABC):
    """Integrator of one structure, which it moves.

    Parameters
    ----------
    atoms : structure with momenta.
    timestep : in units of ASE.
    """

    def __init__(self, atoms: Atoms, timestep: float) -> None:
        self.atoms, self.timestep = atoms, timestep
        self.masses = atoms.get_masses()[:, None]

    @abstractmethod
    def begin(self, forces: np.ndarray, rng: np.random.Generator) -> None:
        """First half of a step: atoms move.

        Parameters
        ----------
        forces : (n_atoms, 3) eV/Å, where the atoms are.
        rng : random numbers of this step.
        """

    @abstractmethod
    def finish(self, forces: np.ndarray) -> None:
        """Second half of a step: momenta are those of the new positions.

        Parameters
        ----------
        forces : (n_atoms, 3) eV/Å, where the atoms are now.
        """

    def state(self) -> dict[str, Any]:
        """What a run needs to go on beside positions and momenta, as frames carry it in ``info``."""
        return {}


class Verlet(Integrator):
    """Velocity Verlet, constant energy."""

    def begin(self, forces: np.ndarray, rng: np.random.Generator) -> None:
        atoms, dt = self.atoms, self.timestep
        momenta = atoms.get_momenta()
        momenta += 0.5 * dt * forces
        before = atoms.get_positions()
        atoms.set_positions(before + dt * momenta / self.masses)
        if atoms.constraints:
            momenta = (atoms.get_positions() - before) * self.masses / dt
        atoms.set_momenta(momenta, apply_constraint=False)

    def finish(self, forces: np.ndarray) -> None:
        self.atoms.set_momenta(self.atoms.get_momenta() + 0.5 * self.timestep * forces)


class Langevin(Integrator):
    """Langevin dynamics, constant temperature by friction and noise on every atom.

    Second order in the timestep (E. Vanden-Eijnden, G. Ciccotti, Chem. Phys. Lett. 429, 310 (2006), eq. 23).

    Parameters
    ----------
    friction : in units of ASE.
    thermal : kT, eV.
    """

    def __init__(self, atoms: Atoms, timestep: float, friction: float, thermal: float) -> None:
        super().__init__(atoms, timestep)
        dt, sigma = timestep, np.sqrt(2 * thermal * friction / self.masses)
        self._of_forces = dt / 2.0 - dt * dt * friction / 8.0
        self._of_velocities = dt * friction / 2 - dt * dt * friction * friction / 8.0
        self._of_noise = np.sqrt(dt) * sigma / 2.0 - dt**1.5 * friction * sigma / 8.0
        self._of_moves = dt**1.5 * sigma / (2 * np.sqrt(3))
        self._friction = friction

    def begin(self, forces: np.ndarray, rng: np.random.Generator) -> None:
        atoms, dt = self.atoms, self.timestep
        velocities = atoms.get_velocities()
        xi, eta = rng.standard_normal(size=(len(atoms), 3)), rng.standard_normal(size=(len(atoms), 3))
        for constraint in atoms.constraints:
            if isinstance(constraint, FixLinearTriatomic):  # the atoms of a rigid triple share their noise
                constraint.redistribute_forces_md(atoms, xi, rand=True)
                constraint.redistribute_forces_md(atoms, eta, rand=True)
        moves = self._of_moves * eta
        self._noise = self._of_noise * xi - self._friction / 2.0 * self._of_moves * eta
        velocities += self._of_forces * forces / self.masses - self._of_velocities * velocities + self._noise
        before = atoms.get_positions()
        atoms.set_positions(before + dt * velocities + moves)
        # Constraints may have held the atoms back.
        self._velocities = (atoms.get_positions() - before - moves) / dt

    def finish(self, forces: np.ndarray) -> None:
        velocities = self._velocities
        velocities += self._of_forces * forces / self.masses - self._of_velocities * velocities + self._noise
        self.atoms.set_momenta(velocities * self.masses)


class Bussi(Verlet):
    """Velocity Verlet with velocities scaled at random, constant temperature.

    G. Bussi, D. Donadio, M. Parrinello, J. Chem. Phys. 126, 014101 (2007), eq. A7.

    Parameters
    ----------
    relaxation : time of the thermostat, in units of ASE.
    thermal : kT, eV.
    n_freedom : degrees of freedom that carry kinetic energy.

    Raises
    ------
    ConfigError
        When nothing moves.
    """

    def __init__(self, atoms: Atoms, timestep: float, relaxation: float, thermal: float, n_freedom: int) -> None:
        super().__init__(atoms, timestep)
        if n_freedom == 0 or not atoms.get_kinetic_energy() > 1e-12:
            raise ConfigError(
                "the bussi thermostat scales velocities, and the initial kinetic energy is zero: choose langevin, or "
                "let velocities be drawn"
            )
        self._n_freedom, self._target = n_freedom, 0.5 * n_freedom * thermal
        self._memory = math.exp(-timestep / relaxation)

    def begin(self, forces: np.ndarray, rng: np.random.Generator) -> None:
        kinetic = self.atoms.get_kinetic_energy()
        share = (1 - self._memory) * self._target / kinetic / self._n_freedom
        normal = rng.standard_normal()
        others = 2.0 * rng.standard_gamma(0.5 * (self._n_freedom - 1))
        square = self._memory + share * (others + normal**2) + 2 * normal * math.sqrt(self._memory * share)
        self.atoms.set_momenta(math.sqrt(square) * self.atoms.get_momenta())
        super().begin(forces, rng)


class NoseHoover(Verlet):
    """Velocity Verlet between half steps of a Nosé-Hoover chain, constant temperature without noise.

    G. J. Martyna, M. L. Klein, M. E. Tuckerman, J. Chem. Phys. 97, 2635 (1992); M. E. Tuckerman et al., J. Phys. A 39,
    5629 (2006). The first thermostat acts on the momenta, and each other one on the one before it.

    Parameters
    ----------
    relaxation : time of the thermostats, in units of ASE.
    thermal : kT, eV.
    n_freedom : degrees of freedom that carry kinetic energy.
    state : positions and velocities of the thermostats where the run goes on; None at rest.

    Raises
    ------
    ConfigError
        When nothing moves.
    """

    def __init__(
        self,
        atoms: Atoms,
        timestep: float,
        relaxation: float,
        thermal: float,
        n_freedom: int,
        state: Sequence[Sequence[float]] | None = None,
    ) -> None:
        super().__init__(atoms, timestep)
        if n_freedom == 0:
            raise ConfigError("the nose-hoover thermostat needs something that moves: choose langevin")
        self._thermal, self._n_freedom = thermal, n_freedom
        self._inertia = np.full(CHAIN, thermal * relaxation**2)
        self._inertia[0] *= n_freedom
        self.places, self.speeds = np.zeros((2, CHAIN)) if state is None else np.array(state, dtype=np.float64)

    def begin(self, forces: np.ndarray, rng: np.random.Generator) -> None:
        self._scale_momenta()
        super().begin(forces, rng)

    def finish(self, forces: np.ndarray) -> None:
        super().finish(forces)
        self._scale_momenta()

    def state(self) -> dict[str, Any]:
        return {NOSE_HOOVER: np.stack([self.places, self.speeds]).tolist()}

    def conserved_energy(self, potential: float) -> float:
        """Energy that the run conserves, eV: of atoms and thermostats."""
        stored = self._thermal * (self._n_freedom * self.places[0] + self.places[1:].sum())
        return float(
            potential + self.atoms.get_kinetic_energy() + stored + 0.5 * (self._inertia * self.speeds**2).sum()
        )

    def _scale_momenta(self) -> None:
        """Half a timestep of the chain."""
        twice_kinetic, scale = 2.0 * self.atoms.get_kinetic_energy(), 1.0
        for weight in (YOSHIDA[0], YOSHIDA[1], YOSHIDA[0]):
            time = 0.5 * weight * self.timestep
            for j in reversed(range(CHAIN)):
                self._push(j, 0.5 * time, twice_kinetic * scale**2)
            self.places += time * self.speeds
            scale *= math.exp(-time * self.speeds[0])
            for j in range(CHAIN):
                self._push(j, 0.5 * time, twice_kinetic * scale**2)
        self.atoms.set_momenta(scale * self.atoms.get_momenta())

    def _push(self, j: int, time: float, twice_kinetic: float) -> None:
        """Change the velocity of one thermostat by what it acts on, while the next one slows it."""
        wanted = self._thermal * (self._n_freedom if j == 0 else 1)
        energy = twice_kinetic if j == 0 else self._inertia[j - 1] * self.speeds[j - 1] ** 2
        slowed = math.exp(-0.5 * time * self.speeds[j + 1]) if j + 1 < CHAIN else 1.0
        self.speeds[j] = (self.speeds[j] * slowed + time * (energy - wanted) / self._inertia[j]) * slowed


def integrator(
    atoms: Atoms, settings: DynamicsSettings, n_freedom: int, info: Mapping[str, Any] | None = None
) -> Integrator:
    """Integrator of an ensemble.

    Parameters
    ----------
    atoms : structure with its momenta, which will move.
    n_freedom : degrees of freedom that carry kinetic energy.
    info : of the frame from which a run goes on.

    Returns
    -------
    Integrator

    Raises
    ------
    ConfigError
        When the thermostat has nothing to act on.
    """
    timestep, thermal = settings.timestep * units.fs, units.kB * settings.temperature
    if settings.thermostat is None:
        return Verlet(atoms, timestep)
    if settings.thermostat == "langevin":
        return Langevin(atoms, timestep, settings.friction / units.fs, thermal)
    relaxation = units.fs / settings.friction
    if settings.thermostat == "bussi":
        return Bussi(atoms, timestep, relaxation, thermal, n_freedom)
    return NoseHoover(atoms, timestep, relaxation, thermal, n_freedom, (info or {}).get(NOSE_HOOVER))
