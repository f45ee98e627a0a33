"""Checks of what every potential obeys: derivatives, symmetries, the limits of one atom and of images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculatorError
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.stress import full_3x3_to_voigt_6_stress

from molcalc.testing.check_report import CheckFailedError, CheckSkippedError
from molcalc.testing.noise import Derivative, Noise, differentiate
from molcalc.testing.structures import RATTLE, displaced, random_rotation, strained, transformed
from molcalc.testing.subject import SAME_STRUCTURE, EnergyAndForces, Subject, describe_error

# A float32 network with a float64 total stays below 1e-6 eV per atom; a float32 total does not.
LARGEST_NOISE_PER_ATOM = 1e-5
# Error of a finite difference, relative to the largest component, above which it decides nothing.
LARGEST_UNCERTAINTY = 0.2
MAX_FORCE_ATOMS = 4
MAX_FORCE_ATOMS_CRYSTAL = 2

FAR_FROM_ORIGIN = 1000.0
# Casting positions (not distances) to float32 costs 3e-3 eV/Å at 1000 Å.
FORCE_CHANGE_FAR = 1e-4
# Rounding of a float32 network in another orientation or order.
SYMMETRY_ENERGY_PER_ATOM = 1e-5
SYMMETRY_FORCES = 1e-4
RELATIVE_SYMMETRY = 1e-5

VOIGT_NAMES = ("xx", "yy", "zz", "yz", "xz", "xy")


def energy_noise(subject: Subject) -> None:
    """The energy resolves small displacements: float32 totals stop line searches and spoil MD."""
    allowed = LARGEST_NOISE_PER_ATOM * len(subject.atoms) + 1e-12 * abs(subject.standard.energy)
    if subject.noise.energy > allowed:
        raise CheckFailedError(
            f"the energy {subject.standard.energy:.6g} eV has a noise of {subject.noise.energy:.2g} eV "
            f"(allowed: {allowed:.2g}): sum it in float64"
        )


def forces(subject: Subject) -> None:
    """Forces are the negative derivative of the energy with respect to the positions."""
    # A structure given by the user may be symmetric, without any force.
    _check_forces(subject, displaced(subject.atoms, RATTLE), subject.noise, MAX_FORCE_ATOMS)


def forces_in_crystal(subject: Subject) -> None:
    """With periodic images, too, forces are the negative derivative of the energy."""
    if subject.atoms.pbc.all():
        raise CheckSkippedError("the test structure is a crystal: see 'forces'")
    crystal = subject.crystal
    _check_forces(subject, crystal, subject.measure_noise(crystal), MAX_FORCE_ATOMS_CRYSTAL)


def _check_forces(subject: Subject, atoms: Atoms, noise: Noise, max_atoms: int) -> None:
    analytic = subject.reference(atoms).forces
    if analytic is None:
        raise CheckSkippedError("forces are not implemented")
    chosen = np.sort(np.random.default_rng(0).permutation(len(atoms))[:max_atoms])
    atoms.calc = subject.new()
    consistent = subject.has_free_energy
    numeric = differentiate(
        lambda eps: calculate_numerical_forces(atoms, eps=eps, iatoms=chosen, force_consistent=consistent),
        noise.energy,
        float(np.abs(analytic).max()),
    )
    found = analytic[chosen]
    scale = max(float(np.abs(analytic).max()), float(np.abs(numeric.value).max()))
    _require_resolved(numeric, scale, "eV/Å")
    allowed = subject.tolerance * scale + numeric.error + SAME_STRUCTURE * noise.forces
    if np.abs(found - numeric.value).max() <= allowed:
        return
    if np.abs(found + numeric.value).max() <= allowed:
        raise CheckFailedError("the forces have the opposite sign: they are dE/dr instead of -dE/dr")
    row, axis = np.unravel_index(np.argmax(np.abs(found - numeric.value)), found.shape)
    raise CheckFailedError(
        f"the forces are not -dE/dr: atom {chosen[row]}, {'xyz'[axis]}: {found[row, axis]:.6g} instead of "
        f"{numeric.value[row, axis]:.6g} eV/Å (finite differences with a step of {numeric.step:.1g} Å, error "
        f"below {numeric.error:.1g})"
    )


def _require_resolved(numeric: Derivative, scale: float, unit: str) -> None:
    """Skip when the finite differences are too uncertain to judge anything."""
    if numeric.error > LARGEST_UNCERTAINTY * scale:
        raise CheckSkippedError(
            f"finite differences have an error of up to {numeric.error:.2g} {unit} (noise of the energy) and the "
            f"largest component is {scale:.2g} {unit}"
        )


def stress(subject: Subject) -> None:
    """Stress is the strain derivative of the energy per volume, in ASE's sign and Voigt order."""
    if "stress" not in subject.implemented:
        raise CheckSkippedError("stress is not implemented")
    crystal = subject.crystal
    found = np.asarray(subject.new().get_property("stress", crystal), dtype=float)
    if found.shape == (3, 3):
        # The shape is judged by array_types, the numbers here.
        found = full_3x3_to_voigt_6_stress(found)
    volume = crystal.get_volume()
    # A strain of step/length moves neighboring images by about the step.
    length = volume ** (1 / 3)
    noise = subject.measure_noise(crystal, lambda step: strained(crystal, step / length))
    crystal.calc = subject.new()
    consistent = subject.has_free_energy
    numeric = differentiate(
        lambda step: calculate_numerical_stress(crystal, eps=step / length, force_consistent=consistent),
        noise.energy * length / volume,
        float(np.abs(found).max()),
    )
    scale = max(float(np.abs(found).max()), float(np.abs(numeric.value).max()))
    _require_resolved(numeric, scale, "eV/Å³")
    rounding = noise.forces * length / volume
    allowed = subject.tolerance * scale + numeric.error + SAME_STRUCTURE * rounding
    if np.abs(found - numeric.value).max() <= allowed:
        _require_distinct(numeric.value, 2 * allowed)
        return
    raise CheckFailedError(_explain_stress(found, numeric.value, allowed))


