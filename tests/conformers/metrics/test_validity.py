"""Validity of structures: each fault is told by its part, and by no other where that can be."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rdkit")
from molcalc.conformers.metrics.exchanges import Exchanges
from molcalc.conformers.metrics.validity import VALIDITY_PARTS, validity_of
from molcalc.conformers.rdkit_molecules import embed, molecule_of_smiles


def validity(smiles: str, change: str) -> list[bool]:
    """Parts of the validity of a structure that has been changed."""
    molecule = molecule_of_smiles(smiles, smiles)
    (atoms,) = embed(molecule, 1, 1)
    first, second = np.array(molecule.graph.bonds).T
    usual = np.linalg.norm(atoms.positions[first] - atoms.positions[second], axis=1)
    positions = atoms.positions.copy()
    if change == "stretched":
        positions[-1] += 0.3 * (positions[-1] - positions[molecule.graph.neighbors[len(positions) - 1][0]])
    elif change == "mirrored":
        positions *= -1.0
    elif change == "labels exchanged":
        positions[[-1, -2]] = positions[[-2, -1]]
    elif change == "collapsed":
        positions[0] = positions[-1] + [0.1, 0.0, 0.0]
    found = validity_of(molecule, Exchanges.of(molecule, atoms.positions), usual, positions[None])
    return [bool(getattr(found, part)[0]) for part in VALIDITY_PARTS]


@pytest.mark.parametrize(
    ("smiles", "change", "parts"),
    [
        ("CCCCO", "nothing", [True, True, True, True]),
        ("CCCCO", "stretched", [True, False, True, True]),
        ("CCCCO", "mirrored", [True, True, True, True]),
        ("C[C@H](O)CF", "mirrored", [True, True, True, False]),
        ("F/C=C/C", "nothing", [True, True, True, True]),
        ("OCCCC", "labels exchanged", [True, True, True, True]),
        ("CCCCCCO", "collapsed", [False, False, False, True]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_faults_are_told_by_their_part(smiles: str, change: str, parts: list[bool]) -> None:
    found = validity(smiles, change)
    assert found[:3] == parts[:3]
    if change != "collapsed":
        assert found[3] == parts[3]


def test_hydrogen_bonds_are_no_overlap_and_double_bonds_hold() -> None:
    molecule = molecule_of_smiles("F/C=C/C", "it")
    (trans,) = embed(molecule, 1, 1)
    (cis,) = embed(molecule_of_smiles("F/C=C\\C", "it"), 1, 1)
    exchanges = Exchanges.of(molecule, trans.positions)
    assert exchanges.same_stereoisomer(np.array([trans.positions, cis.positions])).tolist() == [True, False]
    glycol = molecule_of_smiles("OCC(=O)O", "it")
    (atoms,) = embed(glycol, 1, 1)
    usual = np.ones(len(glycol.graph.bonds))
    hydrogen = next(j for j in glycol.graph.neighbors[0] if glycol.numbers[j] == 1)
    near = atoms.positions.copy()
    near[hydrogen] = near[3] + [0.0, 0.0, 1.6]
    assert validity_of(glycol, Exchanges.of(glycol, atoms.positions), usual, near[None]).overlaps.tolist() == [True]
