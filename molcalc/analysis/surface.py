"""Electrostatic potential on the van der Waals surface of a molecule, with its extrema and the usual descriptors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from jaxtyping import Bool, Float64, Int
from scipy.spatial import cKDTree

from molcalc.analysis.molecular_potential import MolecularPotential
from molcalc.calculators.base import MolCalculator
from molcalc.errors import ConfigError, InputError, checked_positive
from molcalc.prediction.batching import check_positions
from molcalc.units import VDW_RADII

SCALE = 1.4
"""Radius of the spheres in van der Waals radii; the first shell of points that charges are commonly fitted to."""
DENSITY = 10.0
"""Points per Å² of a sphere."""
MAX_POINTS = 50_000_000
"""Points of all spheres together; 1.2 GB."""
EXTREMUM_RADIUS = 1.0
"""Å around a point of the surface within which none is higher (or lower)."""
ATOMS_AT_ONCE = 64
_GOLDEN = np.pi * (1.0 + 5.0**0.5)


@dataclass(frozen=True)
class VdwSurface:
    """Points on spheres around the atoms, those inside other spheres left out.

    Attributes
    ----------
    points : (n_points, 3) Å.
    areas : (n_points,) Å², what each point stands for.
    atom : (n_points,) index of the atom whose sphere it is on.
    scale : radius of the spheres in van der Waals radii.
    """

    points: Float64[np.ndarray, "n_points 3"]
    areas: Float64[np.ndarray, " n_points"]
    atom: Int[np.ndarray, " n_points"]
    scale: float

    @classmethod
    def around(cls, atoms: Atoms, scale: float = SCALE, density: float = DENSITY) -> VdwSurface:
        """Surface of a molecule.

        Parameters
        ----------
        scale : radius of the spheres in van der Waals radii (Bondi's, 2 Å for elements without one).
        density : points per Å².

        Returns
        -------
        points in the order of the atoms

        Raises
        ------
        ConfigError
            For a scale or density that is not a positive number, or gives too many points.
        InputError
            Without atoms, and for positions that are not finite.
        """
        checked_positive("scale", scale)
        checked_positive("density", density)
        if not len(atoms):
            raise InputError("the structure has no atoms, and so no surface")
        check_positions(atoms)
        radii = scale * VDW_RADII[atoms.numbers]
        areas = 4.0 * np.pi * radii**2
        counts = np.maximum(1, np.ceil(density * areas)).astype(np.int64)
        if counts.sum() > MAX_POINTS:
            raise ConfigError(
                f"density={density:g} points per Å² gives {counts.sum():,} points; at most {MAX_POINTS:,}: lower it"
            )
        points, atom = [], []
        tree = cKDTree(atoms.positions)
        for k, (center, radius, n_points) in enumerate(zip(atoms.positions, radii, counts)):
            sphere = center + radius * fibonacci_sphere(n_points)
            # Spheres that reach this one; the nearest atoms decide.
            near = np.array([j for j in tree.query_ball_point(center, radius + radii.max()) if j != k], dtype=np.int64)
            free = _outside(sphere, atoms.positions[near], radii[near])
            points.append(sphere[free])
            atom.append(np.full(int(free.sum()), k))
        of_atom = np.concatenate(atom)
        return cls(np.concatenate(points), (areas / counts)[of_atom], of_atom, float(scale))


@dataclass(frozen=True)
class Extremum:
    """Highest or lowest point of the surface within :data:`EXTREMUM_RADIUS`.

    Attributes
    ----------
    potential : V.
    position : (3,) Å.
    atom : index of the atom whose sphere it is on.
    """

    potential: float
    position: np.ndarray
    atom: int


@dataclass(frozen=True, kw_only=True)
class SurfaceDescriptors:
    """Statistics of the potential over the surface, each point weighted by its area.

    Attributes
    ----------
    v_max, v_min : V.
    mean : V.
    mean_positive, mean_negative : V, over the part of either sign; NaN where there is none.
    deviation : V, mean of |V − mean|, the internal charge separation Π.
    variance_positive, variance_negative : V², over the part of either sign; 0 where there is none.
    balance : ν = σ₊²σ₋²/(σ₊² + σ₋²)², at most 0.25.
    area, area_positive, area_negative : Å².

    References
    ----------
    Politzer, Murray, Theor. Chem. Acc. 108, 134 (2002), doi:10.1007/s00214-002-0363-9.
    """

    v_max: float
    v_min: float
    mean: float
    mean_positive: float
    mean_negative: float
    deviation: float
    variance_positive: float
    variance_negative: float
    balance: float
    area: float
    area_positive: float
    area_negative: float

    @property
    def variance(self) -> float:
        """σ₊² + σ₋², V²."""
        return self.variance_positive + self.variance_negative

    @classmethod
    def of(
        cls, values: Float64[np.ndarray, " n_points"], areas: Float64[np.ndarray, " n_points"]
    ) -> SurfaceDescriptors:
        """Descriptors of values in V and areas in Å²."""
        mean = float(np.average(values, weights=areas))
        sides = {}
        for sign, side in (("positive", values > 0), ("negative", values < 0)):
            sides[sign] = _moments(values[side], areas[side])
        (up, up_variance, up_area), (down, down_variance, down_area) = sides["positive"], sides["negative"]
        total = up_variance + down_variance
        return cls(
            v_max=float(values.max()),
            v_min=float(values.min()),
            mean=mean,
            mean_positive=up,
            mean_negative=down,
            deviation=float(np.average(np.abs(values - mean), weights=areas)),
            variance_positive=up_variance,
            variance_negative=down_variance,
            balance=up_variance * down_variance / total**2 if total else 0.0,
            area=float(areas.sum()),
            area_positive=up_area,
            area_negative=down_area,
        )


@dataclass(frozen=True)
class SurfacePotential:
    """Potential on the van der Waals surface of a molecule.

    Attributes
    ----------
    atoms : the molecule.
    surface : where.
    potential : (n_points,) V.
    """

    atoms: Atoms
    surface: VdwSurface
    potential: Float64[np.ndarray, " n_points"]

    @property
    def points(self) -> Float64[np.ndarray, "n_points 3"]:
        """(n_points, 3) Å."""
        return self.surface.points

    @property
    def descriptors(self) -> SurfaceDescriptors:
        """Statistics over the surface."""
        return SurfaceDescriptors.of(self.potential, self.surface.areas)

    @property
    def maxima(self) -> list[Extremum]:
        """Local maxima, the highest first."""
        return self._extrema(1.0)

    @property
    def minima(self) -> list[Extremum]:
        """Local minima, the lowest first."""
        return self._extrema(-1.0)

    def _extrema(self, sign: float) -> list[Extremum]:
        values = sign * self.potential
        found = np.flatnonzero(_tops(self.surface.points, values))
        order = found[np.argsort(-values[found], kind="stable")]
        return [
            Extremum(float(self.potential[k]), self.surface.points[k].copy(), int(self.surface.atom[k]))
            for k in order.tolist()
        ]


def esp_surface(
    atoms: Atoms,
    calc: MolCalculator | None = None,
    scale: float = SCALE,
    density: float = DENSITY,
    source: str = "auto",
) -> SurfacePotential:
    """Electrostatic potential on the van der Waals surface of a molecule.

    >>> surface = esp_surface(atoms, AIMNet2("wb97m-d3"))
    >>> surface.descriptors.v_max, surface.minima[0].position

    Parameters
    ----------
    calc : any calculator of molcalc whose model has charges; None takes that of the atoms.
    scale : radius of the spheres in van der Waals radii. Charges on atoms or near them know nothing of the extent of
        the electrons: below about 1 the values mean little.
    density : points per Å² of a sphere.
    source : "distributed" charges, atomic "charges", or "auto": those that the dipole is made of.

    Returns
    -------
    points, potential in V, descriptors and extrema

    Raises
    ------
    InputError
        For a periodic structure, or without a calculator of molcalc.
    MissingPropertyError
        When the model predicts no charges.
    ConfigError
        For another source, or a scale or density that is not a positive number.
    """
    surface = VdwSurface.around(atoms, scale, density)
    potential = MolecularPotential.of(atoms, calc, source)
    return SurfacePotential(potential.atoms, surface, potential.at(surface.points))


def fibonacci_sphere(n_points: int) -> Float64[np.ndarray, "n_points 3"]:
    """Points spread evenly over the unit sphere along a spiral; each stands for the same area.

    Returns
    -------
    (n_points, 3) float64
    """
    k = np.arange(n_points) + 0.5
    z = 1.0 - 2.0 * k / n_points
    ring = np.sqrt(1.0 - z * z)
    angle = _GOLDEN * k
    return np.stack([ring * np.cos(angle), ring * np.sin(angle), z], axis=1)


def _outside(points: np.ndarray, centers: np.ndarray, radii: np.ndarray) -> Bool[np.ndarray, " n_points"]:
    """Points that are in none of the spheres."""
    free = np.ones(len(points), dtype=bool)
    for start in range(0, len(centers), ATOMS_AT_ONCE):
        part = slice(start, start + ATOMS_AT_ONCE)
        squares = ((points[:, None] - centers[None, part]) ** 2).sum(axis=2)
        free &= (squares >= radii[part] ** 2 * (1.0 - 1e-12)).all(axis=1)
    return free


def _tops(points: np.ndarray, values: np.ndarray) -> Bool[np.ndarray, " n_points"]:
    """Points none of whose neighbors is higher; of equal ones the first."""
    top = np.ones(len(points), dtype=bool)
    pairs = cKDTree(points).query_pairs(EXTREMUM_RADIUS, output_type="ndarray")
    first, second = pairs[:, 0], pairs[:, 1]  # first < second
    higher = values[first] >= values[second]
    top[second[higher]] = False
    top[first[~higher]] = False
    return top


def _moments(values: np.ndarray, areas: np.ndarray) -> tuple[float, float, float]:
    """Mean, variance and area; NaN, 0 and 0 of none."""
    if not len(values):
        return float("nan"), 0.0, 0.0
    mean = float(np.average(values, weights=areas))
    return mean, float(np.average((values - mean) ** 2, weights=areas)), float(areas.sum())
