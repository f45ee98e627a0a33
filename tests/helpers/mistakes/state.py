"""Calculators that keep results too long, disturb their process, leak, or mix up threads."""

from __future__ import annotations

import os
import warnings

import numpy as np
from ase.calculators.calculator import Calculator

from tests.helpers.mistakes.pair_potential import Reference


class KeepsReference(Reference):
    """Keeps the user's Atoms instead of a copy, and compares it with itself."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        self.atoms = atoms


class IgnoresNumbers(Reference):
    ignored_changes = {"numbers"}


class IgnoresCell(Reference):
    ignored_changes = {"cell"}


class IgnoresPbcChange(Reference):
    ignored_changes = {"pbc"}


class StaleCharge(Reference):
    def check_state(self, atoms, tol=1e-15):
        return Calculator.check_state(self, atoms, tol=tol)


class RemembersCharge(Reference):
    last_charge = 0.0

    def charge_of(self, atoms):
        self.last_charge = float(atoms.info.get("charge", self.last_charge))
        return self.last_charge


class ComparesInfo(Reference):
    def check_state(self, atoms, tol=1e-15):
        changes = super().check_state(atoms, tol=tol)
        if self.atoms is not None and atoms.info != self.atoms.info:
            changes = ["info"]
        return changes


class SizeOfFirst(Reference):
    n_atoms = None

    def compute(self, atoms):
        results = super().compute(atoms)
        self.n_atoms = self.n_atoms or len(atoms)
        results["energy"] += 0.1 * self.n_atoms
        results["free_energy"] = results["energy"]
        return results


class ReusedBuffer(Reference):
    buffer = np.zeros((0, 3))

    def compute(self, atoms):
        results = super().compute(atoms)
        if self.buffer.shape == results["forces"].shape:
            self.buffer[:] = results["forces"]
        else:
            self.buffer = results["forces"]
        return {**results, "forces": self.buffer}


class NoCopies(Reference):
    def get_property(self, name, atoms=None, allow_calculation=True):
        with self._lock:
            Calculator.get_property(self, name, atoms, allow_calculation)
            return self.results.get(name)


class WrapsAtoms(Reference):
    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        atoms.wrap()


class AcceptsNaN(Reference):
    def compute(self, atoms):
        repaired = atoms.copy()
        repaired.positions[:] = np.nan_to_num(repaired.positions)
        return super().compute(repaired)


class HalfResults(Reference):
    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        Calculator.calculate(self, atoms, properties, system_changes)
        self.results = {"energy": -1.0}
        super().calculate(atoms, properties, system_changes)

    def check_input(self, atoms):
        if not np.all(np.isfinite(atoms.positions)):
            self.results = {"energy": -1.0}
        super().check_input(atoms)


class Noisy(Reference):
    def __init__(self):
        super().__init__()
        self.rng = np.random.default_rng(0)

    def compute(self, atoms):
        results = super().compute(atoms)
        results["energy"] = results["free_energy"] = results["energy"] + 0.01 * self.rng.normal()
        return results


class SetsDefaultDtype(Reference):
    def compute(self, atoms):
        import torch

        torch.set_default_dtype(torch.float64)
        return super().compute(atoms)


class LeavesGradModeOff(Reference):
    def compute(self, atoms):
        import torch

        torch.set_grad_enabled(False)
        results = super().compute(atoms)
        torch.set_grad_enabled(True)
        return results


class NeedsGradMode(Reference):
    def compute(self, atoms):
        import torch

        x = torch.zeros(3, requires_grad=True)
        torch.autograd.grad((x * x).sum(), x)
        return super().compute(atoms)


class SetsThreads(Reference):
    def __init__(self):
        import torch

        super().__init__()
        torch.set_num_threads(1)


class SilencesNumpy(Reference):
    def __init__(self):
        super().__init__()
        np.seterr(all="ignore")


class SeedsNumpy(Reference):
    def __init__(self):
        super().__init__()
        np.random.seed(0)  # noqa: NPY002


class SeedsTorch(Reference):
    def __init__(self):
        import torch

        super().__init__()
        torch.manual_seed(0)


class MakesFolder(Reference):
    def __init__(self):
        super().__init__(directory="scratch")


class SetsVariable(Reference):
    def __init__(self):
        super().__init__()
        os.environ["SAMPLE_CALCULATOR_WAS_HERE"] = "1"


class SilencesWarnings(Reference):
    def __init__(self):
        super().__init__()
        warnings.filterwarnings("ignore", message="sample")


class Prints(Reference):
    def compute(self, atoms):
        print("SCF converged")
        return super().compute(atoms)


class PrintsFromC(Reference):
    def __init__(self):
        super().__init__()
        os.write(2, b"kernel compiled\n")


class Unlocked(Reference):
    def get_property(self, name, atoms=None, allow_calculation=True):
        return Calculator.get_property(self, name, atoms, allow_calculation)


class KeepsHistory(Reference):
    def __init__(self):
        super().__init__()
        self.history = []

    def compute(self, atoms):
        results = super().compute(atoms)
        self.history.append(results)
        return results


class GlobalResults(Reference):
    """All instances read what the last one computed."""

    last = {}

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        GlobalResults.last = self.results

    def get_property(self, name, atoms=None, allow_calculation=True):
        with self._lock:
            changed = self.calculation_required(atoms, [name])
            value = super().get_property(name, atoms, allow_calculation)
            return self.last[name] if changed and name == "energy" else value
