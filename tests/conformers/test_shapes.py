"""Distances between shapes: exchanges of equal atoms, rotations, and no mirror images."""

from __future__ import annotations

import math

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from scipy.spatial.transform import Rotation

from molcalc.conformers.molecules import molecule_of
from molcalc.conformers.shapes import Shape, compared_atoms, symmetric_rmsd


def shape_of(atoms: Atoms) -> Shape:
    """Shape of all atoms."""
    return Shape.of(molecule_of(atoms, "it").graph, atoms.positions)


def moved(positions: np.ndarray, seed: int) -> np.ndarray:
    """Positions turned and shifted."""
    return positions @ Rotation.random(None, np.random.default_rng(seed)).as_matrix().T + [1.0, -2.0, 3.0]


def turned_about_bond(atoms: Atoms, angle: float) -> Atoms:
    """H2O2 with another torsion."""
    changed = atoms.copy()
    changed.set_dihedral(2, 0, 1, 3, angle)
    return changed


PEROXIDE = turned_about_bond(molecule("H2O2"), 110.0)


@pytest.mark.parametrize("name", ["CH3CH2OH", "C6H6", "CH3CONH2", "H2O2", "CO2", "bicyclobutane"])
def test_equal_atoms_may_be_any_of_them_and_the_molecule_anywhere(name: str) -> None:
    atoms = molecule(name)
    graph = molecule_of(atoms, "it").graph
    order = np.random.default_rng(0).permutation(len(atoms))
    # Only permutations of equal atoms give the same graph: these come from maps.
    from molcalc.conformers.graphs import mappings

    first = Shape.of(graph, atoms.positions)
    for images in list(mappings(graph, graph))[:50]:
        other = Shape.of(graph, moved(atoms.positions[images], seed=int(order[0])))
        assert symmetric_rmsd(first, first) == pytest.approx(0.0, abs=1e-6)
        assert symmetric_rmsd(Shape.of(graph, first.positions[images]), other) == pytest.approx(0.0, abs=1e-6)


def test_a_flipped_ring_is_the_same_shape() -> None:
    """The hydrogen atoms of benzene, numbered the other way round."""
    atoms = molecule("C6H6")
    atoms.positions[6] += [0.3, 0.0, 0.0]
    other = atoms.copy()
    other.positions = moved(atoms.positions[[0, 5, 4, 3, 2, 1, 6, 11, 10, 9, 8, 7]], seed=3)
    assert symmetric_rmsd(shape_of(atoms), shape_of(other)) == pytest.approx(0.0, abs=1e-6)
    plain = np.sqrt(np.mean(np.sum((atoms.positions - other.positions) ** 2, axis=1)))
    assert plain > 1.0


def test_mirror_images_stay_apart() -> None:
    shape = shape_of(PEROXIDE)
    assert symmetric_rmsd(shape, shape.mirrored()) > 0.2
    planar = shape_of(turned_about_bond(PEROXIDE, 180.0))
    assert symmetric_rmsd(planar, planar.mirrored()) == pytest.approx(0.0, abs=1e-6)


def test_distances_are_those_of_a_search_without_shortcuts() -> None:
    """Least over all exchanges and many rotations, by another way: ASE's dihedrals and SciPy's alignment."""
    other = turned_about_bond(PEROXIDE, 140.0)
    exchanged = other.positions[[1, 0, 3, 2]]
    first = PEROXIDE.positions - PEROXIDE.positions.mean(axis=0)
    expected = min(
        Rotation.align_vectors(first, positions - positions.mean(axis=0))[1] / math.sqrt(4)
        for positions in (other.positions, exchanged)
    )
    assert symmetric_rmsd(shape_of(PEROXIDE), shape_of(other)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("limit", [0.05, 0.1, 0.3])
def test_a_limit_changes_nothing_within_it(limit: float) -> None:
    for angle in (112.0, 120.0, 130.0, 180.0):
        first, second = shape_of(PEROXIDE), shape_of(turned_about_bond(PEROXIDE, angle))
        distance = symmetric_rmsd(first, second)
        assert symmetric_rmsd(first, second, limit=limit) == (distance if distance <= limit else math.inf)


def test_hydrogen_on_carbon_makes_no_shape_where_there_is_more() -> None:
    def compared(name: str) -> str:
        atoms = molecule(name)
        return "".join(atoms.symbols[k] for k in compared_atoms(atoms.numbers, molecule_of(atoms, "it").graph))

    assert sorted(compared("CH3CONH2")) == sorted("CCONHH")
    assert len(compared("CH3CH2OH")) == 4
    assert len(compared("CH3OH")) == 6
    assert len(compared("C2H6")) == 8
