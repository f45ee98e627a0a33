"""Errors of potentials by distance and element."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

from molcalc.analysis.esp_errors import nearest_atoms, pooled_errors, potential_errors
from molcalc.units import VDW_RADII


def test_errors_are_grouped_by_shell_and_nearest_element() -> None:
    atoms = Atoms("OC", positions=[[0, 0, 0], [0, 0, 1.2]])
    oxygen, carbon = VDW_RADII[8], VDW_RADII[6]
    points = np.array([[0, 0, -1.5 * oxygen], [0, 0, -1.7 * oxygen], [0, 0, 1.2 + 1.5 * carbon], [0, 9.0, 1.2]])
    reference = np.array([1.0, 2.0, 3.0, 4.0])
    errors = np.array([0.1, -0.3, 0.2, 0.0])
    found = potential_errors(atoms, points, reference, {"charges": reference + errors, "distributed": reference})
    by_name = {(one.charges, one.points): one for one in found}
    assert {points for _, points in by_name} == {"all", "1.4–1.6 r", "1.6–1.8 r", "> 2 r", "near C", "near O"}
    total = by_name["charges", "all"]
    assert total.n_points == 4
    assert (total.rmse, total.mae) == pytest.approx((np.sqrt(0.14 / 4), 0.15))
    assert (total.mean, total.largest) == pytest.approx((0.0, 0.3), abs=1e-12)
    assert by_name["charges", "1.4–1.6 r"].mean == pytest.approx(0.15)
    assert by_name["charges", "near O"].rmse == pytest.approx(np.sqrt(0.05))
    assert all(one.largest == 0.0 for one in found if one.charges == "distributed")


def test_the_nearest_atom_is_that_of_the_fewest_radii() -> None:
    atoms = Atoms("HC", positions=[[0, 0, 0], [0, 0, 3.0]])
    point = np.array([[0, 0, 1.4]])  # nearer to hydrogen in Å, to carbon in radii
    distances, scaled, element = nearest_atoms(atoms, point)
    assert element.tolist() == [6]
    assert distances == pytest.approx([1.6])
    assert scaled == pytest.approx([1.6 / VDW_RADII[6]])


def test_errors_of_several_molecules_are_those_of_all_their_points() -> None:
    rng = np.random.default_rng(0)
    molecules = [Atoms("OC", positions=[[0, 0, 0], [0, 0, 1.2]]), Atoms("CN", positions=[[0, 0, 0], [0, 0, 1.1]])]
    errors, found = [], []
    for n_points, atoms in zip((40, 90), molecules):
        points = 3.0 * rng.normal(size=(n_points, 3)) + [0, 0, 4.0]
        values = rng.normal(size=n_points)
        errors.append(values)
        found += potential_errors(atoms, points, np.zeros(n_points), {"distributed": values, "charges": 2.0 * values})
    pooled = pooled_errors(found)
    names = [one.points for one in pooled if one.charges == "charges"]
    assert names[0] == "all"
    assert names[-3:] == ["near C", "near N", "near O"]
    total = {one.charges: one for one in pooled if one.points == "all"}
    every = np.concatenate(errors)
    assert total["distributed"].n_points == 130
    assert total["distributed"].rmse == pytest.approx(np.sqrt(np.mean(every**2)))
    assert total["distributed"].mae == pytest.approx(np.abs(every).mean())
    assert total["distributed"].mean == pytest.approx(every.mean())
    assert total["charges"].largest == pytest.approx(2.0 * np.abs(every).max())
    shells = [one for one in pooled if one.charges == "charges" and one.points[0] in "01>"]
    assert sum(one.n_points for one in shells) == 130
