"""Checks of what every potential obeys: derivatives, symmetries, limits, smoothness."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from molcalc.derivatives import evaluate
from molcalc.second_derivatives import second_derivatives
from molcalc.testing.check_report import CheckFailedError, CheckSkippedError
from molcalc.testing.potential_subject import BatchResults, PotentialSubject, Sample, rank_of, require_equal
from molcalc.testing.structures import random_rotation

DIFFERENCE_STEP, STRAIN = 1e-3, 2e-4
"""Å, and strain, of central differences; a second one with twice the step removes the leading error."""
DERIVATIVE = 1e-5
"""Allowed error of a derivative, relative to the largest one."""
SMALLEST_SCALE = 1e-2
"""eV/Å; derivatives of potentials that are nearly flat are compared with this."""
MOVED_IN_CRYSTAL = 2
"""Atoms whose forces are compared with differences; crystals have many edges."""
TRANSLATIONS = (10.0, 1e3, 1e5)
"""Å."""
DISTANCE_ROUNDING = 1e-14
"""Relative change of a distance by the rounding of positions, per Å of their distance from the origin."""
FAR, FARTHER = 40.0, 80.0
"""Å beyond the range of a network."""
OTHER_CELLS = {"skewed": [[1, 0, 0], [1, 1, 0], [0, -1, 1]], "left-handed": [[0, 1, 0], [1, 0, 0], [0, 0, 1]]}
"""Lattice vectors of the same lattice, in terms of the first ones."""
SCAN_STEPS = (2e-2, 2e-3, 2e-4)
"""Å; each scan looks closer at the worst places of the one before."""
WORST = 6
LARGEST_JUMP = 1e-3
"""Allowed jump of a force, relative to the largest one on the way."""
SCAN_START = 1.2
"""Å, where scans begin."""


def forces(subject: PotentialSubject) -> None:
    """Forces are the negative derivative of the energy by the positions."""
    for sample in (subject.sample, replace(subject.sample, charge=1)):
        _check_forces(subject, sample)


def forces_in_crystal(subject: PotentialSubject) -> None:
    """With periodic images, too, forces are the negative derivative of the energy."""
    _check_forces(subject, subject.crystal, MOVED_IN_CRYSTAL)


def _check_forces(subject: PotentialSubject, sample: Sample, n_moved: int | None = None) -> None:
    potential = subject.periodic if sample.atoms.pbc.any() else subject.potential
    found = subject.results(sample, potential=potential)["forces"].numpy()[:n_moved]
    numeric = -_derivative(lambda images: subject.energies(images, potential), sample, n_moved)
    _require_derivative(found, numeric.reshape(found.shape), "the forces are not -dE/dR", "eV/Å")


def _derivative(
    function: Callable[[list[Sample]], np.ndarray], sample: Sample, n_moved: int | None = None
) -> np.ndarray:
    """(3·n_moved, …) derivatives of a function of structures by positions of the first atoms, or of all."""

    def moved(move: np.ndarray, k: int) -> Sample:
        return sample.at(sample.atoms.positions + k * move)

    moves = DIFFERENCE_STEP * np.eye(3 * len(sample.atoms)).reshape(-1, len(sample.atoms), 3)
    wanted = moves if n_moved is None else moves[: 3 * n_moved]
    return _differences(function, [partial(moved, move) for move in wanted], DIFFERENCE_STEP)


def _differences(
    function: Callable[[list[Sample]], np.ndarray], paths: Sequence[Callable[[int], Sample]], step: float
) -> np.ndarray:
    """Derivatives along paths, of which each gives the structure after a whole number of steps."""
    values = function([path(k) for path in paths for k in (-2, -1, 1, 2)])
    values = values.reshape(len(paths), 4, *values.shape[1:])
    fine, coarse = values[:, 2] - values[:, 1], values[:, 3] - values[:, 0]
    return (8 * fine - coarse) / (12 * step)


def _require_derivative(found: np.ndarray, numeric: np.ndarray, what: str, unit: str) -> None:
    scale = max(float(np.abs(numeric).max(initial=0.0)), SMALLEST_SCALE)
    error = float(np.abs(found - numeric).max(initial=0.0))
    if not error <= DERIVATIVE * scale:
        opposite = float(np.abs(found + numeric).max()) <= DERIVATIVE * scale
        hint = "; they have the opposite sign" if opposite else ""
        raise CheckFailedError(f"{what}: off by up to {error:.2g} of {scale:.3g} {unit}{hint}")


def stress(subject: PotentialSubject) -> None:
    """Stress is the derivative of the energy by strain, per volume, and symmetric."""
    sample, potential = subject.crystal, subject.periodic
    found = subject.results(sample, potential=potential, properties=("stress",))["stress"][0].numpy()

    def strained(a: int, b: int, k: int) -> Sample:
        strain = np.zeros((3, 3))
        strain[a, b] += 0.5 * k * STRAIN
        strain[b, a] += 0.5 * k * STRAIN
        atoms = sample.atoms.copy()
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
        return replace(sample, atoms=atoms)

    upper = np.triu_indices(3)
    paths = [partial(strained, int(a), int(b)) for a, b in zip(*upper)]
    numeric = np.empty((3, 3))
    numeric[upper] = numeric.T[upper] = _differences(lambda images: subject.energies(images, potential), paths, STRAIN)
    volume = sample.atoms.get_volume()
    _require_derivative(volume * found, numeric, "the stress times the volume is not dE/dε", "eV")


def curvature(subject: PotentialSubject) -> None:
    """Hessian and derivatives of the dipole are finite and equal differences of forces and dipoles."""
    sample = min(subject.samples, key=lambda each: len(each.atoms))
    matrix, of_dipole = second_derivatives(subject.potential, subject.batch(sample))
    found = matrix.numpy()
    numeric = -_derivative(lambda images: _split(subject.results(*images)["forces"], images), sample)
    _require_derivative(found, numeric.reshape(found.shape), "the Hessian is not d²E/dR²", "eV/Å²")
    if of_dipole is not None:
        slopes = of_dipole.numpy().reshape(3, -1)
        numeric = _derivative(lambda images: subject.results(*images, properties=())["dipole"].numpy(), sample)
        _require_derivative(slopes, numeric.T, "the derivatives of the dipole are wrong", "e")


def _split(values: Tensor, images: list[Sample]) -> np.ndarray:
    """(n_images, …) values of equal structures."""
    return values.numpy().reshape(len(images), -1)


def gradient_mode(subject: PotentialSubject) -> None:
    """Results are the same whether gradients are recorded or not, and whether weights are trained or not."""
    batch, potential = subject.batch(*subject.samples), subject.potential
    plain = evaluate(potential, batch, ())
    require_equal(evaluate(potential, batch, ("forces",)), plain, "with forces")
    recorded = evaluate(potential, batch, ("forces",), create_graph=True)
    require_equal(_detached(recorded), plain, "when second derivatives are possible")
    potential.requires_grad_(True)
    try:
        require_equal(_detached(evaluate(potential, batch, ("forces",), create_graph=True)), _detached(recorded),
                      "when weights are trained")  # fmt: skip
    finally:
        potential.requires_grad_(False)


def _detached(results: BatchResults) -> BatchResults:
    return {name: value.detach() for name, value in results.items()}


def smoothness(subject: PotentialSubject) -> None:
    """Energy and forces do not jump where a third atom comes into the range of others."""
    elements = [z for z in subject.sample.atoms.numbers.tolist() if z in subject.potential.elements]
    fixed = Atoms([max(elements), min(elements)], [[0.0, 0.0, 0.0], [0.35, 0.95, 0.1]])
    moving = Atoms([max(elements)], [[0.0, 0.0, 0.0]])

    def scan(distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Energies, and forces on the third atom along the way."""
        images = []
        for distance in distances:
            atoms = fixed + moving
            atoms.positions[2, 0] = -distance
            images.append(Sample(atoms))
        found = subject.results(*images)
        return found["energy"].numpy(), -found["forces"][2::3, 0].numpy()

    places, largest, jumps = np.array([]), 0.0, np.array([])
    for level, step in enumerate(SCAN_STEPS):
        if level == 0:
            ways = [np.arange(SCAN_START, subject.potential.cutoff + 0.2, step)]
        else:
            wide = SCAN_STEPS[level - 1]
            ways = [np.arange(place - 1.5 * wide, place + 1.5 * wide, step) for place in places]
        energies, slopes = scan(np.concatenate(ways))
        largest = max(largest, float(np.abs(slopes).max()), SMALLEST_SCALE)
        ends = np.cumsum([len(way) for way in ways])[:-1]
        residuals = [_unexplained(e, f, step) for e, f in zip(np.split(energies, ends), np.split(slopes, ends))]
        where, jumps = np.concatenate([way[1:-1] for way in ways]), 3 * np.abs(np.concatenate(residuals)) / step
        places = where[np.argsort(jumps)[-WORST:]]
    if jumps.max() > LARGEST_JUMP * largest:
        raise CheckFailedError(
            f"an atom at {places[-1]:.3f} Å from another one feels a jump: what the forces do not explain of the "
            f"energy there amounts to {jumps.max():.2g} eV/Å, where the largest force is {largest:.2g} eV/Å"
        )


