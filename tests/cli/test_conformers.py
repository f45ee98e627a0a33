"""``molcalc conformers``."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from ase.build import molecule
from ase.db import connect
from ase.io import read, write

from molcalc.predictor import Predictor
from molcalc.structure_files.molfiles import read_molfile
from tests.helpers.pages import data_of

pytest.importorskip("rdkit")
MODEL = ("--model", "small-species", "--fidelity", "pbe0")


@pytest.fixture
def conformers(run: Any) -> Any:
    """Rank with few structures."""
    return lambda *arguments: run("conformers", *arguments, *MODEL, "--structures", "3")


def test_molecules_of_a_file_are_ranked_and_a_bad_line_is_named(conformers: Any) -> None:
    Path("a.smi").write_text("O water\nC1CC bad\n\nOO\n[Fe] iron\n")
    result = conformers("a.smi", "-o", "ranked.sdf", "--csv", "ranked.csv")
    assert result.status == 2
    assert "error: a.smi, line 2: 'C1CC bad' cannot be read as SMILES" in result.err
    assert "error: a.smi, line 5: element Fe (Z=26)" in result.err
    assert result.err.endswith("2 failed, 2 are done\n")
    lines = result.out.splitlines()
    assert lines[0].split() == ["molecule", "rank", "energy/eV", "relative/(kcal/mol)", "weight", "degeneracy", "found"]
    assert lines[1].split()[:2] == ["water", "1"]
    assert "water: 1 conformer of 3 structures, 2 duplicate" in lines
    images = read_molfile(Path("ranked.sdf").read_text(), "ranked.sdf")
    assert len(images) == len(Path("ranked.csv").read_text().splitlines()) - 1
    assert sorted(path.name for path in Path().iterdir()) == ["a.smi", "ranked.csv", "ranked.sdf"]


@pytest.mark.parametrize("name", ["ranked.xyz", "ranked.db", "ranked.traj"])
def test_files_have_energies_ranks_and_weights(conformers: Any, name: str) -> None:
    result = conformers("O water", "-o", name, "--json", "--unit", "kJ/mol")
    assert result.status == 0, result.err
    found = json.loads(result.out)
    assert found["units"] == {"energy": "kJ/mol", "relative": "kJ/mol"}
    (record,) = found["molecules"]
    assert (record["name"], record["formula"], record["smiles"]) == ("water", "H2O", "O")
    (best,) = record["conformers"]
    if name.endswith(".db"):
        row = connect(name).get(1)
        info, energy = {**row.key_value_pairs, **row.data}, row.energy
        assert info["total_charge"] == 0
    else:
        atoms = read(name)
        info, energy = atoms.info, atoms.get_potential_energy()
    assert energy * 96.48533 == pytest.approx(best["energy"], abs=1e-2)
    assert (info["rank"], info["weight"], info["molecule"]) == (1, 1.0, "water")


def test_structures_of_files_are_taken_as_they_are(conformers: Any) -> None:
    write("a.xyz", [molecule("H2O"), molecule("CO2"), molecule("H2O")])
    result = conformers("a.xyz@0:2", "-o", "ranked.sdf", "--html", "ranked.html")
    assert result.status == 0, result.err
    assert [view["title"] for view in data_of(Path("ranked.html"))["views"]] == ["H2O 1", "CO2 1"]
    assert "H2O: 1 conformer of 1 structures" in result.out
    assert "CO2: 1 conformer of 1 structures" in result.out
    images = read_molfile(Path("ranked.sdf").read_text(), "ranked.sdf")
    assert [atoms.get_chemical_formula() for atoms in images] == ["H2O", "CO2"]


def test_an_interrupted_run_says_how_to_go_on_and_does(conformers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    predict, count = Predictor.predict, [0]

    def interrupted(self: Predictor, *arguments: Any) -> Any:
        count[0] += 1
        if Path("out.xyz.relaxed.traj").exists():
            os.kill(os.getpid(), signal.SIGTERM)
        return predict(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Predictor, "predict", interrupted)
        stopped = conformers("CO", "-o", "out.xyz")
    assert stopped.status == 143
    assert "relaxations; out.xyz.relaxed.traj has them: --restart goes on" in stopped.err
    refused = conformers("CO", "-o", "out.xyz")
    assert refused.status == 2
    assert "--restart goes on with them, --force begins anew" in refused.err
    assert conformers("CO", "-o", "out.xyz", "--restart").status == 0
    assert [path.name for path in Path().iterdir()] == ["out.xyz"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("CO", "-o", "x.nonsense"), "unknown output format"),
        (("CO", "-o", "no/x.sdf"), "the folder no does not exist"),
        (("CO", "-o", "there.sdf"), "there.sdf exists"),
        (("CO", "--csv", "there.sdf"), "there.sdf exists"),
        (("there.sdf", "-o", "there.sdf", "--force"), "is an input and the target"),
        (("none.smi", "-o", "x.sdf"), "no file none.smi"),
        (("none.xyz", "-o", "x.sdf"), "no file none.xyz"),
        (("C1CC", "-o", "x.sdf"), "cannot be read as SMILES"),
        (("CO", "--window", "-1"), "is not a number > 0"),
        (("CO", "--enantiomers", "merg"), "did you mean 'merge'?"),
    ],
)
def test_impossible_requests_are_refused_before_anything_is_relaxed(
    conformers: Any, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], words: str
) -> None:
    monkeypatch.setattr(Predictor, "predict", lambda *_: pytest.fail("something was computed"))
    Path("there.sdf").write_text("precious")
    result = conformers(*options)
    assert (result.status, result.out) == (2, "")
    assert words in result.err
    assert [path.name for path in Path().iterdir()] == ["there.sdf"]
    assert Path("there.sdf").read_text() == "precious"


def test_a_number_of_structures_below_one_is_refused(run: Any) -> None:
    result = run("conformers", "CO", "--structures", "0", *MODEL)
    assert (result.status, result.out) == (2, "")
    assert "'0' is not a whole number ≥ 1" in result.err
