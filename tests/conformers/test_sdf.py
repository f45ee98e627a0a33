"""SDF in and out."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from molcalc.conformers.molecules import Ensemble, molecule_of
from molcalc.conformers.ranked import RankedConformers, RankedMolecule
from molcalc.conformers.rdkit_molecules import embed, molecule_of_smiles
from molcalc.conformers.sdf import read_records, with_bond_orders, write_sdf
from molcalc.errors import ConfigError, InputError, MolcalcError
from molcalc.structure_files.molfiles import read_molfile

pytest.importorskip("rdkit")
from rdkit import Chem  # noqa: E402

FLAT = """alanine
  2D

  6  5  0  0  0  0  0  0  0  0999 V2000
    0.0000    0.0000    0.0000 C   0  0
    1.2990    0.7500    0.0000 C   0  0
    2.5981    0.0000    0.0000 C   0  0
    1.2990    2.2500    0.0000 N   0  0
    3.8971    0.7500    0.0000 O   0  0
    2.5981   -1.5000    0.0000 O   0  0
  1  2  1  0
  2  3  1  0
  2  4  1  1
  3  5  1  0
  3  6  2  0
M  END
$$$$
"""


def as_record(smiles: str, seed: int = 1) -> str:
    """Record with the structure of a SMILES."""
    found = molecule_of_smiles(smiles, "it")
    mol = Chem.Mol(found.template)
    places = Chem.Conformer(mol.GetNumAtoms())
    places.SetPositions(embed(found, 1, seed)[0].positions)
    places.Set3D(True)
    mol.AddConformer(places)
    return Chem.MolToMolBlock(mol) + "$$$$\n"


def test_conformers_are_written_with_bonds_and_numbers_and_read_again(
    peroxides: RankedConformers, tmp_path: Path
) -> None:
    path = tmp_path / "ranked.sdf"
    write_sdf(path, peroxides.molecules)
    images = read_molfile(path.read_text(), "ranked.sdf")
    for atoms, conformer in zip(images, peroxides.conformers, strict=True):
        assert atoms.positions == pytest.approx(conformer.atoms.positions, abs=6e-5)
        assert atoms.info["energy_eV"] == conformer.energy
        assert {name: atoms.info[name] for name in conformer.numbers} == conformer.numbers
        assert atoms.info["name"] == "peroxide"
        assert atoms.info["smiles"] == "OO"
    mols = list(Chem.SDMolSupplier(str(path), removeHs=False))
    assert [mol.GetNumBonds() for mol in mols] == [3] * len(images)
    again = read_records(path.read_text(), str(path))
    assert [atoms is not None for _, atoms in again] == [True] * len(images)  # type: ignore[misc]


def test_a_record_with_a_structure_is_one_and_a_drawing_is_a_molecule(tmp_path: Path) -> None:
    path = tmp_path / "a.sdf"
    path.write_text(as_record("C[NH3+]") + FLAT)
    (ion, structure), (alanine, nothing) = read_records(path.read_text(), str(path))  # type: ignore[misc]
    assert (ion.charge, structure.info["charge"]) == (1, 1)
    assert structure.get_chemical_formula() == "CH6N"
    assert nothing is None
    assert (alanine.formula, alanine.name) == ("C3H7NO2", "alanine")
    assert alanine.smiles == "C[C@@H](N)C(=O)O"  # by its wedge: R


def test_a_record_that_is_no_molecule_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.sdf"
    wrong = FLAT.replace("  3  6  2  0", "  3  6  3  0")
    contradictory = as_record("[OH-]").replace("$$$$", ">  <charge>\n1\n\n$$$$")
    path.write_text(wrong + FLAT + contradictory)
    found = read_records(path.read_text(), str(path))
    assert [isinstance(each, MolcalcError) for each in found] == [True, False, True]
    assert str(found[0]) == f"{path}, record 0: its bonds make no molecule, says RDKit: check them, and formal charges"
    assert "states charge 1, its formal charges add up to -1" in str(found[2])


def test_bond_orders_of_structures_follow_from_bonds_and_charge() -> None:
    acetate = Atoms(molecule("CH3COOH"))
    hydroxyl = next(
        i for pair in molecule_of(acetate, "it").graph.bonds for i in pair
        if sorted(acetate.numbers[list(pair)]) == [1, 8] and acetate.numbers[i] == 1
    )  # fmt: skip
    del acetate[hydroxyl]
    acetate.info["charge"] = -1
    found = with_bond_orders(Ensemble(molecule=molecule_of(acetate, "it"), structures=[acetate]))
    assert Chem.MolToSmiles(Chem.RemoveHs(found.molecule.template)) == "CC(=O)[O-]"
    assert with_bond_orders(found) is found
    acetate.info["charge"] = 3
    with pytest.raises(InputError, match=r"it: no bond orders of C2H3O2 with charge 3 fit.*write .xyz or .db$"):
        with_bond_orders(Ensemble(molecule=molecule_of(acetate, "it"), structures=[acetate]))
    heavy = acetate[acetate.numbers > 1]
    with pytest.raises(InputError, match=r"write .xyz or .db; it has no hydrogen atoms: .*adds them with --smiles"):
        with_bond_orders(Ensemble(molecule=molecule_of(heavy, "it"), structures=[heavy]))


def test_without_rdkit_records_are_structures_and_no_sdf_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.sdf"
    path.write_text(as_record("CC"))
    monkeypatch.setitem(sys.modules, "rdkit", None)
    ((found, atoms),) = read_records(path.read_text(), str(path))  # type: ignore[misc]
    assert len(found.graph.bonds) == 7
    with pytest.raises(ConfigError, match=r"pip install 'molcalc\[conformers\]'"):
        with_bond_orders(Ensemble(molecule=found, structures=[atoms]))


def test_a_radical_stays_one(tmp_path: Path, peroxides: RankedConformers) -> None:
    path = tmp_path / "a.sdf"
    path.write_text(as_record("[CH3]"))
    ((found, atoms),) = read_records(path.read_text(), str(path))  # type: ignore[misc]
    assert (found.multiplicity, atoms.info["multiplicity"]) == (2, 2)
    ranked = peroxides.conformers[0]
    written = RankedMolecule(found, (replace(ranked, atoms=atoms),), (), 1)
    write_sdf(tmp_path / "b.sdf", [written])
    ((again, positions),) = read_records((tmp_path / "b.sdf").read_text(), "b.sdf")  # type: ignore[misc]
    assert again.multiplicity == 2
    assert np.abs(positions.positions - atoms.positions).max() < 1e-3
