"""Motions that change no molecule: rotation, reflection, translation, and another order of the atoms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from ase import Atoms
from jaxtyping import Float64
from scipy.spatial.transform import Rotation

from molcalc.errors import ConfigError, suggest
from molcalc.properties import LENGTH, Property
from molcalc.train.loop.augmentation import random_rotations

MOTIONS = ("rotation", "reflection", "translation", "permutation")
USUAL_SHIFT = 5.0
"""Å, standard deviation of each component of a random translation."""
FARTHEST_SHIFT = 1e6
"""Å, up to which positions keep ten decimals."""
_AXES = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}


@dataclass(frozen=True, eq=False)
class Motion:
    """Motion of a whole structure, and the order that its atoms are in afterwards.

    .. math:: r' = c + M (r - c) + t

    with the mean c of the positions.

    Attributes
    ----------
    kind : one of :data:`MOTIONS`.
    name : in words, for titles.
    matrix : (3, 3) M, orthogonal.
    shift : (3,) t in Å.
    order : (n_atoms,) which atom stands in each place afterwards; None where they stay.
    """

    kind: str
    name: str
    matrix: Float64[np.ndarray, "3 3"] = field(default_factory=lambda: np.eye(3))
    shift: Float64[np.ndarray, " 3"] = field(default_factory=lambda: np.zeros(3))
    order: np.ndarray | None = None

    @classmethod
    def rotation(cls, angle: float, axis: str | Sequence[float] = "z") -> Motion:
        """Rotation about an axis through the middle of the structure.

        Parameters
        ----------
        angle : degrees, counterclockwise when the axis points to the viewer.
        axis : "x", "y", "z", or a direction of any length.

        Returns
        -------
        motion

        Raises
        ------
        ConfigError
            When they are no angle and no direction.
        """
        if not np.isfinite(angle):
            raise ConfigError(f"angle={angle}: expected a number of degrees")
        direction = _direction(axis, "axis")
        matrix = Rotation.from_rotvec(np.radians(angle) * direction).as_matrix()
        return cls("rotation", f"rotated by {angle:g}° about {_named(axis)}", matrix)

    @classmethod
    def reflection(cls, normal: str | Sequence[float] = "z") -> Motion:
        """Reflection through a plane in the middle of the structure.

        Parameters
        ----------
        normal : of the plane, as the axis of :meth:`rotation`.

        Returns
        -------
        motion

        Raises
        ------
        ConfigError
            When it is no direction.
        """
        direction = _direction(normal, "normal")
        matrix = np.eye(3) - 2.0 * np.outer(direction, direction)
        return cls("reflection", f"reflected along {_named(normal)}", matrix)

    @classmethod
    def translation(cls, vector: Sequence[float]) -> Motion:
        """Translation by a vector in Å.

        Returns
        -------
        motion

        Raises
        ------
        ConfigError
            When it is not three numbers, or so long that positions lose digits.
        """
        shift = _vector(vector, "translation")
        if np.abs(shift).max() > FARTHEST_SHIFT:
            raise ConfigError(
                f"translation=({_listed(vector)}): at most {FARTHEST_SHIFT:g} Å along each axis, as positions lose "
                "digits far away"
            )
        return cls("translation", f"translated by ({_listed(vector)}) Å", shift=shift)

    @classmethod
    def permutation(cls, order: Sequence[int] | np.ndarray) -> Motion:
        """Another order of the atoms, which stay where they are.

        Parameters
        ----------
        order : index of the atom that stands in each place afterwards.

        Returns
        -------
        motion

        Raises
        ------
        ConfigError
            When an atom is missing or named twice.
        """
        found = np.asarray(order)
        if found.ndim != 1 or found.dtype.kind not in "iu" or sorted(found.tolist()) != list(range(len(found))):
            raise ConfigError(f"order={list(order)} does not name every atom from 0 to {len(found) - 1} once")
        return cls("permutation", "in another order", order=found)

    @classmethod
    def random(cls, kind: str, n_atoms: int, rng: np.random.Generator) -> Motion:
        """A motion of one of :data:`MOTIONS`.

        Rotations and planes are uniform over all directions, translations have components of 5 Å on average.

        Returns
        -------
        motion

        Raises
        ------
        ConfigError
            For another kind.
        """
        if kind == "rotation":
            return cls(kind, "rotated", random_rotations(1, rng)[0].numpy())
        if kind == "reflection":
            return cls.reflection(rng.normal(size=3).tolist())
        if kind == "translation":
            return cls.translation((USUAL_SHIFT * rng.normal(size=3)).tolist())
        if kind == "permutation":
            return cls.permutation(rng.permutation(n_atoms))
        raise ConfigError(f"motion {kind!r}{suggest(kind, MOTIONS)}; known are {', '.join(MOTIONS)}")

    def of_atoms(self, atoms: Atoms) -> Atoms:
        """The structure after the motion, with its cell; without constraints, which do not move along.

        Returns
        -------
        new structure
        """
        moved = atoms.copy()
        moved.set_constraint()
        moved.positions[:] = self.of_points(atoms.positions, atoms)
        moved.set_cell(atoms.cell.array @ self.matrix.T, scale_atoms=False)
        return moved if self.order is None else moved[self.order]

    def of_points(self, points: Float64[np.ndarray, "*n 3"], atoms: Atoms) -> Float64[np.ndarray, "*n 3"]:
        """Points that move along with a structure.

        Parameters
        ----------
        points : (..., 3) Å.
        atoms : before the motion.

        Returns
        -------
        (..., 3) Å
        """
        center = atoms.positions.mean(axis=0)
        return np.asarray(center + (points - center) @ self.matrix.T + self.shift)

    def of_values(self, record: Property, values: np.ndarray, atoms: Atoms) -> np.ndarray:
        """What values of a property become by the motion: numbers stay, vectors and tensors turn, places move.

        Parameters
        ----------
        record : of :data:`molcalc.properties.PROPERTIES`.
        values : (..., *shape) one of a structure, or one for each of its atoms.
        atoms : before the motion.

        Returns
        -------
        values of the same shape
        """
        if record.quantity is LENGTH:
            turned = self.of_points(values, atoms)
        elif record.rank == 0:
            turned = values
        else:
            turned = values @ self.matrix.T if record.rank == 1 else self.matrix @ values @ self.matrix.T
        return turned[self.order] if self.order is not None and record.kind == "atom" else turned


def _vector(values: str | Sequence[float], name: str) -> np.ndarray:
    try:
        found = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        found = np.empty(0)
    if found.shape != (3,) or not np.isfinite(found).all():
        raise ConfigError(f"{name}={values!r}: expected three numbers")
    return found


def _direction(axis: str | Sequence[float], name: str) -> np.ndarray:
    if isinstance(axis, str) and axis not in _AXES:
        raise ConfigError(f"{name}={axis!r}: expected x, y, z or three numbers")
    found = _vector(_AXES[axis] if isinstance(axis, str) else axis, name)
    length = float(np.linalg.norm(found))
    if length == 0.0:
        raise ConfigError(f"{name}=({_listed(found.tolist())}) has no direction")
    return found / length


def _named(axis: str | Sequence[float]) -> str:
    return axis if isinstance(axis, str) else f"({_listed(axis)})"


def _listed(vector: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in vector)
