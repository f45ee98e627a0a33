"""Everything that conformers may be ranked of, in one list, and what is wrong with the rest."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.db import connect
from ase.io import write

from molcalc.conformers.sources import SourceReader, is_file_name
from molcalc.errors import InputError, MissingFileError


def read(source: object) -> SourceReader:
    """Reader that has read something."""
    reader = SourceReader()
    reader.add(source)
    return reader


def numbers_of(reader: SourceReader) -> list[tuple[str, int]]:
    """Formula and number of structures of each molecule."""
    return [(each.molecule.formula, len(each.structures)) for each in reader.ensembles()]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """One file of each kind."""
    images = [molecule("CH3CH2OH"), molecule("CH3OCH3"), molecule("CH3CH2OH")]
    for name in ("a.xyz", "a.traj"):
        write(tmp_path / name, images)
    with connect(tmp_path / "a.db") as database:
        database.write(molecule("CH3CH2OH"), total_charge=0)
        database.write(molecule("OH"), total_charge=-1)
    (tmp_path / "a.smi").write_text("CCO ethanol\nC1CC bad\nCO\n")
    return tmp_path


def test_structures_are_grouped_by_molecule(files: Path) -> None:
    for name in ("a.xyz", "a.traj"):
        assert numbers_of(read(str(files / name))) == [("C2H6O", 2), ("C2H6O", 1)]
    rows = read(files / "a.db").ensembles()
    assert [(each.molecule.formula, each.molecule.charge) for each in rows] == [("C2H6O", 0), ("HO", -1)]
    assert numbers_of(read(molecule("CO2"))) == [("CO2", 1)]


def test_a_list_may_mix_everything_and_a_bad_entry_stops_nothing(files: Path) -> None:
    pytest.importorskip("rdkit")
    from rdkit import Chem

    crystal = molecule("H2O", cell=[5, 5, 5], pbc=True)
    reader = read([molecule("CO2"), "CC", Chem.MolFromSmiles("CCC"), crystal, files / "a.smi", 3, "no.xyz"])
    assert [formula for formula, _ in numbers_of(reader)] == ["CO2", "C2H6", "C3H8", "C2H6O", "CH4O"]
    words = [str(error) for error in reader.failures]
    assert words[0].startswith("structure 3: pbc=")
    assert words[1] == f"{files / 'a.smi'}, line 2: 'C1CC bad' cannot be read as SMILES"
    assert words[2].startswith("entry 5: 3 is a int; expected SMILES, a file, a Mol of RDKit, Atoms, or a list")
    assert words[3] == "no file no.xyz"
    assert isinstance(reader.failures[3], MissingFileError)


def test_a_molecule_of_rdkit_brings_its_structures_where_it_has_any() -> None:
    pytest.importorskip("rdkit")
    from rdkit import Chem
    from rdkit.Chem import rdDistGeom

    flat = Chem.MolFromSmiles("C[C@H](N)O")
    assert numbers_of(read(flat)) == [("C2H7NO", 0)]
    full = Chem.AddHs(flat)
    rdDistGeom.EmbedMultipleConfs(full, 3, randomSeed=1)
    assert numbers_of(read(full)) == [("C2H7NO", 3)]
    full.SetProp("_Name", "aminol")
    assert read(full).ensembles()[0].molecule.name == "aminol"


def test_what_holds_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.smi").touch()
    (tmp_path / "folder.xyz").mkdir()
    (tmp_path / "odd.nonsense").write_text("what?")
    (tmp_path / "torn.xyz").write_text("3\n\nO 0 0 0\nH")
    (tmp_path / "odd.smi").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "torn.sdf.gz").write_bytes(b"\x1f\x8b\x08")
    for source, words in {
        tmp_path / "empty.smi": "empty.smi is empty",
        tmp_path / "folder.xyz": "is a folder; a file is needed",
        tmp_path / "odd.nonsense": "odd.nonsense",
        tmp_path / "torn.xyz": "torn.xyz",
        tmp_path / "odd.smi": "odd.smi cannot be read",
        tmp_path / "torn.sdf.gz": "torn.sdf.gz cannot be read",
        tmp_path / "none.sdf": "no file",
    }.items():
        reader = read(source)
        assert not reader.ensembles()
        (error,) = reader.failures
        assert words in str(error)
        assert isinstance(error, (InputError, MissingFileError))


def test_smiles_are_told_from_names_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for text in ("CCO", "C/C=C/C", "C[C@H](N)C(=O)O", "[Na+]", "C" * 400):
        assert not is_file_name(text)
    for text in ("x.smi", "x.SDF", "folder/x.xyz", "x.xyz.gz"):
        assert is_file_name(text)
    Path("CCO").touch()
    assert is_file_name("CCO")


def test_structures_need_no_rdkit(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rdkit", None)
    reader = read([files / "a.xyz", files / "a.smi"])
    assert numbers_of(reader) == [("C2H6O", 2), ("C2H6O", 1)]
    assert "pip install 'molcalc[conformers]'" in str(reader.failures[0])


def test_atoms_of_all_structures_of_a_molecule_come_in_one_order() -> None:
    first = molecule("CH3CH2OH")
    second = first[np.random.default_rng(0).permutation(len(first))]
    (ensemble,) = read([first, second]).ensembles()
    assert [list(atoms.symbols) for atoms in ensemble.structures] == [list(first.symbols)] * 2
    assert isinstance(ensemble.structures[1], Atoms)
