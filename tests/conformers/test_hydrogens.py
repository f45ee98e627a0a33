"""Hydrogen atoms for heavy atoms."""

from __future__ import annotations

import numpy as np
import pytest

from molcalc.conformers.hydrogens import with_hydrogens
from molcalc.conformers.molecules import Ensemble, molecule_of
from molcalc.errors import InputError

pytest.importorskip("rdkit")
from molcalc.conformers.rdkit_molecules import embed, molecule_of_smiles  # noqa: E402

ALANINE = "CC(=O)N[C@@H](C)C(=O)NC"


def heavy(smiles: str, seed: int = 0) -> Ensemble:
    """Heavy atoms of a molecule in another order."""
    whole = embed(molecule_of_smiles(smiles, smiles), 2, 1)
    structures = [atoms[atoms.numbers > 1] for atoms in whole]
    order = np.random.default_rng(seed).permutation(len(structures[0]))
    structures = [atoms[order] for atoms in structures]
    return Ensemble(molecule=molecule_of(structures[0], "heavy atoms"), structures=structures)


def test_hydrogen_atoms_come_where_bonds_leave_room_and_the_hand_stays() -> None:
    made = with_hydrogens(heavy(ALANINE), ALANINE)
    assert made.molecule.formula == "C6H12N2O2"
    for atoms in made.structures:
        assert not made.molecule.connectivity_fault(atoms.positions)
        assert made.molecule.stereo(atoms.positions) == made.molecule.stereo(made.structures[0].positions)


@pytest.mark.parametrize(
    ("smiles", "message"),
    [
        (
            "CCO",
            "smiles CCO, C2H6O, is not the molecule of heavy atoms, C6N2O2 without hydrogen atoms: its heavy atoms",
        ),
        ("CC(", "cannot be read as SMILES"),
    ],
)
def test_smiles_of_something_else_are_refused(smiles: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        with_hydrogens(heavy(ALANINE), smiles)
