"""Every broken calculator, and the checks that have to fail for it."""

from __future__ import annotations

from dataclasses import dataclass

from tests.helpers.mistakes import physics, results, state


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
    mistake(results.ExtraResult, "property_names"),
    mistake(results.UnknownProperty, "property_names"),
    mistake(results.EmptyPromise, "properties_delivered"),
    mistake(results.InfiniteCharges, "properties_delivered"),
    mistake(results.ScalarTypes, "scalar_types"),
    mistake(results.ArrayEnergy, "scalar_types"),
    mistake(results.Float32Forces, "array_types", "database"),
    mistake(results.ColumnOfCharges, "array_types"),
    mistake(results.MatrixStress, "array_types"),
    mistake(results.NoFreeEnergy, "free_energy"),
    # Forces and stress are the derivatives of the free energy.
    mistake(results.HartreeFreeEnergy, "free_energy", "forces", "forces_in_crystal", "stress"),
    mistake(results.TwoPasses, "one_pass"),
    mistake(results.StressOnRequest, "one_pass"),
    mistake(results.PathInParameters, "todict"),
    mistake(results.ObjectInParameters, "todict", "database"),
    mistake(results.DatabaseRounds, "database"),
    mistake(results.NotCopyable, "deepcopy"),
    mistake(results.CopySharesState, "deepcopy"),
    mistake(results.NotPicklable, "pickle"),
    mistake(physics.Float32Total, "energy_noise"),
    mistake(physics.WrongForces, "forces", "forces_in_crystal"),
    mistake(physics.ForcesUphill, "forces", "forces_in_crystal"),
    mistake(physics.ForcesWithoutImages, "forces_in_crystal"),
    mistake(physics.StressSign, "stress"),
    mistake(physics.StressOrder, "stress"),
    mistake(physics.StressOfMolecule, "stress_of_molecule"),
    mistake(physics.StressCrashes, "stress_of_molecule"),
    mistake(physics.StressWithoutCrystals, "properties_delivered"),
    mistake(physics.IgnoresPbc, "periodic_images"),
    mistake(physics.Float32Positions, "translation"),
    mistake(physics.PreferredAxis, "rotation", "reflection"),
    mistake(physics.Handed, "reflection"),
    mistake(physics.OrderMatters, "permutation"),
    mistake(physics.NeedsNeighbors, "isolated_atom"),
    # Finite differences move the atoms of one object, too.
    mistake(state.KeepsReference, "moved_atoms", "forces", "forces_in_crystal", "stress"),
    mistake(state.IgnoresNumbers, "changed_numbers"),
    mistake(state.IgnoresCell, "changed_cell"),
    mistake(state.IgnoresPbcChange, "changed_pbc"),
    mistake(state.StaleCharge, "changed_charge", "charge_leak"),
    mistake(state.RemembersCharge, "charge_leak"),
    mistake(state.ComparesInfo, "info_arrays"),
    mistake(state.SizeOfFirst, "alternating_structures", "shared_by_threads"),
    mistake(state.ReusedBuffer, "shared_arrays"),
    mistake(state.NoCopies, "shared_arrays"),
    # ASE sees moved atoms and calculates again.
    mistake(state.WrapsAtoms, "atoms_untouched", "one_pass"),
    mistake(state.AcceptsNaN, "nan_positions"),
    mistake(state.HalfResults, "after_error"),
    mistake(state.Noisy, "energy_noise", "repeatable"),
    mistake(state.SetsDefaultDtype, "torch_state"),
    mistake(state.NeedsGradMode, "torch_state"),
    mistake(state.LeavesGradModeOff, "torch_state"),
    mistake(state.SetsThreads, "torch_state"),
    mistake(state.SilencesNumpy, "numpy_errors"),
    mistake(state.SeedsNumpy, "random_state"),
    mistake(state.SeedsTorch, "random_state"),
    mistake(state.MakesFolder, "working_directory"),
    mistake(state.SetsVariable, "environment"),
    mistake(state.SilencesWarnings, "environment"),
    mistake(state.Prints, "silence"),
    mistake(state.PrintsFromC, "silence"),
    mistake(state.KeepsHistory, "memory"),
    mistake(state.GlobalResults, "two_instances"),
    mistake(state.Unlocked, "shared_by_threads"),
]
