"""Closed van der Waals surfaces of triangles, for programs that show surfaces."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import numpy as np
from ase import Atoms
from jaxtyping import Float64, Int

from molcalc.analysis.surface import SCALE
from molcalc.errors import ConfigError, InputError, checked_positive
from molcalc.units import VDW_RADII

TRIANGLE_SPACING = 0.3
"""Å between the points of the grid that triangles are found on."""
MAX_GRID = 40_000_000
"""Points; 0.5 GB."""
_CORNERS = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 1], [1, 0, 1], [0, 1, 1], [1, 1, 1]])
"""Of a cube of the grid."""


def _tetrahedra() -> list[tuple[int, int, int, int]]:
    """Six that fill a cube, all along its diagonal: paths over x, y and z in any order, none a mirror image."""
    found = []
    for order in permutations(range(3)):
        path = [np.zeros(3, dtype=int)]
        for axis in order:
            path.append(path[-1] + np.eye(3, dtype=int)[axis])
        a, b, c, d = (int(corner @ [1, 2, 4]) for corner in path)
        handed = np.linalg.det(np.array(path[1:]) - path[0]) > 0
        found.append((a, b, c, d) if handed else (a, b, d, c))
    return found


def _cuts() -> dict[tuple[bool, ...], list[tuple[tuple[int, int], ...]]]:
    """Triangles through a tetrahedron, by which corners are inside; each of edges, counter-clockwise from outside."""
    even = [order for order in permutations(range(4)) if np.linalg.det(np.eye(4)[list(order)]) > 0]
    found: dict[tuple[bool, ...], list[tuple[tuple[int, int], ...]]] = {}
    for a, b, c, d in even:
        one = tuple(k == a for k in range(4))
        found.setdefault(one, [((a, b), (a, c), (a, d))])
        found.setdefault(tuple(not inside for inside in one), [((a, b), (a, d), (a, c))])
        two = tuple(k in (a, b) for k in range(4))
        found.setdefault(two, [((a, c), (a, d), (b, d)), ((a, c), (b, d), (b, c))])
    return found


@dataclass(frozen=True)
class SurfaceMesh:
    """Triangles that enclose a molecule.

    Attributes
    ----------
    vertices : (n_vertices, 3) Å.
    normals : (n_vertices, 3) outward directions of length 1.
    faces : (n_faces, 3) vertices, counter-clockwise from outside.
    """

    vertices: Float64[np.ndarray, "n_vertices 3"]
    normals: Float64[np.ndarray, "n_vertices 3"]
    faces: Int[np.ndarray, "n_faces 3"]

    @classmethod
    def around(cls, atoms: Atoms, scale: float = SCALE, spacing: float = TRIANGLE_SPACING) -> SurfaceMesh:
        """Surface of the spheres around the atoms.

        The distance from the spheres is cut in the tetrahedra of a regular grid; the corners of the triangles then go
        to the nearest sphere.

        Parameters
        ----------
        scale : radius of the spheres in van der Waals radii.
        spacing : Å between the points of the grid.

        Returns
        -------
        triangles, of molecules that lie apart several surfaces

        Raises
        ------
        ConfigError
            For a scale or spacing that is not a positive number, or too fine for the size of the molecule.
        InputError
            Without atoms.
        """
        checked_positive("scale", scale)
        checked_positive("spacing", spacing)
        if not len(atoms):
            raise InputError("the structure has no atoms, and so no surface")
        centers, radii = atoms.positions, scale * VDW_RADII[atoms.numbers]
        origin = (centers - radii[:, None]).min(axis=0) - 2.0 * spacing
        top = (centers + radii[:, None]).max(axis=0) + 2.0 * spacing
        shape = np.ceil((top - origin) / spacing).astype(np.int64) + 1
        if np.prod(shape, dtype=np.float64) > MAX_GRID:
            raise ConfigError(
                f"a surface with spacing={spacing:g} Å around {atoms.get_chemical_formula()} takes a grid of "
                f"{' x '.join(map(str, shape))} points; at most {MAX_GRID:,}: take a larger spacing"
            )
        distance, nearest = _distances(centers, radii, origin, shape, spacing)
        edges, faces = _triangles(distance)
        inner, outer = edges.T
        depths, owners = distance.ravel(), nearest.ravel()
        share = depths[inner] / (depths[inner] - depths[outer])
        ends = [np.stack(np.unravel_index(side, tuple(shape)), axis=1) * spacing + origin for side in (inner, outer)]
        places = ends[0] + share[:, None] * (ends[1] - ends[0])
        sphere = _nearer(places, owners[inner], owners[outer], centers, radii)
        arms = places - centers[sphere]
        places = centers[sphere] + arms * (radii[sphere] / np.linalg.norm(arms, axis=1))[:, None]
        return cls(places, _mean_normals(places, faces), faces)

    @property
    def area(self) -> float:
        """Å²."""
        return float(0.5 * np.linalg.norm(_crosses(self.vertices, self.faces), axis=1).sum())

    @property
    def volume(self) -> float:
        """Å³ inside."""
        return float((self.vertices[self.faces[:, 0]] * _crosses(self.vertices, self.faces)).sum() / 6.0)


def _crosses(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Outward normals of triangles, twice as long as their areas."""
    first, second, third = (vertices[faces[:, k]] for k in range(3))
    return np.asarray(np.cross(second - first, third - first))


