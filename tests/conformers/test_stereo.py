"""Stereoisomers are told apart, and conformers of one are not."""

from __future__ import annotations

import numpy as np
import pytest

from molcalc.conformers.molecules import Molecule
from molcalc.conformers.rdkit_molecules import embed, molecule_of_smiles
from molcalc.conformers.stereo import stereo_map

pytest.importorskip("rdkit")


def one(smiles: str, seed: int = 1) -> tuple[Molecule, np.ndarray]:
    """Molecule and a structure of it."""
    molecule = molecule_of_smiles(smiles, "line 1")
    return molecule, embed(molecule, 1, seed)[0].positions


def same_isomer(first: str, second: str) -> bool:
    """Whether structures of two SMILES are stereoisomers of one kind, by their positions alone."""
    (a, of_a), (b, of_b) = one(first), one(second, seed=2)
    return stereo_map(a.graph, a.stereo(of_a), b.graph, b.stereo(of_b)) is not None


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O"),
        ("F/C=C/F", "F/C=C\\F"),
        ("C[C@H]1CC[C@H](C)CC1", "C[C@H]1CC[C@@H](C)CC1"),  # rings hold their ligands, though none is a center of four
        ("O[C@H](F)[C@H](O)F", "O[C@H](F)[C@@H](O)F"),
        ("CC[S@](C)=O", "CC[S@@](C)=O"),
        ("C/N=C/C", "C/N=C\\C"),
        ("[2H][C@H](F)Cl", "[2H][C@@H](F)Cl"),
    ],
    ids=["center", "double bond", "ring", "meso", "sulfoxide", "imine", "isotope"],
)
def test_stereoisomers_have_no_map(first: str, second: str) -> None:
    assert not same_isomer(first, second)
    assert same_isomer(first, first)
    assert same_isomer(second, second)


@pytest.mark.parametrize(
    "smiles", ["CCCC", "CC(C)O", "FC(F)C(F)F", "CN(C)CC", "C1CCCCC1", "CC(=O)NC", "O=S(=O)(C)C", "C=CC=C"]
)
def test_conformers_and_prochiral_groups_are_one_isomer(smiles: str) -> None:
    """Structures of several seeds, and their mirror images."""
    (molecule, first), (_, second) = one(smiles), one(smiles, seed=3)
    for positions in (second, -first, -second):
        assert stereo_map(molecule.graph, molecule.stereo(first), molecule.graph, molecule.stereo(positions))


def test_the_mirror_image_of_a_chiral_molecule_is_another_isomer() -> None:
    molecule, positions = one("C[C@H](N)C(=O)O")
    hands = molecule.stereo(positions), molecule.stereo(-positions)
    assert stereo_map(molecule.graph, hands[0], molecule.graph, hands[1]) is None


def test_a_center_that_has_become_flat_is_not_the_same() -> None:
    molecule, positions = one("C[C@H](N)C(=O)O")
    flat = positions * [1.0, 1.0, 0.0]
    assert stereo_map(molecule.graph, molecule.stereo(positions), molecule.graph, molecule.stereo(flat)) is None


def test_atoms_in_a_line_have_no_side() -> None:
    molecule, positions = one("C=C=C")
    assert [hand.sign for hand in molecule.stereo(positions).values()] == [0, 0]