def _unexplained(energies: np.ndarray, forces: np.ndarray, step: float) -> np.ndarray:
    """Change of the energy over two steps that is not the work of the forces (Simpson's rule)."""
    work = -step / 3 * (forces[:-2] + 4 * forces[1:-1] + forces[2:])
    return energies[2:] - energies[:-2] - work


def one_atom(subject: PotentialSubject) -> None:
    """A single atom has an energy, no force, and carries the whole charge."""
    for charge in (0, 1):
        found = subject.results(Sample(Atoms([int(subject.sample.atoms.numbers[0])], [[1.0, 2.0, 3.0]]), charge))
        _require_finite(found, "of a single atom")
        if float(found["forces"].abs().max()) > 0:
            raise CheckFailedError(f"a single atom has a force of {float(found['forces'].abs().max()):.2g} eV/Å")
        if subject.charged and abs(float(found["charges"].sum()) - charge) > 1e-9:
            raise CheckFailedError(f"a single atom of charge {charge} has charge {float(found['charges'].sum()):.6g}")


def no_edges(subject: PotentialSubject) -> None:
    """Atoms that are out of each other's reach have finite energies and forces."""
    numbers = subject.sample.atoms.numbers[:3]
    apart = (subject.potential.cutoff + 3.0) * np.array([[0, 0, 0], [1, 0.1, 0.2], [0.1, 1.2, 0.9]])[: len(numbers)]
    sample = Sample(Atoms(numbers, apart))
    found = subject.results(sample)
    _require_finite(found, "of atoms without neighbors")
    require_equal(
        subject.results(sample, subject.sample),
        _joined(found, subject.standard),
        "beside others",
    )