def _mean_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Of the triangles around each vertex: where spheres meet the surface is shown with a round edge."""
    sums = np.zeros_like(vertices)
    crosses = _crosses(vertices, faces)
    for k in range(3):
        np.add.at(sums, faces[:, k], crosses)
    return sums / np.linalg.norm(sums, axis=1)[:, None]


def _distances(
    centers: np.ndarray, radii: np.ndarray, origin: np.ndarray, shape: np.ndarray, spacing: float
) -> tuple[np.ndarray, np.ndarray]:
    """Å from the surface of the nearest sphere, negative inside, and its index; of points far outside only > 0."""
    distance, nearest = np.full(shape, 2.0 * spacing), np.full(shape, -1, dtype=np.int32)
    for k, (center, radius) in enumerate(zip(centers, radii)):
        reach = radius + 2.0 * spacing
        low = np.floor((center - reach - origin) / spacing).astype(int).clip(0)
        high = np.ceil((center + reach - origin) / spacing).astype(int) + 1
        window = tuple(slice(*ends) for ends in zip(low, high))
        steps = [origin[x] + spacing * np.arange(*window[x].indices(int(shape[x]))) - center[x] for x in range(3)]
        squares = steps[0][:, None, None] ** 2 + steps[1][:, None] ** 2 + steps[2] ** 2
        here = np.sqrt(squares) - radius
        closer = here < distance[window]
        distance[window][closer] = here[closer]
        nearest[window][closer] = k
    return distance, nearest


def _triangles(distance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Edges of the grid, from inside to outside, that have a corner of a triangle on them, and the triangles."""
    _, ny, nz = distance.shape
    inside = distance < 0
    n_inside = np.zeros(tuple(n - 1 for n in distance.shape), dtype=np.int8)
    for x, y, z in _CORNERS:
        n_inside += inside[x : x + n_inside.shape[0], y : y + n_inside.shape[1], z : z + n_inside.shape[2]]
    cubes = np.stack(np.nonzero((n_inside > 0) & (n_inside < 8)), axis=1)
    flat = cubes @ np.array([ny * nz, nz, 1])
    corners = flat[:, None] + _CORNERS @ np.array([ny * nz, nz, 1])
    is_inside = inside.ravel()
    found = []
    for tetrahedron in _tetrahedra():
        points = corners[:, list(tetrahedron)]
        case = is_inside[points]
        for which, triangles in _CUTS.items():
            chosen = points[(case == which).all(axis=1)]
            for triangle in triangles:
                found.append(np.stack([_inside_first(chosen, edge, which) for edge in triangle], axis=1))
    ends = np.concatenate(found)
    edges, faces = np.unique(ends.reshape(-1, 2), axis=0, return_inverse=True)
    return edges, faces.reshape(-1, 3)


def _inside_first(points: np.ndarray, edge: tuple[int, int], inside: tuple[bool, ...]) -> np.ndarray:
    return points[:, list(edge if inside[edge[0]] else edge[::-1])]


def _nearer(
    places: np.ndarray, first: np.ndarray, second: np.ndarray, centers: np.ndarray, radii: np.ndarray
) -> np.ndarray:
    """Of two spheres for each place, −1 for none, the one whose surface is nearer."""
    reaches = [np.linalg.norm(places - centers[k], axis=1) - radii[k] for k in (first, second)]
    return np.where((second >= 0) & (reaches[1] < reaches[0]), second, first)


_CUTS = _cuts()
