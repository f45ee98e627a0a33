"""Closed surfaces of triangles."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from molcalc.analysis.surface_mesh import SurfaceMesh
from molcalc.errors import ConfigError, InputError
from molcalc.units import VDW_RADII


def euler_characteristic(mesh: SurfaceMesh) -> int:
    """Vertices minus edges plus faces, 2 of each closed surface without holes; every edge has to be in two faces."""
    ends = np.sort(np.concatenate([mesh.faces[:, pair] for pair in ([0, 1], [1, 2], [2, 0])]), axis=1)
    edges, counts = np.unique(ends, axis=0, return_counts=True)
    assert (counts == 2).all()
    return len(mesh.vertices) - len(edges) + len(mesh.faces)


@pytest.mark.parametrize(
    ("atoms", "surfaces"),
    [(Atoms("O"), 1), (molecule("C6H6"), 1), (Atoms("Ar2", [[0, 0, 0], [0.3, 0, 9]]), 2)],
    ids=["atom", "benzene", "two far atoms"],
)
def test_the_surface_is_closed_and_on_the_spheres(atoms: Atoms, surfaces: int) -> None:
    mesh = SurfaceMesh.around(atoms, scale=1.4, spacing=0.35)
    assert euler_characteristic(mesh) == 2 * surfaces
    radii = 1.4 * VDW_RADII[atoms.numbers]
    distances = np.linalg.norm(mesh.vertices[:, None] - atoms.positions, axis=2) - radii
    assert np.abs(distances.min(axis=1)).max() < 0.1  # where spheres meet vertices are in one by a little
    nearest = distances.argmin(axis=1)
    outward = mesh.vertices - atoms.positions[nearest]
    assert (np.einsum("nx,nx->n", outward, mesh.normals) > 0).all()


def test_area_and_volume_of_a_sphere_converge() -> None:
    radius = 1.4 * VDW_RADII[8]
    errors = []
    for spacing in (0.4, 0.2):
        mesh = SurfaceMesh.around(Atoms("O", [[0.1, -0.2, 7.0]]), spacing=spacing)
        errors.append(1.0 - mesh.volume / (4.0 / 3.0 * np.pi * radius**3))
        assert mesh.area == pytest.approx(4.0 * np.pi * radius**2, rel=0.02 * spacing)
    assert 0 < errors[1] < 0.3 * errors[0] < 0.005


def test_what_has_no_surface_or_too_fine_a_one_is_refused() -> None:
    with pytest.raises(InputError, match="no atoms"):
        SurfaceMesh.around(Atoms())
    with pytest.raises(ConfigError, match="spacing=0.001"):
        SurfaceMesh.around(molecule("H2O"), spacing=0.001)
    with pytest.raises(ConfigError, match="scale=0"):
        SurfaceMesh.around(molecule("H2O"), scale=0.0)