def _joined(first: BatchResults, second: BatchResults) -> BatchResults:
    return {name: torch.cat([first[name], second[name]]) for name in first}


def _require_finite(results: BatchResults, of_what: str) -> None:
    bad = [name for name, value in results.items() if not bool(torch.isfinite(value).all())]
    if bad:
        raise CheckFailedError(f"{', '.join(bad)} {of_what}: not finite")


def translation(subject: PotentialSubject) -> None:
    """Nothing changes when the structure, here an ion, is somewhere else, at any distance from the origin."""
    ion = replace(subject.sample, charge=1)
    wanted = subject.results(ion)
    for distance in TRANSLATIONS:
        shift = distance * np.array([1.0, -0.7, 0.4])
        found = subject.results(ion.at(ion.atoms.positions + shift))
        if "dcm_positions" in found:
            found["dcm_positions"] = found["dcm_positions"] - torch.from_numpy(shift)
        slack = DISTANCE_ROUNDING * distance * max(1.0, subject.force_scale) * 1e2
        require_equal(found, wanted, f"{distance:g} Å away", slack=slack)


def rotation(subject: PotentialSubject) -> None:
    """What is a vector or a matrix turns with the structure, everything else stays."""
    _check_turned(subject, 1.0)


def reflection(subject: PotentialSubject) -> None:
    """The mirror image has mirrored results."""
    _check_turned(subject, -1.0)


