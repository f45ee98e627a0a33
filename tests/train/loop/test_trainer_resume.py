"""Interrupted runs go on as if nothing had happened, to the last bit."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect

from molcalc.errors import CheckpointMismatchError, ConfigError, DatasetError, InputError, InUseError
from molcalc.io import checkpoint
from molcalc.train import fit
from molcalc.train.loop.run_folder import RunFolder
from molcalc.train.loop.state_upgrades import OLDEST_STATE
from molcalc.train.loop.trainer import Trainer
from tests.helpers.forks import Fork
from tests.helpers.training_runs import DATA, TINY, copied

OPTIONS = {"epochs": 6, "batch_size": 8, "batch_mode": "molecules", "arguments": TINY["aimnet2"], "seed": 3,
           "validate_every": 2, "learning_rate": 3e-3, "keep_top": 2, "plots": False}  # fmt: skip


def run(data: Path | dict[str, Path], output: Path, **changes) -> None:
    fit(data, "aimnet2", output=output, progress=False, **{**OPTIONS, **changes})


@pytest.fixture(scope="module")
def finished(labelled_db: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without interruption."""
    output = tmp_path_factory.mktemp("runs") / "straight"
    run(labelled_db, output)
    return output


def assert_same_run(one: Path, other: Path) -> None:
    """Weights, averages, optimizer, counters and history are equal bit for bit; only times may differ."""
    (model_a, state_a), (model_b, state_b) = RunFolder(one).load_last(), RunFolder(other).load_last()
    assert model_a.weights.keys() == model_b.weights.keys()
    assert all(torch.equal(model_a.weights[name], model_b.weights[name]) for name in model_a.weights)
    for state in (state_a, state_b):
        state["progress"].pop("seconds")
        for row in state["history"]:
            row.pop("seconds")
    assert_equal(state_a, state_b)
    best_a, best_b = checkpoint.load(one), checkpoint.load(other)
    assert best_a.hash == best_b.hash
    assert sorted(p.name for p in (one / "top").iterdir()) == sorted(p.name for p in (other / "top").iterdir())


def assert_equal(a, b) -> None:
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_equal(a[key], b[key])
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for one, other in zip(a, b):
            assert_equal(one, other)
    else:
        assert a == b


class StopAt:
    """Send a signal after some steps, which asks for a stop unless another one is chosen."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, step: int, number: int = signal.SIGINT) -> None:
        from molcalc.train.report import recording

        original = recording.Console._update

        def update(self, trainer) -> None:
            original(self, trainer)
            if trainer.progress.step == step:
                os.kill(os.getpid(), number)

        monkeypatch.setattr(recording.Console, "_update", update)


@pytest.mark.parametrize("step", [1, 5, 8, 13, 23])
def test_an_interrupted_run_goes_on_bit_for_bit(
    step: int, finished: Path, labelled_db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of an epoch, at its end, before and after validations."""
    with monkeypatch.context() as patch:
        StopAt(patch, step)
        with pytest.raises(KeyboardInterrupt):
            run(labelled_db, tmp_path / "run")
    assert RunFolder(tmp_path / "run").load_last()[1]["progress"]["step"] == step
    run(labelled_db, tmp_path / "run", resume=True)
    assert_same_run(finished, tmp_path / "run")


