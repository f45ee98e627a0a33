"""Reduced cells: the same lattice, its shortest vectors, and cells in which nothing can be computed."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.geometry import minkowski_reduce

from molcalc.calculators import D3, D4
from molcalc.cells import cell_fault, doubtful_cells, reduced_cell
from molcalc.errors import CellError
from molcalc.neighbors import neighbor_list, pair_list

CRYSTAL = np.ones(3, dtype=bool)


def scrambled(cell: np.ndarray, rng: np.random.Generator, largest: int = 9) -> np.ndarray:
    """Another cell of the same lattice."""
    change = np.eye(3, dtype=int)
    for _ in range(6):
        i, j = rng.choice(3, 2, replace=False)
        change[i] += rng.integers(-largest, largest + 1) * change[j]
    return change @ cell


def test_reduced_cells_have_the_shortest_vectors_of_the_same_lattice() -> None:
    rng = np.random.default_rng(0)
    for _ in range(40):
        given = scrambled(rng.normal(scale=5.0, size=(3, 3)), rng)
        found, change = reduced_cell(given, CRYSTAL)
        if change is None:
            assert np.array_equal(found, given)
        else:
            np.testing.assert_allclose(change @ given, found, atol=1e-9)
            assert round(abs(np.linalg.det(change))) == 1
        lengths = [np.sort(np.linalg.norm(cell, axis=1)) for cell in (found, minkowski_reduce(given)[0])]
        np.testing.assert_allclose(*lengths, rtol=1e-9)  # an implementation of its own, in ASE


def test_only_vectors_of_periodic_directions_change() -> None:
    sheet = np.array([[3.0, 0.0, 0.0], [302.0, 4.0, 0.0], [50.0, 60.0, 9.0]])
    found, _ = reduced_cell(sheet, np.array([True, True, False]))
    np.testing.assert_allclose(found, [[3.0, 0.0, 0.0], [-1.0, 4.0, 0.0], [50.0, 60.0, 9.0]], atol=1e-12)
    assert reduced_cell(sheet, np.array([False, True, False])).change is None


@pytest.mark.parametrize("atoms", [bulk("Cu"), bulk("Fe"), bulk("Mg"), Atoms("H", cell=[3, 9, 5])], ids=str)
def test_reduced_cells_stay_to_the_last_bit(atoms: Atoms) -> None:
    found, change = reduced_cell(atoms.cell.array, CRYSTAL)
    assert change is None
    assert np.array_equal(found, atoms.cell.array)


FAULTS = {
    "needle": ([[10, 0, 0], [10, 1e-5, 0], [0, 0, 9]], "TTF", "vector of 1e-05 Å"),
    "short chain": ([[1e-3, 0, 0], [0, 0, 0], [0, 0, 0]], "TFF", "vector of 0.001 Å"),
    "irrational ratio": ([[5, 0, 0], [5 * 2**0.5, 0, 0], [0, 0, 5]], "TTT", "cell rank 2|vector of"),
    "third vector in the plane": ([[10, 0, 0], [0, 10, 0], [3, 4, 0]], "TTF", "one plane.*to zero"),
    "nearly in the plane": ([[10, 0, 0], [0, 10, 0], [3, 4, 1e-9]], "TTF", "one plane"),
    "without end": ([[10, 0, 0], [1e9, 10, 0], [0, 0, 10]], "TTT", r"1e\+09 Å long"),
    "flat": ([[1e8, 0, 0], [0, 10, 0], [0, 0, 10]], "TTT", "too flat"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_cells_that_span_nothing_are_refused_at_once(name: str) -> None:
    cell, flags, message = FAULTS[name]
    atoms = Atoms("H", cell=cell, pbc=[flag == "T" for flag in flags])
    atoms.calc = D3("pbe0")
    with pytest.raises(CellError, match=message):
        atoms.get_potential_energy()


def test_no_faulty_cell_escapes_the_quick_look_at_many() -> None:
    rng = np.random.default_rng(2)
    flags = rng.random((200, 3)) < 0.7
    boxes = rng.normal(scale=3.0, size=(200, 3, 3)) * 10.0 ** rng.integers(-3, 2, (200, 3, 1))
    boxes[::5, 2] = boxes[::5, 0] + 1e-5 * boxes[::5, 1]
    boxes[1::5] = [scrambled(box, rng) for box in boxes[1::5]]
    boxes[2::20, 1] = 0.0
    faulty = np.array([bool(f.any()) and cell_fault(box, f, 4) is not None for box, f in zip(boxes, flags)])
    looked_at = doubtful_cells(boxes, flags, np.full(200, 4))
    assert faulty.any()
    assert not (faulty & ~looked_at).any()
    assert not doubtful_cells(
        np.stack([bulk("Cu", cubic=True).cell.array] * 2), np.ones((2, 3), bool), np.array([4, 4])
    ).any()


def test_flat_cells_that_are_only_another_choice_of_vectors_are_none() -> None:
    assert cell_fault(np.array([[10, 0, 0], [1e7, 10, 0], [0, 0, 10]]), CRYSTAL, 1) is None
    assert cell_fault(np.array([[10, 0, 0], [1e7, 10, 0], [0, 0, 0]]), np.array([True, True, False]), 1) is None


@pytest.mark.parametrize("search", [neighbor_list, pair_list])
def test_translations_of_lists_are_those_of_the_given_cell(search) -> None:  # noqa: ANN001
    rng = np.random.default_rng(1)
    cell = np.array([[3.0, 0.2, 0.0], [0.1, 4.0, 0.0], [0.0, 0.3, 5.0]])
    positions = rng.uniform(-9, 9, (6, 3))
    distances = []
    for box in (cell, scrambled(cell, rng), cell + 1000 * np.outer([0, 1, 0], cell[0])):
        index, shifts = search(positions, box, CRYSTAL, 4.0)
        distances.append(np.sort(np.linalg.norm(positions[index[1]] - positions[index[0]] + shifts @ box, axis=1)))
    for found in distances[1:]:
        np.testing.assert_allclose(found, distances[0], atol=1e-9)


@pytest.mark.parametrize("make", [lambda: D3("pbe0", cutoff=12, cn_cutoff=9), lambda: D4("pbe0", atm_cutoff=6)])
def test_dispersion_does_not_depend_on_the_choice_of_vectors(make) -> None:  # noqa: ANN001
    atoms = molecule("H2O", pbc=True)
    atoms.cell = [4.0, 4.5, 5.0]
    found = []
    for change in (np.eye(3), [[1, 0, 0], [1000, 1, 0], [-7, 0, 1]], [[1, 3, 9], [0, 1, 3], [0, 0, 1]]):
        other = atoms.copy()
        other.set_cell(np.array(change) @ atoms.cell.array)
        other.calc = make()
        found.append((other.get_potential_energy(), other.get_forces(), other.get_stress()))
    for result in found[1:]:
        for value, right in zip(result, found[0]):
            np.testing.assert_allclose(value, right, atol=1e-9)


def test_forces_and_stress_of_a_sheared_cell_are_derivatives() -> None:
    atoms = molecule("H2O", pbc=True)
    atoms.cell = np.array([[1, 0, 0], [50, 1, 0], [-7, 20, 1]]) @ np.diag([4.0, 4.5, 5.0])
    atoms.calc = D3("pbe0", cutoff=12, cn_cutoff=9, switch_width=2.0)
    np.testing.assert_allclose(atoms.get_forces(), calculate_numerical_forces(atoms, 1e-4), atol=1e-6)
    np.testing.assert_allclose(atoms.get_stress(), calculate_numerical_stress(atoms, 1e-5), atol=1e-6)
