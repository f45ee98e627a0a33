"""How far results follow a structure that turns, is mirrored, moves, or whose atoms come in another order.

What a model says of itself (:attr:`molcalc.models.network.Network.fixed_in_space`) decides what is expected of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from ase import Atoms
from jaxtyping import Float64

from molcalc.analysis.molecular_potential import calculator_with_charges
from molcalc.analysis.motions import MOTIONS, Motion
from molcalc.analysis.surface import VdwSurface
from molcalc.calculators.base import MolCalculator
from molcalc.errors import ConfigError, InputError
from molcalc.prediction.batching import check_images
from molcalc.prediction.points import charge_sites, potential_at
from molcalc.prediction.results import Prediction, has_volume
from molcalc.properties import DIPOLE, PROPERTIES, VOIGT, Property, from_voigt
from molcalc.surroundings import own_settings

N_MOTIONS = 5
"""Random motions of each kind that every structure makes."""
MOST_MOVED = 1_000_000
"""Structures after motions, which are held together."""
POINTS_PER_AREA = 0.5
"""Points of the potential per Å² of the surface at 1.4 van der Waals radii."""
ROUNDING = {"eV": 1e-5, "eV/Å": 1e-4, "eV/Å³": 1e-6, "e·Å": 1e-5, "e·Å²": 1e-4, "e": 1e-5, "Å": 1e-5, "V": 1e-4}
"""Largest change that single precision explains, by unit; of sums over atoms, for each atom. About ten times what
random networks of every kind show."""
IN_DOUBLE = 1e-4
"""Of that, what double precision explains."""
_BY_NAME = {record.ase_name or name: record for name, record in PROPERTIES.items()}
"""Records by the names that results have."""
_SPREADS = ("energy_std", "forces_std", "charges_std")


@dataclass(frozen=True)
class MotionError:
    """Error of one property after motions of one kind: what it is, less what it should have become.

    Attributes
    ----------
    motion : one of :data:`molcalc.analysis.motions.MOTIONS`.
    name : of the property.
    unit : of the errors.
    mean, deviation : over structures and motions, of the mean over atoms, points or sites; of vectors their length.
    largest : of all atoms, points and sites.
    allowed : largest error that rounding explains.
    declared : whether the model says that the property follows.
    n : structures times motions.
    """

    motion: str
    name: str
    unit: str
    mean: float
    deviation: float
    largest: float
    allowed: float
    declared: bool
    n: int

    @property
    def kept(self) -> bool:
        """Whether the model does what it declares."""
        return not self.declared or self.largest <= self.allowed


@dataclass(frozen=True)
class EquivarianceErrors:
    """Errors of a model after motions that change nothing.

    Attributes
    ----------
    model, dtype : which it is, and its arithmetic.
    n_structures : how many moved.
    errors : of every motion and property.
    """

    model: str
    dtype: str
    n_structures: int
    errors: tuple[MotionError, ...]

    @property
    def kept(self) -> bool:
        """Whether the model does all that it declares."""
        return not self.broken

    @cached_property
    def broken(self) -> tuple[MotionError, ...]:
        """What should follow and does not."""
        return tuple(error for error in self.errors if not error.kept)

    def of(self, motion: str, name: str) -> MotionError:
        """The error of one property after one kind of motion.

        Returns
        -------
        error with its statistics

        Raises
        ------
        ConfigError
            When it was not measured.
        """
        for error in self.errors:
            if (error.motion, error.name) == (motion, name):
                return error
        known = sorted({error.name for error in self.errors})
        raise ConfigError(f"no error of {name!r} after {motion!r}; measured are {', '.join(known)}")


@own_settings()
def equivariance_errors(
    images: Atoms | Sequence[Atoms],
    calc: MolCalculator | None = None,
    *,
    motions: int = N_MOTIONS,
    named: Sequence[Motion] = (),
    kinds: Sequence[str] = MOTIONS,
    seed: int = 0,
) -> EquivarianceErrors:
    """Turn, mirror, move and renumber structures, and see whether everything that a model predicts follows.

    >>> errors = equivariance_errors(images, PhysNetDCM("runs/co2"))
    >>> errors.of("rotation", "dipole").largest, errors.kept

    Beside the results of the calculator, the potential is compared, at points on the surface that move along: that of
    the distributed charges where the model has them. Periodic structures have neither potential nor dipole here.

    Parameters
    ----------
    images : a structure, or several.
    calc : any calculator of molcalc; None takes that of the first structure.
    motions : random ones of each kind for every structure.
    named : motions that all structures make, in place of random ones of their kinds.
    kinds : of motions, any of :data:`molcalc.analysis.motions.MOTIONS`.
    seed : of random motions.

    Returns
    -------
    mean, deviation and largest of each error, and whether the model does what it declares

    Raises
    ------
    InputError
        Without structures, for one that the model cannot describe, or without a calculator of molcalc.
    ConfigError
        For no motion, more than :data:`MOST_MOVED` structures that move, or a kind that there is not.
    """
    structures = check_images([images] if isinstance(images, Atoms) else images)
    if not structures:
        raise InputError("no structures that could move")
    calculator = calculator_with_charges(structures[0], calc)
    if motions < 1 or not kinds:
        raise ConfigError(f"motions={motions} of kinds={list(kinds)}: give at least one of each")
    if motions * len(kinds) * len(structures) > MOST_MOVED:
        raise ConfigError(
            f"motions={motions} of {len(kinds)} kinds make {motions * len(kinds) * len(structures):,} structures of "
            f"{len(structures):,}; at most {MOST_MOVED:,} are compared: give fewer"
        )
    moving = list(_moving(structures, motions, named, kinds, seed))
    measured = _Measured.of(calculator, structures)
    found = measured.results(  # together: a batch of another size is computed in another order, and rounded otherwise
        [*structures, *(motion.of_atoms(structures[k]) for k, motion in moving)],
        [
            *(_points(atoms) for atoms in structures),
            *(motion.of_points(_points(structures[k]), structures[k]) for k, motion in moving),
        ],
    )
    before, after = found[: len(structures)], found[len(structures) :]
    collected: dict[tuple[str, str], list[np.ndarray]] = {}
    for (k, motion), results in zip(moving, after):
        for name, values in results.items():
            expected = motion.of_values(_BY_NAME[name], before[k][name], structures[k])
            collected.setdefault((motion.kind, name), []).append(_lengths(_BY_NAME[name], values - expected))
    sizes = max(len(atoms) for atoms in structures)
    return EquivarianceErrors(
        calculator.model,
        measured.dtype,
        len(structures),
        tuple(measured.error(motion, name, errors, sizes) for (motion, name), errors in collected.items()),
    )


def _moving(
    structures: Sequence[Atoms], motions: int, named: Sequence[Motion], kinds: Sequence[str], seed: int
) -> Iterator[tuple[int, Motion]]:
    """Numbers of structures, each with the motions it makes; those of one kind together."""
    rng = np.random.default_rng(seed)
    for kind in kinds:
        own = [motion for motion in named if motion.kind == kind]
        for k, atoms in enumerate(structures):
            yield from ((k, motion) for motion in own or (Motion.random(kind, len(atoms), rng) for _ in range(motions)))


def _points(atoms: Atoms) -> Float64[np.ndarray, "n_points 3"]:
    return VdwSurface.around(atoms, density=POINTS_PER_AREA).points


def _lengths(record: Property, differences: np.ndarray) -> Float64[np.ndarray, " n"]:
    """Absolute values of numbers, lengths of vectors and tensors."""
    components = differences.ndim - record.rank
    return np.sqrt((differences**2).sum(axis=tuple(range(components, differences.ndim)))).reshape(-1)


@dataclass(frozen=True)
class _Measured:
    """What is measured of a model, of structures of one kind.

    Attributes
    ----------
    names : of results of its predictor.
    source : charges that make the potential; None where there is no potential.
    """

    calculator: MolCalculator
    names: tuple[str, ...]
    source: str | None

    @classmethod
    def of(cls, calculator: MolCalculator, structures: Sequence[Atoms]) -> _Measured:
        predictor = calculator.predictor
        known = [name for name in (*predictor.properties, *predictor.extra_properties) if name in _BY_NAME]
        left_out = set(_SPREADS)
        if not all(has_volume(atoms) for atoms in structures):
            left_out.add("stress")
        source = None
        if any(atoms.pbc.any() for atoms in structures):
            left_out.update(name for name in known if _BY_NAME[name].quantity is DIPOLE)
        elif "charges" in known:
            source = "distributed" if "dcm_charges" in known else "charges"
        return cls(calculator, tuple(name for name in known if name not in left_out), source)

    @property
    def dtype(self) -> str:
        """Arithmetic of the network."""
        return str(self.calculator.predictor.provenance()["dtype"])

    def results(
        self, structures: Sequence[Atoms], points: Iterable[Float64[np.ndarray, "n_points 3"]]
    ) -> list[dict[str, np.ndarray]]:
        """Results of each structure as arrays, stress as a matrix, and the potential at its points."""
        predictor = self.calculator.predictor
        found = predictor.evaluate(structures, self.names)
        for values, atoms, where in zip(found, structures, points):
            if self.source is not None:
                values["esp"] = self._potential(values, atoms, where)
            if "stress" in values:
                values["stress"] = from_voigt(values["stress"], VOIGT)
        return [{name: np.asarray(value) for name, value in values.items()} for values in found]

    def _potential(self, values: dict[str, Any], atoms: Atoms, points: np.ndarray) -> np.ndarray:
        extras = self.calculator.predictor.extra_properties
        prediction = Prediction(
            {name: value for name, value in values.items() if name not in extras},
            {name: value for name, value in values.items() if name in extras},
        )
        source = str(self.source)
        return potential_at(points, atoms, lambda: charge_sites(atoms, prediction, source))

    def error(self, motion: str, name: str, errors: Sequence[np.ndarray], n_atoms: int) -> MotionError:
        """Statistics of the errors of a property after all motions of a kind."""
        record = _BY_NAME[name]
        means = [float(each.mean()) for each in errors]
        allowed = ROUNDING[record.unit] * (IN_DOUBLE if self.dtype == "float64" else 1.0)
        turns = record.name not in self.calculator.potential.fixed_in_space
        return MotionError(
            motion,
            record.name,
            record.unit,
            float(np.mean(means)),
            float(np.std(means)),
            max(float(each.max()) for each in errors),
            allowed * (n_atoms if record.kind == "system" else 1),
            turns or motion not in ("rotation", "reflection"),
            len(errors),
        )