@pytest.mark.parametrize("step", [4, 9])
def test_a_run_of_several_fidelities_goes_on_bit_for_bit(
    step: int, labelled_db: Path, low_db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = {"high": labelled_db, "low": low_db}
    changes = {"fidelity_weights": {"high": 3.0, "low": 1.0}, "fidelities": {"high": {"base": "low"}}, "epochs": 2}
    run(data, tmp_path / "straight", **changes)
    with monkeypatch.context() as patch:
        StopAt(patch, step)
        with pytest.raises(KeyboardInterrupt):
            run(data, tmp_path / "run", **changes)
    run(data, tmp_path / "run", resume=True, **changes)
    assert_same_run(tmp_path / "straight", tmp_path / "run")
    with pytest.raises(CheckpointMismatchError, match="data have the fidelities low, and the run was begun with high,"):
        run({"low": low_db}, tmp_path / "run", resume=True)


MANY = pytest.param(range(1, 10), marks=[pytest.mark.slow, pytest.mark.timeout(1200)], id="1-9")


@pytest.mark.parametrize("trial", [0, MANY])
def test_runs_killed_at_random_moments_go_on_bit_for_bit(
    trial: int | range, finished: Path, labelled_db: Path, tmp_path: Path
) -> None:
    """kill −9 while training and while a checkpoint is written: every step writes one."""
    often = {"checkpoint_minutes": 1e-4}
    for number in [trial] if isinstance(trial, int) else trial:
        rng = random.Random(number)
        output = tmp_path / f"run{number}"
        process = Fork(partial(run, labelled_db, output, **often))
        while not (output / "last" / "config.json").exists():
            assert process.poll() is None, process.err
            time.sleep(0.01)
        time.sleep(rng.uniform(0.0, 1.0))
        process.send_signal(signal.SIGKILL)
        process.wait()
        run(labelled_db, output, resume=True, **often)
        assert_same_run(finished, output)


def test_a_second_run_in_the_same_folder_is_refused(labelled_db: Path, tmp_path: Path) -> None:
    with RunFolder(tmp_path).owned(), pytest.raises(InUseError, match=f"is being written by process {os.getpid()}"):
        run(labelled_db, tmp_path)


def test_a_finished_run_is_not_overwritten(finished: Path, labelled_db: Path) -> None:
    with pytest.raises(InputError, match="holds a run already: resume it"):
        run(labelled_db, finished)


@pytest.mark.parametrize("name", ["history.csv", "plots/mine.png", "top/mine/notes.txt"])
def test_files_of_something_else_are_not_written_over(name: str, labelled_db: Path, tmp_path: Path) -> None:
    other = tmp_path / "run" / name
    other.parent.mkdir(parents=True)
    other.write_text("x")
    with pytest.raises(InputError, match=rf"holds {name.split('/')[0]} of something else.*move it away"):
        run(labelled_db, tmp_path / "run")
    assert other.read_text() == "x"


def test_what_a_kill_at_the_first_save_leaves_is_cleared_up(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    names = (".saving.lock", ".1273-1.tmp.training_state.pt.new", "..1273-1.tmp.training_state.pt.new.lock")
    folder.last.mkdir(parents=True)
    for name in (*names, "weights.safetensors.new"):
        (folder.last / name).touch()
    folder.check_new()
    with folder.owned():
        assert not {*names} & {file.name for file in folder.last.iterdir()}
    (folder.last / "weights.safetensors").touch()
    with pytest.raises(InputError, match="holds last of something else"):
        folder.check_new()


def test_a_run_that_failed_before_its_first_step_does_not_block_the_corrected_one(
    labelled_db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", stop)
        with pytest.raises(KeyboardInterrupt):
            run(labelled_db, tmp_path / "run", epochs=1)
    assert RunFolder(tmp_path / "run").started
    run(labelled_db, tmp_path / "run", epochs=1, batch_size=16)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (
            {"arguments": {**TINY["aimnet2"], "aim_size": 8}},
            "option arguments.aim_size was 16 and is 8 now, but the netw",
        ),
        ({"seed": 4}, "option seed was 3 and is 4 now, but its weights and its batches follow from it"),
        ({"coulomb": None}, 'option coulomb was "auto" and is null now'),
        ({"valid": 0.2}, "option valid was 0.1 and is 0.2 now, but a run keeps its parts"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_a_run_keeps_is_named_with_the_reason(
    changes: dict, named: str, finished: Path, labelled_db: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished, tmp_path / "run")
    with pytest.raises(
        CheckpointMismatchError, match=rf"{re.escape(named)}.*; undo the change, or start a new run with"
    ):
        run(labelled_db, tmp_path / "run", resume=True, **changes)


def grown(source: Path, target: Path, symbols: str | None = None) -> Path:
    """A copy of a database with one more structure, of other elements if so wished."""
    shutil.copy(source, target)
    with connect(target) as db:
        row = db.get(id=1)
        atoms = row.toatoms()
        atoms.positions += np.random.default_rng(0).normal(0.0, 0.05, atoms.positions.shape)
        atoms.symbols = symbols or atoms.symbols
        results = {"energy": row.energy, "forces": row.forces, "charges": row.charges, "dipole": row.dipole}
        atoms.calc = SinglePointCalculator(atoms, **results)
        db.write(atoms, total_charge=0, multiplicity=1, data=row.data)
    return target


def parts_of(folder: Path) -> dict[str, str]:
    """Part of every row of a run."""
    lines = (folder / "parts.csv").read_text().splitlines()
    assert lines[0] == "part,file,row,geometry"
    return {row: part for part, _, row, _ in (line.split(",") for line in lines[1:])}


def parts_with(folder: Path, part: str) -> list[str]:
    """Rows in a part of a run."""
    return [row for row, its_part in parts_of(folder).items() if its_part == part]


def test_a_finished_run_goes_on_with_other_options_and_more_data(
    finished: Path, labelled_db: Path, tmp_path: Path
) -> None:
    """Options that are not given stay those of the run, and what changed is written down."""
    shutil.copytree(finished, tmp_path / "run")
    data = grown(labelled_db, tmp_path / "more.db")
    changes = {"epochs": 8, "learning_rate": 1e-4, "batch_size": 4, "accumulate": 2, "patience": 50,
               "schedule": {"name": "constant"}, "loss": {"weights": {"forces": 2.0}}, "weight_decay": 0.0}  # fmt: skip
    result = fit(data, output=tmp_path / "run", resume=True, progress=False, **changes)
    assert result.history[-1]["epoch"] == 8
    assert result.history[-1]["learning_rate"] == 1e-4
    assert result.history[-1]["step"] == 24 + 2 * (-(-len(parts_with(tmp_path / "run", "train")) // 4))
    told = result.history[-1]["changes"]
    for what in ("epochs 6 → 8", "learning_rate 0.003 → 0.0001", "batch_size 8 → 4", "loss.weights.forces 5.0 → 2.0",
                 'schedule.name "cosine" → "constant"', "systems in train, valid, test 28, 4, 4 →"):  # fmt: skip
        assert what in told
    text = (tmp_path / "run" / "training.yaml").read_text()
    assert "more.db" in text
    assert "# epoch 6, step 24: learning_rate 0.003 → 0.0001" in text
    before, after = parts_of(finished), parts_of(tmp_path / "run")
    assert len(after) == len(before) + 1
    assert {row: part for row, part in after.items() if row in before} == before
    again = fit(output=tmp_path / "run", resume=True, progress=False, epochs=9)
    assert again.history[-1]["changes"] == "epochs 8 → 9"
    assert yaml.safe_load((tmp_path / "run" / "training.yaml").read_text())["loop"]["batch_size"] == 4


def test_another_optimizer_takes_its_own_recommended_settings(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    result = fit(output=tmp_path / "run", resume=True, progress=False, epochs=7, optimizer="muon")
    assert 'optimizer "adamw" → "muon"' in result.history[-1]["changes"]
    options = yaml.safe_load((tmp_path / "run" / "training.yaml").read_text())["optimize"]
    assert (options["learning_rate"], options["optimizer_options"]) == (2e-3, {"momentum": 0.95, "nesterov": True})


def test_the_best_model_is_judged_again_when_other_labels_count(finished: Path, tmp_path: Path) -> None:
    """A score of energies, forces, charges and dipoles says nothing beside one of energies."""
    shutil.copytree(finished, tmp_path / "run")
    weights = {"energy": 1.0, "forces": 0.0, "charges": 0.0, "dipole": 0.0}
    changes = {"epochs": 7, "learning_rate": 0.0, "loss": {"weights": weights}}
    result = fit(output=tmp_path / "run", resume=True, progress=False, **changes)
    best = RunFolder(tmp_path / "run").load_last()[1]["progress"]["best"]
    assert best == pytest.approx(result.metrics["valid"]["energy"]["mae"], rel=1e-4)


def test_data_with_elements_that_the_run_does_not_know_are_refused(
    finished: Path, labelled_db: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished, tmp_path / "run")
    data = grown(labelled_db, tmp_path / "more.db", symbols="SiH4")
    with pytest.raises((CheckpointMismatchError, DatasetError), match=r"Si.*"):
        run(data, tmp_path / "run", resume=True)


def test_a_run_that_goes_on_to_fewer_epochs_than_it_made_is_validated_where_it_is(
    labelled_db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patch:
        StopAt(patch, 6)
        with pytest.raises(KeyboardInterrupt):
            run(labelled_db, tmp_path / "run", validate_every=5)
    changes = {"epochs": 1, "validate_steps": 3}  # in place of validate_every
    result = fit(output=tmp_path / "run", resume=True, progress=False, **changes)
    assert [row["step"] for row in result.history] == [6]
    assert "validate_every 5 → null; validate_steps null → 3" in result.history[0]["changes"]
    assert "has made 1 epochs, and 1 are asked for: nothing is left to train" in caplog.text


def test_a_job_that_is_started_again_begins_or_goes_on(
    finished: Path, labelled_db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        StopAt(patch, 10)
        with pytest.raises(KeyboardInterrupt):
            run(labelled_db, tmp_path / "run", resume="auto")
    for _ in range(2):  # the second time nothing is left to do
        for name in ("training.yaml", "parts.csv"):  # as if it had been killed before they were written
            (tmp_path / "run" / name).unlink()
        run(labelled_db, tmp_path / "run", resume="auto")
    assert_same_run(finished, tmp_path / "run")
    assert (tmp_path / "run" / "training.yaml").is_file()
    assert (tmp_path / "run" / "parts.csv").read_text() == (finished / "parts.csv").read_text()
    with pytest.raises(ConfigError, match="resume='always'; expected True, False or 'auto'"):
        run(labelled_db, tmp_path / "run", resume="always")


def test_training_yaml_repeats_a_run(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file holds the arguments of the call: data, options, and the settings that were recommended."""
    monkeypatch.chdir(tmp_path)
    arguments = yaml.safe_load((finished / "training.yaml").read_text())
    assert arguments["optimize"]["optimizer_options"]["betas"] == [0.9, 0.999]
    fit(output=tmp_path / "again", progress=False, **arguments)
    assert_same_run(finished, tmp_path / "again")
    assert (tmp_path / "again" / "parts.csv").read_text() == (finished / "parts.csv").read_text()


def test_a_signal_saves_and_the_run_goes_on(
    finished: Path, labelled_db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = []
    original = RunFolder.save_last

    def save_last(self: RunFolder, model: checkpoint.Checkpoint, state: dict) -> None:
        saved.append(state["progress"]["step"])
        original(self, model, state)

    with monkeypatch.context() as patch:
        StopAt(patch, 10, signal.SIGUSR1)
        patch.setattr(RunFolder, "save_last", save_last)
        run(labelled_db, tmp_path / "run")
    assert saved == [0, 8, 10, 16, 24]
    assert_same_run(finished, tmp_path / "run")


def test_resuming_nothing_is_an_error(labelled_db: Path, tmp_path: Path) -> None:
    for data in (labelled_db, None):
        with pytest.raises(FileNotFoundError, match="no run to resume"):
            run(data, tmp_path / "new", resume=True)
    with pytest.raises(ConfigError, match="no data to train on: name an ASE database"):
        run(None, tmp_path / "new")


def test_loading_a_state_executes_nothing(finished: Path, tmp_path: Path) -> None:
    """A pickle in place of the training state is refused, even with a matching checksum."""
    import pickle

    from molcalc.errors import CheckpointCorruptError

    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'canary'}",)

    model, _ = RunFolder(finished).load_last()
    checkpoint.save(tmp_path / "last", model, extra={"training_state.pt": pickle.dumps(Evil())})
    with pytest.raises(CheckpointCorruptError):
        RunFolder(tmp_path).load_last()
    assert not (tmp_path / "canary").exists()


def test_a_state_saved_on_a_gpu_is_read_without_one(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A state whose storages say "cuda:0", as those of a run on a GPU do."""
    model, state = RunFolder(finished).load_last()
    with monkeypatch.context() as patch:
        patch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
        RunFolder(tmp_path).save_last(model, state)
    assert_equal(RunFolder(tmp_path).load_last()[1], state)


def test_a_run_of_an_older_version_goes_on(tmp_path: Path) -> None:
    """tests/data/runs/v3: stopped after three of four steps by the version that knew parameters by their position."""
    shutil.copytree(DATA.parent / "runs" / "v3", tmp_path / "run")
    data = copied("co2_esp.db", tmp_path)
    result = fit(data, output=tmp_path / "run", resume=True, progress=False)
    assert [row["epoch"] for row in result.history] == [1, 2]
    assert not result.history[-1].get("changes")
    _, state = RunFolder(tmp_path / "run").load_last()
    steps = {name: float(values["step"]) for name, values in state["optimizer"]["AdamW"].items()}
    assert steps
    assert set(steps.values()) == {4.0}


def test_a_run_of_a_version_too_old_is_refused_with_a_way_on(finished: Path, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    model, state = RunFolder(finished).load_last()
    folder.save_last(model, {**state, "version": OLDEST_STATE - 1})
    with pytest.raises(CheckpointMismatchError, match=rf"another version.*start a new run with init='{folder.path}'"):
        folder.load_last()


def test_a_tracker_that_is_refused_leaves_the_run_as_it_was(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(finished, tmp_path / "run")
    before = (tmp_path / "run" / "training.yaml").read_text()
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ConfigError, match="track='wandb' needs the package"):
        fit(output=tmp_path / "run", resume=True, progress=False, epochs=7, track="wandb")
    assert (tmp_path / "run" / "training.yaml").read_text() == before
