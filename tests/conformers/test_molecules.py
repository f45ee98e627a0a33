"""What a structure is of: bonds, state, groups of one molecule, and bonds that have changed."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from molcalc.conformers.molecules import grouped, in_small_ring, molecule_of
from molcalc.errors import ChargeError, InputError


def test_bonds_are_seen_in_distances() -> None:
    ethanol = molecule_of(molecule("CH3CH2OH"), "it")
    assert len(ethanol.graph.bonds) == 8
    assert sorted(map(len, ethanol.graph.neighbors)) == [1] * 6 + [2, 4, 4]
    bridge = molecule_of(molecule("bicyclobutane"), "it")
    assert len(bridge.graph.bonds) == 11


def test_double_bonds_hold_their_ligands_and_amides_do_not() -> None:
    assert molecule_of(molecule("C2H4"), "it").double_bonds == ((0, 1),)
    assert molecule_of(molecule("CH3CONH2"), "it").double_bonds == ()
    assert molecule_of(molecule("C6H6"), "it").double_bonds == ()
    assert in_small_ring(molecule_of(molecule("C6H6"), "it").graph, 0, 1)


def test_a_proton_that_moved_is_named_with_both_bonds() -> None:
    acid = molecule("HCOOH")
    start = molecule_of(acid, "it")
    assert start.connectivity_fault(acid.positions) == ""
    proton, hydroxyl = next(
        pair for i, j in start.graph.bonds for pair in ((i, j), (j, i)) if [*acid.numbers[list(pair)]] == [1, 8]
    )
    carbonyl = next(k for k in range(5) if acid.numbers[k] == 8 and k != hydroxyl)
    away = acid.positions[carbonyl] - acid.get_center_of_mass()
    acid.positions[proton] = acid.positions[carbonyl] + 0.96 * away / np.linalg.norm(away)
    for oxygen, word in ((hydroxyl, "is broken"), (carbonyl, "has formed")):
        names = sorted([f"O{oxygen}", f"H{proton}"], key=lambda name: int(name[1:]))
        assert f"bond {'–'.join(names)} {word}" in start.connectivity_fault(acid.positions)


def test_stretched_bonds_and_near_atoms_are_no_change() -> None:
    water = molecule("H2O")
    start = molecule_of(water, "it")
    water.positions[1] += 0.25 * (water.positions[1] - water.positions[0])
    assert start.connectivity_fault(water.positions) == ""
    water.positions[1] += 0.4 * (water.positions[1] - water.positions[0])
    assert start.connectivity_fault(water.positions) == "bond O0–H1 is broken"


def test_structures_of_one_molecule_come_together_in_one_order_of_atoms() -> None:
    ethanol, ether = molecule("CH3CH2OH"), molecule("CH3OCH3")
    shuffled = ethanol[np.random.default_rng(1).permutation(len(ethanol))]
    shuffled.rattle(0.02, seed=1)
    images = [ethanol, ether, shuffled]
    found = grouped([(molecule_of(atoms, f"{k}"), atoms) for k, atoms in enumerate(images)])
    assert [len(each.structures) for each in found] == [2, 1]
    first, second = found[0].structures
    assert list(first.symbols) == list(second.symbols)
    assert found[0].molecule.connectivity_fault(second.positions) == ""


@pytest.mark.parametrize("info", [{"charge": 1}, {"charge": -1, "spin": 2}, {"multiplicity": 3}])
def test_ions_and_other_spins_are_other_molecules(info: dict[str, int]) -> None:
    ethanol, ion = molecule("CH3CH2OH"), molecule("CH3CH2OH")
    ion.info.update(info)
    assert len(grouped([(molecule_of(atoms, "it"), atoms) for atoms in (ethanol, ion)])) == 2


def test_mirror_images_are_one_molecule_unless_it_is_chiral() -> None:
    peroxide = molecule("H2O2")
    chiral = Atoms("CHFClBr", [[0, 0, 0], [0, 0, 1.09], [1.3, 0, -0.4], [-0.8, 1.4, -0.5], [-0.8, -1.6, -0.6]])
    for atoms, expected in ((peroxide, 1), (chiral, 2)):
        mirrored = atoms.copy()
        mirrored.positions *= -1
        assert len(grouped([(molecule_of(each, "it"), each) for each in (atoms, mirrored)])) == expected


def test_what_is_no_molecule_is_refused_by_name() -> None:
    crystal = molecule("H2O", cell=[5, 5, 5], pbc=True)
    with pytest.raises(InputError, match=r"structure 3: pbc=\[True, True, True\].*atoms.pbc = False"):
        molecule_of(crystal, "structure 3")
    with pytest.raises(InputError, match="structure 3 has no atoms"):
        molecule_of(Atoms(), "structure 3")
    with pytest.raises(InputError, match="structure 3: positions are not finite"):
        molecule_of(Atoms("H", [[np.nan, 0, 0]]), "structure 3")
    contradictory = molecule("H2O")
    contradictory.info.update(charge=1, total_charge=0)
    with pytest.raises(ChargeError, match="contradictory"):
        molecule_of(contradictory, "structure 3")