def _require_distinct(value: np.ndarray, resolution: float) -> None:
    """Skip when exchanged or reversed components could not have been noticed."""
    differences = np.abs(value[:, None] - value[None, :]) + np.where(np.eye(6), np.inf, 0)
    if min(differences.min(), np.abs(value).max()) <= resolution:
        raise CheckSkippedError(
            "the stress is right within the error of finite differences, which is too large here to tell the "
            "components from each other"
        )


def _explain_stress(found: np.ndarray, numeric: np.ndarray, allowed: float) -> str:
    if np.abs(found + numeric).max() <= allowed:
        return "the stress has the opposite sign: it is positive under tension"
    if np.abs(np.sort(found) - np.sort(numeric)).max() <= allowed:
        order = [VOIGT_NAMES[int(np.abs(numeric - value).argmin())] for value in found]
        return f"the stress components are in the order {', '.join(order)} instead of {', '.join(VOIGT_NAMES)}"
    worst = int(np.abs(found - numeric).argmax())
    return (
        f"the stress is not the strain derivative of the energy: {VOIGT_NAMES[worst]}: {found[worst]:.6g} "
        f"instead of {numeric[worst]:.6g} eV/Å³ (allowed difference: {allowed:.1g})"
    )


def stress_of_molecule(subject: Subject) -> None:
    """A molecule without a cell has no volume: its stress is refused."""
    if "stress" not in subject.implemented:
        raise CheckSkippedError("stress is not implemented")
    molecule = subject.atoms
    molecule.pbc = False
    molecule.cell = None
    try:
        value = subject.new().get_property("stress", molecule)
    except Exception as error:  # what ASE takes for a refusal, and what looks like a crash
        refused = isinstance(error, (NotImplementedError, ValueError, CalculatorError))
        if refused and not isinstance(error, np.linalg.LinAlgError):
            return
        raise CheckFailedError(
            f"the stress of a molecule ends in {describe_error(error)} instead of a PropertyNotImplementedError"
        ) from error
    raise CheckFailedError(
        f"the stress of a molecule without a cell is {value} instead of a PropertyNotImplementedError"
    )


