"""Calculators that obey every rule."""

from __future__ import annotations

import threading

import numpy as np
from ase.calculators.calculator import Calculator, PropertyNotImplementedError
from vesin import ase_neighbor_list

CUTOFF = 4.0
KNOWN_ELEMENTS = (1, 6, 8, 18, 29)
REPULSION, REPULSION_RANGE = 60.0, 0.4
ATTRACTION, ATTRACTION_RANGE = 2.0, 1.2


def switch(distances):
    """Polynomial from 1 to 0 at the cutoff, and its derivative."""
    x = 1 - distances / CUTOFF
    return x**4, -4 * x**3 / CUTOFF


def pair_energy(distances, weights, charge_products):
    """Pair energies and their derivatives: repulsion, attraction and a short-ranged Coulomb term."""
    repulsion = REPULSION * np.exp(-distances / REPULSION_RANGE)
    attraction = ATTRACTION * np.exp(-distances / ATTRACTION_RANGE)
    energy = weights * (repulsion - attraction) + charge_products / distances
    slope = weights * (attraction / ATTRACTION_RANGE - repulsion / REPULSION_RANGE)
    slope -= charge_products / distances**2
    value, derivative = switch(distances)
    return energy * value, slope * value + energy * derivative


def _same(first, second):
    """Whether two structures are equal to the last bit; ASE compares by a tolerance, which takes longer."""
    of_atoms = ("initial_charges", "initial_magmoms")
    return first == second and all(
        first.has(name) == second.has(name) and np.array_equal(first.arrays.get(name), second.arrays.get(name))
        for name in of_atoms
    )


class Reference(Calculator):
    """Pair potential with charges that depend on ``atoms.info["charge"]``."""

    implemented_properties = ["energy", "free_energy", "energies", "forces", "stress", "charges", "dipole"]
    default_parameters = {"strength": 1.0}
    offset = -3.0

    def __init__(self, **parameters):
        super().__init__(**parameters)
        self._lock = threading.RLock()
        self._charge = None

    def charge_of(self, atoms):
        return float(atoms.info.get("charge", 0))

    def check_state(self, atoms, tol=1e-15):
        changes = [] if self.atoms is not None and _same(self.atoms, atoms) else super().check_state(atoms, tol=tol)
        if not changes and self.charge_of(atoms) != self._charge:
            changes = ["charge"]
        return changes

    def get_property(self, name, atoms=None, allow_calculation=True):
        with self._lock:
            return super().get_property(name, atoms, allow_calculation)

    def __deepcopy__(self, memo):
        copy = type(self)()
        copy.parameters.update(self.parameters)
        return copy

    def __reduce__(self):
        return type(self), ()

    def check_input(self, atoms):
        if not np.all(np.isfinite(atoms.positions)):
            raise ValueError("positions are not finite")
        if not np.isin(atoms.numbers, KNOWN_ELEMENTS).all():
            raise ValueError(f"unknown elements in {atoms.symbols}")

    def compute(self, atoms):
        """Return all results of a structure."""
        self.check_input(atoms)
        charge, n_atoms = self.charge_of(atoms), len(atoms)
        excess = atoms.numbers - atoms.numbers.mean()
        charges = charge / n_atoms - 0.02 * excess
        *unsigned, vectors = ase_neighbor_list("ijD", atoms, CUTOFF)
        i, j = (found.astype(np.int64) for found in unsigned)
        distances = np.linalg.norm(vectors, axis=1)
        weights = np.sqrt(atoms.numbers[i] * atoms.numbers[j]) / 4
        energy, slope = pair_energy(distances, weights, charges[i] * charges[j])
        pull = slope[:, None] * vectors / distances[:, None]
        energies = np.bincount(i, energy / 2, n_atoms) + self.offset * atoms.numbers + charges**2
        forces = np.zeros((n_atoms, 3))
        np.add.at(forces, i, pull)
        results = {
            "energy": float(energies.sum()),
            "free_energy": float(energies.sum()),
            "energies": energies,
            "forces": forces,
            "charges": charges,
            "dipole": charges @ (atoms.positions - atoms.positions.mean(axis=0)),
        }
        if atoms.pbc.any() and atoms.cell.rank == 3:
            virial = np.einsum("ea,eb->ab", vectors, pull) / 2
            results["stress"] = virial.flat[[0, 4, 8, 5, 2, 1]] / atoms.get_volume()
        return results

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        self.results = {}
        results = self.compute(self.atoms)
        if "stress" in properties and "stress" not in results:
            raise PropertyNotImplementedError("stress needs a periodic cell")
        self._charge = self.charge_of(self.atoms)
        self.results = results


class Float32Network(Reference):
    """Rounding as in a float32 network with float64 totals: correct, but not to many digits."""

    def compute(self, atoms):
        results = super().compute(atoms)
        seed = abs(hash(atoms.positions.astype(np.float32).tobytes())) % 2**32
        rng = np.random.default_rng(seed)
        results["energy"] = results["free_energy"] = results["energy"] + 1e-6 * rng.uniform(-1, 1)
        results["forces"] = results["forces"] + 1e-6 * rng.uniform(-1, 1, results["forces"].shape)
        return results


class HardCutoff(Reference):
    """Small jumps of the energy, as when pairs cross the cutoff of a long-ranged sum."""

    def compute(self, atoms):
        results = super().compute(atoms)
        plateau = int(3e3 * abs(results["energy"]))
        jump = 1e-7 * np.random.default_rng(plateau).uniform(-1, 1)
        results["energy"] = results["free_energy"] = results["energy"] + jump
        return results


class MoleculesOnly(Reference):
    """Correct: stress is not promised, periodic structures are refused."""

    implemented_properties = [name for name in Reference.implemented_properties if name != "stress"]

    def check_input(self, atoms):
        super().check_input(atoms)
        if atoms.pbc.any():
            raise ValueError("molecules only")
