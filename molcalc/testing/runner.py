"""The table of checks, and the function that runs them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TypeVar

from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from molcalc.errors import ConfigError
from molcalc.testing import caching, interface, load, physics, surroundings
from molcalc.testing.check_report import CheckFailedError, CheckSkippedError, Failure, Report, Skip
from molcalc.testing.process import capture_output
from molcalc.testing.subject import CalculatorFactory, NoStructureError, Subject, describe_error

Tested = TypeVar("Tested")
"""What the checks of a table look at."""

CHECKS: dict[str, Callable[[Subject], None]] = {
    "property_names": interface.property_names,
    "properties_delivered": interface.properties_delivered,
    "scalar_types": interface.scalar_types,
    "array_types": interface.array_types,
    "free_energy": interface.free_energy,
    "one_pass": interface.one_pass,
    "todict": interface.todict,
    "database": interface.database,
    "deepcopy": interface.deepcopy,
    "pickle": interface.pickling,
    "energy_noise": physics.energy_noise,
    "forces": physics.forces,
    "forces_in_crystal": physics.forces_in_crystal,
    "stress": physics.stress,
    "stress_of_molecule": physics.stress_of_molecule,
    "periodic_images": physics.periodic_images,
    "translation": physics.translation,
    "rotation": physics.rotation,
    "reflection": physics.reflection,
    "permutation": physics.permutation,
    "isolated_atom": physics.isolated_atom,
    "moved_atoms": caching.moved_atoms,
    "changed_numbers": caching.changed_numbers,
    "changed_cell": caching.changed_cell,
    "changed_pbc": caching.changed_pbc,
    "changed_charge": caching.changed_charge,
    "charge_leak": caching.charge_leak,
    "info_arrays": caching.info_arrays,
    "alternating_structures": caching.alternating_structures,
    "shared_arrays": caching.shared_arrays,
    "atoms_untouched": caching.atoms_untouched,
    "nan_positions": caching.nan_positions,
    "after_error": caching.after_error,
    "repeatable": caching.repeatable,
    "torch_state": surroundings.torch_state,
    "numpy_errors": surroundings.numpy_errors,
    "random_state": surroundings.random_state,
    "working_directory": surroundings.working_directory,
    "environment": surroundings.environment,
    "silence": surroundings.silence,
    "memory": load.memory,
    "two_instances": load.two_instances,
    "shared_by_threads": load.shared_by_threads,
}


def check_calculator(
    factory: CalculatorFactory,
    quiet: bool = False,
    *,
    atoms: Atoms | None = None,
    skip: Collection[str] = (),
    charge_aware: bool | None = None,
    tolerance: float = 1e-4,
    memory_steps: int = 2000,
    time_budget: float = 60.0,
) -> Report:
    """Check an ASE calculator for the mistakes that calculators in this field make.

    Every check is independent: one that fails or raises does not keep the others from running.

    Parameters
    ----------
    factory : called without arguments, returns a new calculator at every call.
    quiet : do not print the report.
    atoms : structure to test with, best a small one of several elements and without symmetry. By
        default a rattled methanol molecule, or water, methane, or a carbon, nickel, silicon or argon
        cluster, whichever is accepted first. A crystal is made by putting a molecule in a narrow box;
        a structure that is periodic in all directions is used itself.
    skip : names of checks that are not run (``molcalc.testing.CHECKS`` holds all).
    charge_aware : whether energies depend on ``atoms.info["charge"]``. None compares fresh calculators
        to find out; True makes it a failure if they do not.
    tolerance : allowed error of forces and stress against finite differences, relative to the largest
        component. The displacement follows from the measured noise of the energy, and what the noise
        leaves uncertain is allowed on top: a float32 calculator is not failed for its rounding.
    memory_steps : evaluations over which memory must not grow; 0 leaves that check out.
    time_budget : seconds that the memory check may take; with less, it makes fewer evaluations.

    Returns
    -------
    Report with ``ok``, ``failures``, ``skipped`` and ``passed``.

    Raises
    ------
    ConfigError
        If ``skip`` holds a name that is not a check, or the factory is a calculator itself, or returns the same object
        twice.
    """
    refuse_unknown_checks(skip, CHECKS)
    if isinstance(factory, BaseCalculator) or not callable(factory):
        name = type(factory).__name__
        raise ConfigError(
            f"check_calculator needs a function that makes a new calculator at every call, and got a {name}: "
            f"check_calculator(lambda: {name}(…)), because a used one remembers and copies may share"
        )
    try:
        subject = Subject(
            factory,
            atoms,
            charge_aware=charge_aware,
            tolerance=tolerance,
            memory_steps=memory_steps,
            time_budget=time_budget,
        )
    except ConfigError:
        raise
    except Exception as error:  # a calculator that cannot be made or used is a result of this check
        report = _report_unusable(error)
    else:
        report = Report(subject.calculator_name, subject.atoms.get_chemical_formula())
        run_checks(report, CHECKS, subject, skip)
    if not quiet:
        print(report)
    return report


def refuse_unknown_checks(skip: Collection[str], checks: Mapping[str, object]) -> None:
    """Raise ConfigError for a name that is not a check."""
    unknown = sorted(set(skip) - set(checks))
    if unknown:
        raise ConfigError(f"skip={unknown} are not checks; choose from {', '.join(checks)}")


def run_checks(
    report: Report, checks: Mapping[str, Callable[[Tested], None]], subject: Tested, skip: Collection[str]
) -> None:
    """Run all checks of a table but those to skip, and write down what they say."""
    for name, check in checks.items():
        if name in skip:
            report.skipped.append(Skip(name, "left out by the caller"))
            continue
        try:
            # What a verbose calculator prints would bury the report; 'silence' looks at it.
            with capture_output():
                check(subject)
        except CheckFailedError as failure:
            report.failures.append(Failure(name, str(failure)))
        except CheckSkippedError as reason:
            report.skipped.append(Skip(name, str(reason)))
        except Exception as error:  # an unexpected error is a failure of this check alone
            report.failures.append(Failure(name, f"raises {describe_error(error)}"))
        else:
            report.passed.append(name)


def _report_unusable(error: Exception) -> Report:
    """Report a calculator that the checks cannot be run with."""
    if isinstance(error, NoStructureError):
        sentence = f"no test structure is accepted; give one with atoms= ({error})"
    else:
        sentence = f"the calculator cannot be made: {describe_error(error)}"
    report = Report("calculator", "no structure", failures=[Failure("usable", sentence)])
    report.skipped = [Skip(name, "there is no usable calculator") for name in CHECKS]
    return report