def periodic_images(subject: Subject) -> None:
    """Images are seen when ``pbc`` is set: a calculator for molecules refuses it, not ignores it."""
    crystal = subject.crystal
    alone = crystal.copy()
    alone.pbc = False
    alone.cell = None
    try:
        without = subject.reference(alone)
    except Exception as error:  # any refusal: there is nothing to compare with
        raise CheckSkippedError(f"a structure that is not periodic is refused ({describe_error(error)})") from error
    try:
        subject.require_same(subject.reference(crystal), without, "with images")
    except CheckFailedError:
        return
    raise CheckFailedError(
        "pbc is ignored: a molecule in a narrow periodic box has the energy and forces of the molecule alone; "
        "refuse periodic structures if they are not supported"
    )


def translation(subject: Subject) -> None:
    """Far from the origin, energy and forces are the same: positions are not rounded to float32."""
    atoms = subject.atoms
    atoms.positions += FAR_FROM_ORIGIN * np.array([1.0, -1.0, 1.0]) / np.sqrt(3)
    slack = (SYMMETRY_ENERGY_PER_ATOM * len(atoms), FORCE_CHANGE_FAR + 1e-6 * subject.force_scale)
    when = f"{FAR_FROM_ORIGIN:.0f} Å from the origin"
    subject.require_same(subject.reference(atoms), subject.standard, when, slack=slack)


def rotation(subject: Subject) -> None:
    """Energy is invariant and forces turn with the structure."""
    _check_transformed(subject, random_rotation(1), "after a rotation")


def reflection(subject: Subject) -> None:
    """A mirror image has the same energy and mirrored forces."""
    _check_transformed(subject, random_rotation(2) @ np.diag([1.0, 1.0, -1.0]), "in the mirror image")


def _check_transformed(subject: Subject, matrix: np.ndarray, when: str) -> None:
    found = subject.reference(transformed(subject.atoms, matrix))
    _require_symmetric(subject, found, lambda forces: forces @ matrix, when)


def permutation(subject: Subject) -> None:
    """The order of the atoms does not matter."""
    atoms = subject.atoms
    if len(atoms) == 1:
        raise CheckSkippedError("the test structure has one atom")
    order = np.arange(len(atoms))[::-1]
    _require_symmetric(
        subject,
        subject.reference(atoms[order]),
        lambda forces: forces[np.argsort(order)],
        "with the atoms in another order",
    )


def _require_symmetric(
    subject: Subject, found: EnergyAndForces, restore: Callable[[np.ndarray], np.ndarray], when: str
) -> None:
    """Compare with the original structure after bringing the forces back to its frame."""
    forces = None if found.forces is None else restore(found.forces)
    slack = (
        SYMMETRY_ENERGY_PER_ATOM * len(subject.atoms),
        SYMMETRY_FORCES + RELATIVE_SYMMETRY * subject.force_scale,
    )
    subject.require_same(EnergyAndForces(found.energy, forces), subject.standard, when, slack=slack)


def isolated_atom(subject: Subject) -> None:
    """One atom without neighbors has a finite energy and no force."""
    numbers = subject.atoms.numbers
    # An even number of electrons needs no spin.
    number = next((number for number in numbers if number % 2 == 0), numbers[0])
    atom = Atoms([number], [[0.3, -0.2, 0.1]])
    if subject.atoms.pbc.any():
        atom.cell = 5 * subject.atoms.cell.array
        atom.pbc = subject.atoms.pbc
    energy, forces = subject.reference(atom)
    if not np.isfinite(energy):
        raise CheckFailedError(f"the energy of one {atom.symbols} atom is {energy}")
    if forces is not None and not np.abs(forces).max() <= 1e-6:
        raise CheckFailedError(f"one {atom.symbols} atom alone feels the force {forces[0]} eV/Å")
