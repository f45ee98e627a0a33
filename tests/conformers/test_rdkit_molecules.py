"""SMILES become molecules and structures; what they cannot be is said with the line."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from molcalc.conformers import rdkit_molecules
from molcalc.conformers.molecules import molecule_of
from molcalc.conformers.rdkit_molecules import embed, molecule_of_smiles, smiles_lines
from molcalc.errors import ConfigError, InputError, OpenStereoWarning

pytest.importorskip("rdkit")


@pytest.mark.parametrize(
    ("smiles", "formula", "charge", "multiplicity", "name"),
    [
        ("CCO", "C2H6O", 0, 1, "CCO"),
        ("OCC  my alcohol", "C2H6O", 0, 1, "my alcohol"),
        ("[NH3+]CC(=O)[O-]", "C2H5NO2", 0, 1, "[NH3+]CC(=O)[O-]"),
        ("[OH-]", "HO", -1, 1, "[OH-]"),
        ("C[N+](C)(C)C", "C4H12N", 1, 1, "C[N+](C)(C)C"),
        ("[CH3]", "CH3", 0, 2, "[CH3]"),
        ("[He]", "He", 0, 1, "[He]"),
        ("[H][H]", "H2", 0, 1, "[H][H]"),
    ],
)
def test_a_smiles_states_atoms_charge_multiplicity_and_name(
    smiles: str, formula: str, charge: int, multiplicity: int, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    found = molecule_of_smiles(smiles, "line 1")
    assert (found.formula, found.charge, found.multiplicity, found.name) == (formula, charge, multiplicity, name)
    atoms = embed(found, 1, 1)[0]
    assert atoms.info == {"charge": charge, "multiplicity": multiplicity}
    assert molecule_of(atoms, "it").graph.neighbors == found.graph.neighbors
    assert capfd.readouterr() == ("", "")


def test_isotopes_have_their_mass_and_other_atoms_that_of_ase() -> None:
    found = molecule_of_smiles("[2H]OC", "line 1")
    assert found.masses[0] == pytest.approx(2.014, abs=1e-3)
    assert found.masses[1:] == pytest.approx(embed(found, 1, 1)[0][1:].get_masses(), abs=0.0)
    assert found.masses[1] == pytest.approx(15.999, abs=1e-3)


@pytest.mark.parametrize(
    ("smiles", "words"),
    [
        ("C" * 100_000, "has 100,000 characters; at most 5,000 are read"),
        ("C1CC", "'C1CC' cannot be read as SMILES"),
        ("C(C)(C)(C)(C)C", "Explicit valence for atom # 0 C, 5, is greater than permitted"),
        ("c1cccc1", "Can't kekulize"),
        ("", "cannot be read as SMILES"),
        ("CC.O", "'CC.O' has 2 parts: give one molecule"),
        ("[Na+].[Cl-]", "has 2 parts"),
        ("*CC", "atom 0 of '*CC' is no element"),
        ("C[C@@](C)(C)", None),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line_and_reason(
    smiles: str, words: str | None, capfd: pytest.CaptureFixture[str]
) -> None:
    if words is None:
        molecule_of_smiles(smiles, "a.smi, line 7")
    else:
        with pytest.raises(InputError) as caught:
            molecule_of_smiles(smiles, "a.smi, line 7")
        assert str(caught.value).startswith("a.smi, line 7: ")
        assert words in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_what_has_no_structure_in_space_is_refused() -> None:
    """Rings of three and four that share a bond, on opposite sides of it."""
    with pytest.raises(InputError, match=r"line 2: no structure of .* impossible in space"):
        embed(molecule_of_smiles("[C@@H]12C[C@H]1C2", "line 2"), 50, 1)


def test_open_stereochemistry_is_settled_with_a_warning_that_names_the_isomer() -> None:
    with pytest.warns(OpenStereoWarning, match=r"line 1: .* open at 2 places: C/C=.*@.* is taken"):
        found = molecule_of_smiles("CC=CC(O)F", "line 1")
    assert "@" in found.smiles
    assert len(embed(found, 3, 1)) == 3


def test_written_stereochemistry_is_that_of_the_structures() -> None:
    from rdkit import Chem

    for smiles in ("C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O", "F/C=C/F", "F/C=C\\F"):
        found = molecule_of_smiles(smiles, "line 1")
        read = Chem.Mol(found.template)
        places = Chem.Conformer(read.GetNumAtoms())
        places.SetPositions(embed(found, 1, 1)[0].positions)
        places.Set3D(True)
        Chem.RemoveStereochemistry(read)
        read.AddConformer(places)
        Chem.AssignStereochemistryFrom3D(read)
        assert Chem.MolToSmiles(Chem.RemoveHs(read)) == Chem.CanonSmiles(smiles)


def test_the_seed_decides_all_structures() -> None:
    found = molecule_of_smiles("CCCO", "line 1")
    first, again, other = (np.array([a.positions for a in embed(found, 3, seed)]) for seed in (1, 1, 2))
    assert (first == again).all()
    assert np.abs(first - other).max() > 0.1
    many = np.array([a.positions for a in embed(molecule_of_smiles("CCO", "line 1"), 6, 1)])
    assert len({each.tobytes() for each in many}) == 6
    assert (embed(found, 2, 1)[0].positions == first[0]).all()


def test_flexible_molecules_get_more_structures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rdkit_molecules, "STRUCTURES_BY_BONDS", ((0, 2), (1, 3), (10**6, 4)))
    for smiles, number in (("CO", 2), ("CCCC", 3), ("CCCCCC", 4)):
        assert len(embed(molecule_of_smiles(smiles, "line 1"), None, 1)) == number


def test_lines_have_numbers_and_may_be_empty() -> None:
    text = "# drugs\nCCO ethanol\n\n  CO\n"
    assert list(smiles_lines(text, "a.smi")) == [("a.smi, line 2", "CCO ethanol"), ("a.smi, line 4", "CO")]
    with pytest.raises(InputError, match="a.smi holds no SMILES"):
        list(smiles_lines("\n# nothing\n", "a.smi"))


def test_without_rdkit_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rdkit", None)
    with pytest.raises(ConfigError, match=r"pip install 'molcalc\[conformers\]', or give structures"):
        molecule_of_smiles("CCO", "line 1")
