"""Calculators with mistakes in results, parameters and copies."""

from __future__ import annotations

import numpy as np

from tests.helpers.mistakes.pair_potential import Reference, switch


class ExtraResult(Reference):
    def compute(self, atoms):
        return {**super().compute(atoms), "energy_std": 0.1}


class UnknownProperty(Reference):
    implemented_properties = [*Reference.implemented_properties, "dipole_moment"]


class EmptyPromise(Reference):
    implemented_properties = [*Reference.implemented_properties, "magmoms"]


class InfiniteCharges(Reference):
    def compute(self, atoms):
        return {**super().compute(atoms), "charges": np.full(len(atoms), np.inf)}


class ScalarTypes(Reference):
    def compute(self, atoms):
        results = super().compute(atoms)
        return {**results, "energy": np.float32(results["energy"])}


class ArrayEnergy(Reference):
    def compute(self, atoms):
        results = super().compute(atoms)
        return {**results, "free_energy": np.array(results["energy"])}


class Float32Forces(Reference):
    def compute(self, atoms):
        results = super().compute(atoms)
        return {**results, "forces": results["forces"].astype(np.float32)}


class ColumnOfCharges(Reference):
    def compute(self, atoms):
        results = super().compute(atoms)
        return {**results, "charges": results["charges"][:, None]}


class MatrixStress(Reference):
    def compute(self, atoms):
        results = super().compute(atoms)
        if "stress" in results:
            results["stress"] = results["stress"][[0, 5, 4, 5, 1, 3, 4, 3, 2]].reshape(3, 3)
        return results


class NoFreeEnergy(Reference):
    implemented_properties = [name for name in Reference.implemented_properties if name != "free_energy"]


class HartreeFreeEnergy(Reference):
    def compute(self, atoms):
        results = super().compute(atoms)
        return {**results, "free_energy": results["energy"] / 27.2}


class TwoPasses(Reference):
    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        self.results = {name: self.results[name] for name in ("energy", "free_energy", *properties)}


class StressOnRequest(Reference):
    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        if "stress" not in properties:
            self.results.pop("stress", None)


class PathInParameters(Reference):
    default_parameters = {"model": ""}

    def __init__(self):
        super().__init__(model="/home/somebody/model.pt")


class ObjectInParameters(Reference):
    def __init__(self):
        super().__init__(cutoff_function=switch)


class NotCopyable(Reference):
    def __deepcopy__(self, memo):
        raise TypeError("cannot copy a handle")


class NotPicklable(Reference):
    def __reduce__(self):
        raise TypeError("cannot pickle a lambda")


class CopySharesState(Reference):
    """The copy computes into the original's results, which then look up to date."""

    def __deepcopy__(self, memo):
        copy = type(self)()
        copy.original = self
        return copy

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        if hasattr(self, "original"):
            self.original.results = self.results


class DatabaseRounds(Reference):
    """Answers the database, which asks without allowing a calculation, with rounded forces."""

    def get_property(self, name, atoms=None, allow_calculation=True):
        value = super().get_property(name, atoms, allow_calculation)
        return np.round(value, 3) if name == "forces" and not allow_calculation else value
