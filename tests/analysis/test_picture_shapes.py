"""Shapes of atoms, bonds and charges."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.build import molecule

from molcalc.analysis.picture_shapes import drawn_bonds, site_radii


def test_bonds_are_those_of_a_chemist_for_common_molecules() -> None:
    water = molecule("H2O")
    assert drawn_bonds(water).tolist() == [[0, 1], [0, 2]]
    assert len(drawn_bonds(molecule("C6H6"))) == 12
    assert drawn_bonds(Atoms("Ar")).shape == (0, 2)
    assert drawn_bonds(Atoms("Ar2", [[0, 0, 0], [0, 0, 9]])).shape == (0, 2)


def test_volumes_of_charges_are_as_the_charges() -> None:
    small, large, largest = site_radii(np.array([-0.1, 0.8, 5.0]))
    assert np.isclose((large / small) ** 3, 8.0)
    assert largest == 0.14
