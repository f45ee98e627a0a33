"""Exchanges of equal heavy atoms: any order is one structure, stereochemistry stays, mirror images are told."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

pytest.importorskip("rdkit")
from molcalc.conformers.metrics.exchanges import DistinctShapes, Exchanges
from molcalc.conformers.molecules import Molecule
from molcalc.conformers.rdkit_molecules import embed, molecule_of_smiles

CLOSE = 1e-5


def made(smiles: str, n: int = 3) -> tuple[Molecule, list[Atoms]]:
    """Molecule of a SMILES, and structures of it."""
    molecule = molecule_of_smiles(smiles, smiles)
    return molecule, embed(molecule, n, 1)


@pytest.mark.parametrize(
    ("smiles", "n_maps"),
    [
        ("CC(C)(C)CO", 3),  # methyl groups turn, they are not exchanged in pairs
        ("OCc1ccccc1", 2),
        ("CC(C)CO", 1),  # an exchange would invert the carbon with one hydrogen atom
        ("CC(=O)NC(C)(C)C(=O)NC", 1),
        ("OO", 2),
    ],
)
def test_exchanges_keep_the_stereochemistry(smiles: str, n_maps: int) -> None:
    molecule, structures = made(smiles)
    assert len(Exchanges.of(molecule, structures[0].positions).maps) == n_maps


@pytest.mark.parametrize("smiles", ["CC(C)(C)CO", "OCc1ccccc1", "CC(C)CO", "CC(=O)NC(C)(C)C(=O)NC"])
def test_structures_with_exchanged_labels_have_no_distance(smiles: str) -> None:
    """All exchanges of equal atoms, those that invert a label included."""
    from molcalc.conformers.graphs import mappings

    molecule, (atoms, *_) = made(smiles)
    exchanges = Exchanges.of(molecule, atoms.positions)
    heavy = exchanges.compared(atoms.positions[None])
    for images in list(mappings(exchanges.graph, exchanges.graph))[:12]:
        exchanged = atoms.positions.copy()
        exchanged[exchanges.atoms] = atoms.positions[exchanges.atoms[images]]
        assert exchanges.distances(heavy, exchanges.compared(exchanged[None]))[0, 0] == pytest.approx(0.0, abs=CLOSE)


def test_mirror_images_of_achiral_molecules_are_their_own_with_labels_exchanged() -> None:
    molecule, (atoms, *_) = made("CC(=O)NC(C)(C)C(=O)NC")
    exchanges = Exchanges.of(molecule, atoms.positions)
    shape = exchanges.compared(atoms.positions[None])
    images, same = exchanges.mirrored(shape)
    assert same.tolist() == [True]
    assert exchanges.distances(shape, images)[0, 0] > 0.5
    assert exchanges.distances(shape, exchanges.mirrored(images)[0])[0, 0] == pytest.approx(0.0, abs=CLOSE)
    chiral, (atoms, *_) = made("C[C@H](O)CF")
    of_chiral = Exchanges.of(chiral, atoms.positions)
    assert of_chiral.mirrored(of_chiral.compared(atoms.positions[None]))[1].tolist() == [False]


def test_shapes_are_numbered_as_they_come() -> None:
    molecule, structures = made("CC(C)CO", 8)
    shapes = DistinctShapes(Exchanges.of(molecule, structures[0].positions), 0.1)
    first = [shapes.number_of(atoms.positions) for atoms in structures]
    assert first[0] == 0
    assert sorted(set(first)) == list(range(max(first) + 1))
    assert [shapes.number_of(atoms.positions + 1.0) for atoms in structures] == first
    assert max(first) >= 1


def test_a_wrong_center_among_many_methyl_groups_is_told_at_once() -> None:
    """Exchanges of hydrogen atoms, of which there are too many to try, cannot mend it."""
    molecule, (atoms, *_) = made("C[C@H](O)" + "C(C)(C)" * 4 + "C(C)(C)C", 1)
    exchanges = Exchanges.of(molecule, atoms.positions)
    inverted = atoms.positions.copy()
    hydrogen = next(j for j in molecule.graph.neighbors[1] if molecule.numbers[j] == 1)
    inverted[[0, hydrogen]] = inverted[[hydrogen, 0]]
    swapped = atoms.positions.copy()
    swapped[[5, 4]] = swapped[[4, 5]]  # two methyl groups of one carbon
    found = exchanges.same_stereoisomer(np.array([atoms.positions, inverted, swapped]))
    assert found.tolist() == [True, False, True]
