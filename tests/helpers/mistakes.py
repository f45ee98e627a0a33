"""Every broken calculator, and the checks that have to fail for it."""

from __future__ import annotations

from dataclasses import dataclass

from tests.helpers import broken_physics, broken_results, broken_state


@dataclass(frozen=True)
class Mistake:
    """A broken calculator and the checks that have to fail for it, no more and no less."""

    calculator: type
    failures: frozenset[str]

    def __str__(self):
        return self.calculator.__name__


def mistake(calculator, *failures):
    return Mistake(calculator, frozenset(failures))


MISTAKES = [
    mistake(broken_results.ExtraResult, "property_names"),
    mistake(broken_results.UnknownProperty, "property_names"),
    mistake(broken_results.EmptyPromise, "properties_delivered"),
    mistake(broken_results.InfiniteCharges, "properties_delivered"),
    mistake(broken_results.ScalarTypes, "scalar_types"),
    mistake(broken_results.ArrayEnergy, "scalar_types"),
    mistake(broken_results.Float32Forces, "array_types", "database"),
    mistake(broken_results.ColumnOfCharges, "array_types"),
    mistake(broken_results.MatrixStress, "array_types"),
    mistake(broken_results.NoFreeEnergy, "free_energy"),
    # Forces and stress are the derivatives of the free energy.
    mistake(broken_results.HartreeFreeEnergy, "free_energy", "forces", "forces_in_crystal", "stress"),
    mistake(broken_results.TwoPasses, "one_pass"),
    mistake(broken_results.StressOnRequest, "one_pass"),
    mistake(broken_results.PathInParameters, "todict"),
    mistake(broken_results.ObjectInParameters, "todict", "database"),
    mistake(broken_results.DatabaseRounds, "database"),
    mistake(broken_results.NotCopyable, "deepcopy"),
    mistake(broken_results.CopySharesState, "deepcopy"),
    mistake(broken_results.NotPicklable, "pickle"),
    mistake(broken_physics.Float32Total, "energy_noise"),
    mistake(broken_physics.WrongForces, "forces", "forces_in_crystal"),
    mistake(broken_physics.ForcesUphill, "forces", "forces_in_crystal"),
    mistake(broken_physics.ForcesWithoutImages, "forces_in_crystal"),
    mistake(broken_physics.StressSign, "stress"),
    mistake(broken_physics.StressOrder, "stress"),
    mistake(broken_physics.StressOfMolecule, "stress_of_molecule"),
    mistake(broken_physics.StressCrashes, "stress_of_molecule"),
    mistake(broken_physics.StressWithoutCrystals, "properties_delivered"),
    mistake(broken_physics.IgnoresPbc, "periodic_images"),
    mistake(broken_physics.Float32Positions, "translation"),
    mistake(broken_physics.PreferredAxis, "rotation", "reflection"),
    mistake(broken_physics.Handed, "reflection"),
    mistake(broken_physics.OrderMatters, "permutation"),
    mistake(broken_physics.NeedsNeighbors, "isolated_atom"),
    # Finite differences move the atoms of one object, too.
    mistake(broken_state.KeepsReference, "moved_atoms", "forces", "forces_in_crystal", "stress"),
    mistake(broken_state.IgnoresNumbers, "changed_numbers"),
    mistake(broken_state.IgnoresCell, "changed_cell"),
    mistake(broken_state.IgnoresPbcChange, "changed_pbc"),
    mistake(broken_state.StaleCharge, "changed_charge", "charge_leak"),
    mistake(broken_state.RemembersCharge, "charge_leak"),
    mistake(broken_state.ComparesInfo, "info_arrays"),
    mistake(broken_state.SizeOfFirst, "alternating_structures", "shared_by_threads"),
    mistake(broken_state.ReusedBuffer, "shared_arrays"),
    mistake(broken_state.NoCopies, "shared_arrays"),
    # ASE sees moved atoms and calculates again.
    mistake(broken_state.WrapsAtoms, "atoms_untouched", "one_pass"),
    mistake(broken_state.AcceptsNaN, "nan_positions"),
    mistake(broken_state.HalfResults, "after_error"),
    mistake(broken_state.Noisy, "energy_noise", "repeatable"),
    mistake(broken_state.SetsDefaultDtype, "torch_state"),
    mistake(broken_state.NeedsGradMode, "torch_state"),
    mistake(broken_state.LeavesGradModeOff, "torch_state"),
    mistake(broken_state.SetsThreads, "torch_state"),
    mistake(broken_state.SilencesNumpy, "numpy_errors"),
    mistake(broken_state.SeedsNumpy, "random_state"),
    mistake(broken_state.SeedsTorch, "random_state"),
    mistake(broken_state.MakesFolder, "working_directory"),
    mistake(broken_state.SetsVariable, "environment"),
    mistake(broken_state.SilencesWarnings, "environment"),
    mistake(broken_state.Prints, "silence"),
    mistake(broken_state.PrintsFromC, "silence"),
    mistake(broken_state.KeepsHistory, "memory"),
    mistake(broken_state.GlobalResults, "two_instances"),
    mistake(broken_state.Unlocked, "shared_by_threads"),
]
