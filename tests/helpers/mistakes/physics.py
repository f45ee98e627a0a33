"""Calculators with mistakes in derivatives, symmetries and limits."""

from __future__ import annotations

import numpy as np

from tests.helpers.mistakes.pair_potential import MoleculesOnly, Reference


class Float32Total(Reference):
    offset = -300.0

    def compute(self, atoms):
        results = super().compute(atoms)
        total = float(np.float32(results["energy"]))
        return {**results, "energy": total, "free_energy": total}


class WrongForces(Reference):
    def compute(self, atoms):
        results = super().compute(atoms)
        return {**results, "forces": 1.002 * results["forces"]}


class ForcesUphill(Reference):
    def compute(self, atoms):
        results = super().compute(atoms)
        return {**results, "forces": -results["forces"]}


class ForcesWithoutImages(Reference):
    def compute(self, atoms):
        results = super().compute(atoms)
        alone = atoms.copy()
        alone.pbc = False
        return {**results, "forces": super().compute(alone)["forces"]}


class StressSign(Reference):
    def compute(self, atoms):
        results = super().compute(atoms)
        if "stress" in results:
            results["stress"] = -results["stress"]
        return results


class StressOrder(Reference):
    def compute(self, atoms):
        results = super().compute(atoms)
        if "stress" in results:
            results["stress"] = results["stress"][[0, 1, 2, 5, 4, 3]]
        return results


class StressOfMolecule(Reference):
    def compute(self, atoms):
        return {"stress": np.zeros(6), **super().compute(atoms)}


class StressCrashes(Reference):
    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        if "stress" in properties and not atoms.pbc.any():
            np.linalg.inv(atoms.cell.array)
        super().calculate(atoms, properties, system_changes)


class IgnoresPbc(Reference):
    implemented_properties = [name for name in Reference.implemented_properties if name != "stress"]

    def compute(self, atoms):
        alone = atoms.copy()
        alone.pbc = False
        return super().compute(alone)


class StressWithoutCrystals(MoleculesOnly):
    implemented_properties = Reference.implemented_properties


class Float32Positions(Reference):
    def compute(self, atoms):
        rounded = atoms.copy()
        rounded.positions[:] = rounded.positions.astype(np.float32)
        return super().compute(rounded)


class PreferredAxis(Reference):
    def compute(self, atoms):
        results = super().compute(atoms)
        if not atoms.pbc.any():
            x = atoms.positions[:, 0] - atoms.positions[:, 0].mean()
            results["energy"] += 0.02 * float(x @ x)
            results["free_energy"] = results["energy"]
            results["forces"][:, 0] -= 0.04 * x
        return results


class Handed(Reference):
    """An energy that tells left from right; without forces."""

    implemented_properties = ["energy", "free_energy"]

    def compute(self, atoms):
        results = super().compute(atoms)
        if not atoms.pbc.any():
            centered = atoms.positions - atoms.positions.mean(axis=0)
            crowding = np.exp(-atoms.get_all_distances()).sum(axis=1)
            moments = [crowding**power @ centered for power in (1, 2, 3)]
            results["energy"] += 100 * float(np.linalg.det(moments))
            results["free_energy"] = results["energy"]
        return {name: results[name] for name in ("energy", "free_energy")}


class OrderMatters(Reference):
    def compute(self, atoms):
        results = super().compute(atoms)
        results["energy"] += 0.01 * float(atoms.numbers[0])
        results["free_energy"] = results["energy"]
        return results


class NeedsNeighbors(Reference):
    def check_input(self, atoms):
        super().check_input(atoms)
        if len(atoms) == 1:
            raise IndexError("empty edge list")
