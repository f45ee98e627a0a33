"""Bonds, angles and torsions: which there are, and the values that ASE has for them."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import molecule

from molcalc.conformers.metrics.internal_coordinates import InternalCoordinates
from molcalc.conformers.molecules import molecule_of
from tests.helpers.structures import rattled


@pytest.mark.parametrize(
    ("name", "n_torsions"),
    [
        ("H2O2", 1),
        ("C2H6", 0),  # methyl groups look the same after a third of a turn
        ("trans-butane", 1),
        ("CH3CONH2", 1),  # amides turn slowly, but do
        ("C2H4", 0),  # double bonds do not
        ("cyclobutane", 0),  # nor do bonds of rings
        ("CO2", 0),  # and nothing turns about what is straight
        ("C3H4_C3v", 0),
    ],
)
def test_torsions_are_about_bonds_that_turn(name: str, n_torsions: int) -> None:
    atoms = molecule(name)
    assert len(InternalCoordinates.of(molecule_of(atoms, "it"), atoms.positions).torsion_names) == n_torsions


def test_torsions_follow_the_longest_branches() -> None:
    atoms = molecule("trans-butane")
    (name,) = InternalCoordinates.of(molecule_of(atoms, "it"), atoms.positions).torsion_names
    assert all(atom.startswith("C") for atom in name.split("–"))


def test_values_are_those_of_ase() -> None:
    atoms = rattled("CH3CH2OH", 0.1)
    coordinates = InternalCoordinates.of(molecule_of(molecule("CH3CH2OH"), "it"), atoms.positions)
    frames = np.array([atoms.positions, -atoms.positions])
    bonds = [atoms.get_distance(*each) for each in coordinates.bonds.tolist()]
    angles = [atoms.get_angle(*each) for each in coordinates.angles.tolist()]
    torsions = [atoms.get_dihedral(*each) for each in coordinates.torsions.tolist()]
    assert coordinates.lengths(frames)[0] == pytest.approx(bonds)
    assert coordinates.angles_in(frames)[0] == pytest.approx(angles)
    assert coordinates.torsions_in(frames)[0] % 360.0 == pytest.approx(torsions)
    assert coordinates.torsions_in(frames)[1] == pytest.approx(-coordinates.torsions_in(frames)[0])
    assert set(coordinates.bond_types) == {"C–C", "C–O", "C–H", "H–O"}
    assert len(coordinates.angles) == 13


def test_maps_are_of_torsions_that_share_an_atom() -> None:
    pytest.importorskip("rdkit")
    from molcalc.conformers.rdkit_molecules import embed, molecule_of_smiles

    peptide = molecule_of_smiles("CC(=O)N[C@@H](C)C(=O)NC", "a peptide")
    (atoms,) = embed(peptide, 1, 1)
    coordinates = InternalCoordinates.of(peptide, atoms.positions)
    assert coordinates.torsion_names == ("C0–C1–N3–C4", "C1–N3–C4–C6", "N3–C4–C6–N8", "C4–C6–N8–C9")
    assert coordinates.neighbors.tolist() == [[0, 1], [1, 2], [2, 3]]
