"""Turning of methyl groups between two relaxations."""

from __future__ import annotations

import pytest
from ase.build import molecule

from molcalc.conformers.molecules import molecule_of
from molcalc.conformers.rotors import ANGLE, rotors_of, with_turned_rotors


@pytest.mark.parametrize(
    ("name", "number"), [("CH3OH", 1), ("CH3OCH3", 2), ("CH4", 0), ("C2H6", 2), ("CH3CONH2", 1), ("CF3CN", 1)]
)
def test_groups_of_three_equal_ends_are_found(name: str, number: int) -> None:
    atoms = molecule(name)
    found = rotors_of(molecule_of(atoms, "it").graph)
    assert len(found) == number
    assert all(len({atoms.symbols[k] for k in ends}) == 1 for _, _, ends in found)


def test_a_group_turns_by_the_angle_and_keeps_its_shape() -> None:
    atoms = molecule("CH3OH")
    graph = molecule_of(atoms, "it").graph
    ((center, axis, ends),) = rotors_of(graph)
    turned = with_turned_rotors(atoms, graph)
    (hydroxyl,) = set(range(6)) - {center, axis, *ends}
    for end in ends:
        change = turned.get_dihedral(end, center, axis, hydroxyl) - atoms.get_dihedral(end, center, axis, hydroxyl)
        assert abs((change + 180) % 360 - 180) == pytest.approx(ANGLE, abs=1e-6)
        assert turned.get_distance(end, axis) == pytest.approx(atoms.get_distance(end, axis), abs=1e-9)
    others = [center, axis, hydroxyl]
    assert (turned.positions[others] == atoms.positions[others]).all()
