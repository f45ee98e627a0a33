"""The calculator under test, the structures it accepts, and comparisons with a fresh instance."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms

from molcalc.errors import ConfigError
from molcalc.testing.check_report import CheckFailedError, CheckSkippedError
from molcalc.testing.noise import Noise, estimate_noise
from molcalc.testing.process import watch
from molcalc.testing.structures import boxed, default_structures, displaced, doubled, sheared

CalculatorFactory = Callable[[], Any]

# Two evaluations of the same structure agree within this many standard deviations of the noise.
SAME_STRUCTURE = 10.0
RELATIVE_PRECISION = 1e-9
# Charges offered to find out whether a calculator reads ``atoms.info["charge"]``, relative to the
# charge of the structure: one electron first, two for models without unpaired electrons.
CHARGE_STEPS = (1, -1, 2, -2)
SMALLEST_VISIBLE = 1e-6


class EnergyAndForces(NamedTuple):
    """Energy (eV) and (n_atoms, 3) forces (eV/Å; None for a calculator without forces)."""

    energy: float
    forces: np.ndarray | None


class NoStructureError(Exception):
    """No structure was accepted by the calculator."""


class Subject:
    """A calculator factory with everything the checks share.

    Parameters
    ----------
    factory : returns a new calculator at every call.
    atoms : structure to test with; None tries ``default_structures`` until one is accepted.
    charge_aware : whether energies depend on ``atoms.info["charge"]``; None finds out.
    tolerance : error of a derivative, relative to the largest force or stress.
    memory_steps, time_budget : evaluations and seconds of the memory check.

    Raises
    ------
    NoStructureError
        If no structure gives a finite energy.
    ConfigError
        If the factory returns the same calculator twice.
    """

    def __init__(
        self,
        factory: CalculatorFactory,
        atoms: Atoms | None = None,
        *,
        charge_aware: bool | None = None,
        tolerance: float = 1e-4,
        memory_steps: int = 2000,
        time_budget: float = 60.0,
    ):
        self.new = factory
        self.charge_aware = charge_aware
        self.tolerance = tolerance
        self.memory_steps = memory_steps
        self.time_budget = time_budget
        with watch() as self.first_use:
            calculator = factory()
            self._atoms = _first_accepted(factory, default_structures() if atoms is None else [atoms])
        if factory() is calculator:
            raise ConfigError("the factory returns the same calculator again; it has to make a new one every time")
        self.calculator_name = type(calculator).__name__
        self.implemented = list(calculator.implemented_properties)

    @property
    def atoms(self) -> Atoms:
        """A new copy of the test structure."""
        return self._atoms.copy()

    @property
    def other(self) -> Atoms:
        """A new structure of another size with the same elements."""
        return doubled(self._atoms)

    @cached_property
    def _crystal(self) -> Atoms | str:
        pbc = self._atoms.pbc
        if pbc.any() and not pbc.all():
            return f"the test structure has pbc={pbc.tolist()}; give one that is periodic in all directions"
        crystal = sheared(self._atoms) if pbc.all() else boxed(self._atoms)
        try:
            energy = self.new().get_potential_energy(crystal.copy())
        except Exception as error:  # any refusal counts: molecules only
            return f"a periodic structure is refused ({describe_error(error)})"
        return crystal if np.isfinite(energy) else f"a periodic structure has the energy {energy}"

    @property
    def crystal(self) -> Atoms:
        """A new periodic structure; a check that asks for it is skipped if the calculator refuses it."""
        if isinstance(self._crystal, str):
            raise CheckSkippedError(self._crystal)
        return self._crystal.copy()

    @property
    def structures(self) -> list[Atoms]:
        """The test structure and, if the calculator accepts it and it is not the same, the crystal."""
        if isinstance(self._crystal, str) or self._atoms.pbc.any():
            return [self.atoms]
        return [self.atoms, self.crystal]

    @property
    def has_forces(self) -> bool:
        """Whether the calculator implements forces."""
        return "forces" in self.implemented

    @cached_property
    def has_free_energy(self) -> bool:
        """Whether the calculator gives the free energy, of which the forces are the derivative."""
        try:
            return self.new().get_property("free_energy", self.atoms) is not None
        except Exception:  # its absence is reported by a check of its own
            return False

    def evaluate(self, calc: Any, atoms: Atoms) -> EnergyAndForces:
        """Ask a calculator for energy and forces."""
        energy = float(calc.get_potential_energy(atoms))
        return EnergyAndForces(energy, np.array(calc.get_forces(atoms)) if self.has_forces else None)

    def reference(self, atoms: Atoms) -> EnergyAndForces:
        """Evaluate a structure with a calculator that has not seen anything else."""
        return self.evaluate(self.new(), atoms.copy())

    def measure_noise(self, atoms: Atoms, path: Callable[[float], Atoms] | None = None) -> Noise:
        """Noise of one calculator around a structure: along a path, or when all its atoms move."""
        calc = self.new()
        path = path or (lambda distance: displaced(atoms, distance))
        return estimate_noise(lambda sample: self.evaluate(calc, sample), path)

    @cached_property
    def noise(self) -> Noise:
        """Noise around the test structure."""
        return self.measure_noise(self._atoms)

    @cached_property
    def standard(self) -> EnergyAndForces:
        """Energy and forces of the test structure."""
        return self.reference(self._atoms)

    @property
    def force_scale(self) -> float:
        """Largest force component of the test structure, eV/Å (0 without forces)."""
        return 0.0 if self.standard.forces is None else float(np.abs(self.standard.forces).max())

    def require_same(
        self, found: EnergyAndForces, wanted: EnergyAndForces, when: str, *, slack: tuple[float, float] = (0.0, 0.0)
    ) -> None:
        """Fail unless two evaluations agree within the noise.

        ``when`` completes the sentence "... is wrong"; ``slack`` is added to the allowed differences of
        energy (eV) and forces (eV/Å).
        """
        allowed = SAME_STRUCTURE * self.noise.energy + RELATIVE_PRECISION * abs(wanted.energy) + slack[0]
        if not abs(found.energy - wanted.energy) <= allowed:
            raise CheckFailedError(
                f"{when} the energy is wrong by {found.energy - wanted.energy:.3g} eV: "
                f"{found.energy:.8g} instead of {wanted.energy:.8g} eV"
            )
        if found.forces is None or wanted.forces is None:
            return
        if found.forces.shape != wanted.forces.shape:
            raise CheckFailedError(
                f"{when} the forces have the shape {found.forces.shape} instead of {wanted.forces.shape}"
            )
        scale = float(np.abs(wanted.forces).max())
        allowed = SAME_STRUCTURE * self.noise.forces + RELATIVE_PRECISION * scale + slack[1]
        worst = float(np.abs(found.forces - wanted.forces).max())
        if not worst <= allowed:
            raise CheckFailedError(f"{when} the forces are wrong by up to {worst:.3g} eV/Å (allowed: {allowed:.2g})")

    def require_visible(self, before: EnergyAndForces, after: EnergyAndForces, change: str) -> None:
        """Skip a check whose change of the input does not change the energy."""
        if abs(after.energy - before.energy) <= self.visible_energy:
            raise CheckSkippedError(f"{change} does not change the energy of the test structure")

    @property
    def visible_energy(self) -> float:
        """Energy difference, eV, that cannot be noise."""
        return max(100 * self.noise.energy, SMALLEST_VISIBLE)

    @cached_property
    def _charge(self) -> int | str:
        start = self.own_charge
        refusals = []
        for step in CHARGE_STEPS:
            try:
                shifted = self.new().get_potential_energy(self.with_charge(start + step))
                plain = self.new().get_potential_energy(self.with_charge(start))
            except Exception as error:  # a refused charge: another one may be accepted
                refusals.append(f"charge {start + step:+d} is refused ({describe_error(error)})")
                continue
            if abs(shifted - plain) > self.visible_energy:
                return start + step
            return 'energies do not depend on atoms.info["charge"]'
        return refusals[0]

    @property
    def own_charge(self) -> int:
        """Charge given in ``info`` of the test structure, or 0."""
        return int(self._atoms.info.get("charge", 0))

    @property
    def charge(self) -> int:
        """Another charge the calculator accepts; skips the check where energies do not depend on it."""
        if self.charge_aware is False:
            raise CheckSkippedError("charge_aware=False was given")
        if isinstance(self._charge, str):
            if self.charge_aware:
                raise CheckFailedError(f"charge_aware=True was given, but {self._charge}")
            raise CheckSkippedError(self._charge)
        return self._charge

    def with_charge(self, charge: int | None) -> Atoms:
        """Return the test structure with a charge in ``info``, or without one."""
        atoms = self.atoms
        atoms.info.pop("charge", None)
        if charge is not None:
            atoms.info["charge"] = charge
        return atoms


def _first_accepted(factory: CalculatorFactory, candidates: list[Atoms]) -> Atoms:
    """Return a copy of the first structure with a finite energy."""
    reasons = []
    for candidate in candidates:
        try:
            energy = factory().get_potential_energy(candidate.copy())
        except Exception as error:  # any refusal: the next structure may be accepted
            reasons.append(f"{candidate.get_chemical_formula()}: {describe_error(error)}")
            continue
        if np.isfinite(energy):
            accepted = candidate.copy()
            # Constraints would keep finite differences from moving atoms.
            accepted.set_constraint()
            return accepted
        reasons.append(f"{candidate.get_chemical_formula()}: energy {energy}")
    raise NoStructureError("; ".join(reasons))


def describe_error(error: BaseException) -> str:
    """Return the type and first line of an exception."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