def _check_turned(subject: PotentialSubject, sign: float) -> None:
    subject.require_energy_that_turns()
    for seed in range(3):
        matrix = sign * random_rotation(seed)
        found = subject.results(subject.sample.at(subject.sample.atoms.positions @ matrix.T))
        wanted = {
            name: _turned(value, torch.from_numpy(matrix), rank_of(name))
            for name, value in subject.standard.items()
            if name not in subject.fixed_in_space
        }
        require_equal(found, wanted, "turned and mirrored," if sign < 0 else "turned,")


def _turned(value: Tensor, matrix: Tensor, rank: int) -> Tensor:
    value = value.double()
    if rank == 0:
        return value
    return value @ matrix.T if rank == 1 else matrix @ value @ matrix.T


def permutation(subject: PotentialSubject) -> None:
    """The order of the atoms does not matter."""
    atoms = subject.sample.atoms
    order = np.random.default_rng(3).permutation(len(atoms))
    found = subject.results(replace(subject.sample, atoms=atoms[order]))
    wanted = {name: value[order] if len(value) == len(atoms) else value for name, value in subject.standard.items()}
    require_equal(found, wanted, "in another order,")


def lattice(subject: PotentialSubject) -> None:
    """Atoms may be given in any cell, and by any lattice vectors of the same lattice."""
    sample = subject.crystal
    before = _of_crystal(subject, sample)
    cells = np.random.default_rng(0).integers(-2, 3, size=(len(sample.atoms), 3))
    moved = sample.at(sample.atoms.positions + cells @ sample.atoms.cell.array)
    require_equal(_of_crystal(subject, moved), before, "with atoms moved by lattice vectors")
    for name, change in OTHER_CELLS.items():
        other = sample.atoms.copy()
        other.set_cell(np.array(change) @ other.cell.array)
        require_equal(_of_crystal(subject, replace(sample, atoms=other)), before, f"with {name} lattice vectors")


def supercell(subject: PotentialSubject) -> None:
    """Two cells have twice the energy, and the same forces and stress."""
    sample = subject.crystal
    if subject.open_shell and sample.spin != 1:
        raise CheckSkippedError("one cell has an unpaired electron, two cells have none")
    small = _of_crystal(subject, sample)
    large = _of_crystal(subject, replace(sample, atoms=sample.atoms.repeat((2, 1, 1))))
    wanted = {name: torch.cat([value, value]) if len(value) == len(sample.atoms) else value
              for name, value in small.items()}  # fmt: skip
    wanted["energy"] = 2 * small["energy"]
    require_equal(large, wanted, "in two cells")


def _of_crystal(subject: PotentialSubject, sample: Sample) -> BatchResults:
    """Results that the choice of the cell must not change."""
    found = subject.results(sample, potential=subject.periodic, properties=("forces", "stress"))
    names = ("energy", "atomic_energies", "forces", "stress", "charges", "spin_charges", "dcm_charges")
    return {name: found[name] for name in names if name in found}


def locality(subject: PotentialSubject) -> None:
    """Without energy terms, molecules out of each other's reach do not feel how far apart they are."""
    near, far = (
        subject.results(_apart(subject, subject.alone.cutoff + distance), potential=subject.alone, properties=())
        for distance in (FAR, FARTHER)
    )
    names = ("energy", "atomic_energies", "charges", "spin_charges")
    require_equal({name: far[name] for name in names if name in far}, near, "when molecules far apart move on,")


def extensivity(subject: PotentialSubject) -> None:
    """Without energy terms, the energies of molecules out of each other's reach add up."""
    if not subject.network.extensive:
        raise CheckSkippedError(f"{type(subject.network).__name__} does not claim it")
    together = _apart(subject, subject.alone.cutoff + FAR)
    found = subject.results(together, potential=subject.alone, properties=())["atomic_energies"]
    wanted = subject.results(*_pair(subject), potential=subject.alone, properties=())["atomic_energies"]
    require_equal({"atomic_energies": found}, {"atomic_energies": wanted}, "of two molecules far apart")


def _pair(subject: PotentialSubject) -> tuple[Sample, Sample]:
    return subject.samples[0], subject.samples[-1]


def _apart(subject: PotentialSubject, distance: float) -> Sample:
    """Two molecules as one structure."""
    first, second = (sample.atoms.copy() for sample in _pair(subject))
    second.translate([distance + np.ptp(first.positions, axis=0).max(), 0.0, 0.0])
    return Sample(first + second)
