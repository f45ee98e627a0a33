"""``molcalc evaluate``: tables, JSON, and predictions in databases."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from ase.db import connect

from molcalc.train.data import open_dataset
from tests.helpers.training_runs import copied, fit_molecules


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    fit_molecules(folder)
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return copied("small_molecules.db", tmp_path)


def test_errors_are_printed_with_units_in_all_and_by_group(run: Any, data: Path, trained: Path) -> None:
    result = run("evaluate", data, "--model", trained)
    assert result.status == 0, result.err
    lines = result.out.splitlines()
    assert lines[0] == f"40 systems, {trained}"
    assert lines[2].split() == ["property", "MAE", "RMSE", "MAE", "RMSE", "R²", "values"]
    energy = lines[3].split()
    assert (energy[0], energy[2], energy[6], energy[-1]) == ("energy", "meV", "kcal/mol", "40")
    assert float(energy[5]) == pytest.approx(float(energy[1]) / 43.364, rel=1e-2)  # meV in 1 kcal/mol, CODATA
    for title in (r"formula +energy MAE \(meV\)", r"n_atoms +energy MAE \(meV\)", r"element +forces MAE \(meV/Å\)"):
        assert re.search(title, result.out)
    assert "more: --all" in result.out
    assert "more: --all" not in run("evaluate", data, "--model", trained, "--all").out
    assert "formula" not in run("evaluate", data, "--model", trained, "--by", "element").out


def test_json_is_in_the_units_of_the_package(run: Any, data: Path, trained: Path) -> None:
    values = json.loads(run("evaluate", data, "--model", trained, "--json", "--by", "formula").out)
    assert values["systems"] == 40
    assert values["units"] == {"energy": "eV", "forces": "eV/Å", "dipole": "e·Å", "charges": "e"}
    assert set(values["errors"]["forces"]) == {"mae", "rmse", "r2", "n"}
    assert set(values["by"]) == {"formula"}
    n = sum(row["energy"]["n"] for row in values["by"]["formula"].values())
    assert n == values["errors"]["energy"]["n"] == 40


def test_predictions_are_written_and_added(run: Any, data: Path, trained: Path, tmp_path: Path) -> None:
    result = run(
        "evaluate", data, "--model", trained, "--output", "out.db", "--annotate", "tiny", "--by", "--plot", "a.png"
    )
    assert result.status == 0, result.err
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    again = run("evaluate", data, "--model", trained, "--plot", "a.png")
    assert (again.status, "a.png exists" in again.err) == (2, True)
    written = connect(tmp_path / "out.db")
    assert len(written) == 40
    assert written.metadata["model"] == str(trained)
    labelled = connect(data)
    for row in written.select(limit=3):
        source = labelled.get(row.source_row)
        assert row.energy == pytest.approx(source.tiny_energy, abs=1e-9)
        assert row.label_energy == pytest.approx(source.energy, abs=1e-9)
        assert row.total_charge == source.total_charge
    again = run("evaluate", data, "--model", trained, "--output", "out.db")
    assert again.status == 2
    assert "out.db exists" in again.err


def test_progress_is_shown_on_a_terminal_and_predictions_tell_files_of_one_name_apart(
    run: Any, data: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    other = copied("small_molecules.db", tmp_path / "other")
    words = ("evaluate", f"{data}@id<4", f"{other}@id<3", "--model", trained, "--output", "out.db", "--by", "--force")
    assert run(*words).err == ""
    monkeypatch.setattr("molcalc.cli.terminal._VisibleText.isatty", lambda self: True)
    assert "evaluate: 100%" in run(*words).err
    names = [row.source_file for row in connect(tmp_path / "out.db").select()]
    assert names == [f"{tmp_path.name}/{data.name}"] * 3 + [f"other/{data.name}"] * 2


@pytest.mark.parametrize("suffix", ["npz", "h5", "traj", "xyz", "json"])
def test_predictions_go_into_every_kind_of_file(
    run: Any, data: Path, trained: Path, tmp_path: Path, suffix: str
) -> None:
    result = run("evaluate", data, "--model", trained, "--output", f"out.{suffix}")
    assert result.status == 0, result.err
    assert len(open_dataset(tmp_path / f"out.{suffix}")) == 40


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("none.db", "--model", "RUN"), 3, "there is no file none.db"),
        (("DATA", "--model", "wb97m"), 2, "did you mean 'wb97m-d3'?"),
        (("DATA", "--model", "RUN", "--model", "RUN"), 2, "are the same model"),
        (("DATA", "--model", "RUN", "--by", "elment"), 2, "did you mean 'element'?"),
        (("DATA", "--model", "RUN", "--fidelity", "pbe0"), 2, "unknown fidelity 'pbe0'; the model has default"),
        (("DATA", "--model", "RUN", "--annotate", "a b"), 3, "cannot begin the name of a key"),
        (("DATA", "--model", "RUN", "-o", "p.foo"), 2, "-o p.foo: files of structures end in .db"),
        (("DATA", "--model", "RUN", "--esp-max", "0"), 2, "'0' is not a number > 0"),
    ],
)
def test_mistakes_are_one_line(
    run: Any, data: Path, trained: Path, arguments: tuple[str, ...], status: int, message: str
) -> None:
    names = {"DATA": str(data), "RUN": str(trained)}
    result = run("evaluate", *(names.get(item, item) for item in arguments))
    assert result.status == status
    assert message in result.err
    assert result.err.count("\n") == 1
    assert result.out == ""
