"""``molcalc train``: data and options of the command line, strict YAML, and runs that are interrupted."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from molcalc.cli import build_parser
from molcalc.cli.options import parse_data, parse_held_out
from molcalc.cli.train import gather_options
from molcalc.errors import ConfigError
from tests.helpers.training_runs import TINY, copied

SMALL = "model: noneq-dcm\nepochs: 2\nbatch_size: 8\nplots: false\narguments: " + json.dumps(TINY["noneq-dcm"]) + "\n"
START_LIMIT = 60.0


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return copied("co2_esp.db", tmp_path)


def options_of(*arguments: str) -> dict[str, Any]:
    return gather_options(build_parser().parse_args(["train", "x.db", "--output", "run", *arguments]))


def test_flags_win_over_settings_and_settings_over_files(tmp_path: Path) -> None:
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text("model: aimnet2\nlearning_rate: 1e-3\nepochs: 5\nloss: {weights: {energy: 2, forces: 3}}\n")
    second.write_text("epochs: 6\nloss:\n  weights:\n    forces: 4\n")
    found = options_of(
        "--config", str(first), "--config", str(second), "--set", "seed=3", "--set", "loss.weights.dipole=1e1",
        "--set", "optimizer=adam", "--optimizer", "muon", "--batch-size", "7",
    )  # fmt: skip
    assert found == {
        "model": "aimnet2",
        "learning_rate": 1e-3,
        "epochs": 6,
        "loss": {"weights": {"energy": 2, "forces": 4, "dipole": 10.0}},
        "seed": 3,
        "optimizer": "muon",
        "batch_size": 7,
        "data": ["x.db"],
    }


WRONG = [
    ("learning_rat: 1.0", "unknown key 'learning_rat' (did you mean 'learning_rate'?)"),
    ("loss: {weigths: {}}", "unknown key 'weigths' (did you mean 'weights'?)"),
    ("plots: NO", "plots: 'NO' is a str; expected bool"),
    ("epochs: 010", "epochs: '010' is a str; expected int"),
    ("learning_rate: 12:30:00", "learning_rate: '12:30:00' is a str; expected float"),
    ("learning_rate: 1e-3x", "learning_rate: '1e-3x' is a str; expected float"),
    ("ema: .nan", "ema: '.nan' is a str; expected float"),
    ("learning_rate: 1e999", "learning_rate: inf is not finite"),
    ("epochs: 3\nepochs: 4", "line 2: the key 'epochs' is given twice"),
    ("loss: &a {}\nschedule: *a", "line 2: aliases (*a) are not read"),
    ("model: !!python/object:os.system x", "could not determine a constructor"),
    ("[1, 2]", "expected lines 'option: value'"),
    ("epochs: [", "line 1: "),
    ("optimizer: adamm", "optimizer='adamm' (did you mean 'adam'?)"),
    ("schedule: {name: cosin}", "schedule: name='cosin' (did you mean 'cosine'?)"),
    ("epochs: 0", "epochs=0; expected at least 1"),
    ("arguments: {}\n\tx: 1", "line 2: "),
    ("data: 5", "data: 5 names no files"),
    ("units: [eV]", "units: ['eV']; expected a mapping label: unit"),
]


@pytest.mark.parametrize(("text", "message"), WRONG, ids=[text.splitlines()[-1] for text, _ in WRONG])
def test_a_mistake_in_a_file_is_named_with_the_file(run: Any, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "my.yaml").write_text(text)
    result = run("train", "x.db", "--model", "aimnet2", "--output", "run", "--config", "my.yaml")
    assert result.status == 2
    assert message in result.err
    assert "my.yaml" in result.err
    assert result.err.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("text", ["[" * 10_000, "{a: " * 10_000, "- " * 10_000, "x" * 300_000], ids=len)
def test_hostile_files_are_refused_at_once(tmp_path: Path, run: Any, text: str) -> None:
    (tmp_path / "bomb.yaml").write_text(text)
    started = time.process_time()
    assert run("train", "x.db", "--model", "aimnet2", "--output", "run", "--config", "bomb.yaml").status == 2
    assert time.process_time() - started < 3.0  # most of it imports of the very first command


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "which kind of model? Give --model aimnet2, aimnet2-dcm, aimnet2-noneq-dcm, physnet-dcm or noneq-dcm"),
        (("--model", "aimnet"), "unknown model 'aimnet' (did you mean 'aimnet2'?)"),
        (("--model", "aimnet2", "--set", "epochs"), "'epochs' is not KEY=VALUE"),
        (("--model", "aimnet2", "--set", "lr=1"), "unknown key 'lr'"),
        (("--model", "aimnet2", "--epochs", "0"), "'0' is not a whole number ≥ 1"),
        (("--model", "aimnet2", "--valid=-1"), "'-1' is not a number ≥ 0; give a share"),
        (("--model", "aimnet2", "--config", "none.yaml"), "cannot read the options none.yaml"),
        (("--model", "aimnet2", "--units", "energy"), "'energy' is not LABEL=UNIT"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(run: Any, arguments: tuple[str, ...], message: str) -> None:
    result = run("train", "x.db", "--output", "run", *arguments)
    assert result.status == 2
    assert message in result.err
    assert result.err.count("\n") == 1


def test_missing_data_are_status_3(run: Any) -> None:
    result = run("train", "none.db", "--model", "aimnet2", "--output", "run")
    assert (result.status, result.err) == (3, "molcalc: error: there is no file none.db\n")


def test_files_are_named_after_fidelities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=b.db").touch()
    assert parse_data(["a=b.db", "c.db"]) == ["a=b.db", "c.db"]
    assert parse_data(["low=x.db", "wb97m-d3=y.db", "low=z.db"]) == {"low": ["x.db", "z.db"], "wb97m-d3": ["y.db"]}
    with pytest.raises(ConfigError, match=r"z.db has no fidelity, but other files have one: write NAME=FILE"):
        parse_data(["low=x.db", "z.db"])
    assert parse_held_out(None) is None
    assert parse_held_out(["0.2"]) == 0.2
    assert parse_held_out(["50"]) == 50.0
    assert parse_held_out(["v.db", "w.db"]) == ["v.db", "w.db"]


def test_a_run_leaves_a_model_and_goes_on_with_its_own_options(run: Any, data: Path, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SMALL)
    result = run("train", data, "--config", "small.yaml", "--output", "run", "--seed", "5", "--quiet")
    assert result.status == 0, result.err
    assert "errors on the test part" in result.out
    assert "potential (ESP)" in result.out
    assert result.out.endswith("model: run\nreport: run/report.html\n")
    assert yaml.safe_load((tmp_path / "run" / "training.yaml").read_text())["seed"] == 5
    assert run("info", "run").status == 0
    again = run("train", data, "--config", "small.yaml", "--output", "run")
    assert again.status == 2
    assert "holds a run already: resume it (--resume)" in again.err
    resumed = run("train", data, "--output", "run", "--resume", "--quiet")
    assert resumed.status == 0, resumed.err
    assert resumed.out == result.out
    values = json.loads(run("train", "--output", "run", "--resume", "--quiet", "--json", "--csv", "errors.csv").out)
    assert (values["output"], values["history"][-1]["epoch"]) == ("run", 2)
    found = list(csv.DictReader((tmp_path / "errors.csv").read_text().splitlines()))
    assert list(found[0].values())[:4] == ["valid", "", "energy", "eV"]
    assert {key: float(found[0][key]) for key in ("mae", "rmse", "r2", "n")} == values["metrics"]["valid"]["energy"]
    changed = run("train", "--output", "run", "--resume", "--seed", "6", "--quiet")
    assert changed.status == 4
    assert re.search(r"option seed was 5 and is 6 now", changed.err)
    assert (
        run("train", "--resume", data, "--output", "run", "--epochs", "3", "--learning-rate", "1", "--quiet").status
        == 0
    )
    last = (tmp_path / "run" / "history.csv").read_text().splitlines()[-1]
    assert last.startswith("3,")
    assert "epochs 2 → 3" in last
    repeated = run("train", "--config", "run/training.yaml", "--output", "again", "--resume", "auto", "--quiet")
    assert repeated.status == 0, repeated.err
    assert (tmp_path / "again" / "parts.csv").read_text() == (tmp_path / "run" / "parts.csv").read_text()


@pytest.mark.parametrize(
    ("number", "expected"),
    [pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow), (signal.SIGTERM, 143)],
    ids=["INT", "TERM"],
)
def test_a_stopped_run_saves_and_says_how_to_go_on(tmp_path: Path, number: int, expected: int) -> None:
    """In a folder whose name tries the path handling, in a locale with a decimal comma."""
    folder = tmp_path / "läufe @1"
    data = copied("co2_esp.db", folder)
    (folder / "small.yaml").write_text(SMALL)
    command = [sys.executable, "-c", "import sys; from molcalc.cli import main; sys.exit(main())", "train", data.name,
               "--config", "small.yaml", "--output", "run@0", "--epochs", "1000000"]  # fmt: skip
    with subprocess.Popen(
        command, cwd=folder, env={**os.environ, "LC_ALL": "tr_TR.UTF-8"}, stderr=subprocess.PIPE, text=True
    ) as process:
        limit = time.monotonic() + START_LIMIT
        while not (folder / "run@0" / "last" / "config.json").exists() and time.monotonic() < limit:
            time.sleep(0.1)
        time.sleep(0.5)
        process.send_signal(number)
        assert process.stderr
        text = process.stderr.read()
        status = process.wait(timeout=30)
    assert status == expected, text
    assert "saved. Go on with" in text
    assert "Traceback" not in text
    from molcalc.io import checkpoint

    assert checkpoint.load(folder / "run@0" / "last").config.kind == "noneq-dcm"
