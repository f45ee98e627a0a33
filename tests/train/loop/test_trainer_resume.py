"""Interrupted runs go on as if nothing had happened, to the last bit."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch

from molcalc.errors import CheckpointError, CheckpointMismatchError, InputError
from molcalc.io import checkpoint
from molcalc.train import fit
from molcalc.train.loop.run_folder import STATE_VERSION, RunFolder
from molcalc.train.loop.trainer import Trainer
from tests.helpers.training_runs import TINY

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
    """Ask for a stop after some steps, as a signal does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
        from molcalc.train.report import recording

        original = recording.Console._update

        def update(self, trainer) -> None:
            original(self, trainer)
            if trainer.progress.step == step:
                os.kill(os.getpid(), signal.SIGINT)

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
    with pytest.raises(CheckpointMismatchError, match="option fidelity_weights was"):
        run(data, tmp_path / "run", resume=True, **{**changes, "fidelity_weights": {"high": 1.0, "low": 1.0}})


SCRIPT = """
import sys, torch
torch.set_num_threads(1)
from molcalc.train import fit
from tests.train.loop.test_trainer_resume import OPTIONS
options = {**OPTIONS, "checkpoint_minutes": 1e-4}
fit(sys.argv[1], "aimnet2", output=sys.argv[2], progress=False, resume=sys.argv[3] == "resume", **options)
"""


def start(db: Path, output: Path, resume: bool) -> subprocess.Popen:
    mode = "resume" if resume else "new"
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), str(db), str(output), mode], env=environment, cwd=root
    )


MANY = pytest.param(range(1, 10), marks=[pytest.mark.slow, pytest.mark.timeout(1200)], id="1-9")


@pytest.mark.parametrize("trial", [0, MANY])
def test_runs_killed_at_random_moments_go_on_bit_for_bit(
    trial: int | range, finished: Path, labelled_db: Path, tmp_path: Path
) -> None:
    """kill −9 while training and while a checkpoint is written: every step writes one."""
    for number in [trial] if isinstance(trial, int) else trial:
        rng = random.Random(number)
        output = tmp_path / f"run{number}"
        process = start(labelled_db, output, resume=False)
        while not (output / "last" / "config.json").exists():
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(rng.uniform(0.0, 1.0))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert start(labelled_db, output, resume=True).wait(timeout=100) == 0
        assert_same_run(finished, output)


def test_a_second_run_in_the_same_folder_is_refused(labelled_db: Path, tmp_path: Path) -> None:
    with RunFolder(tmp_path).owned(), pytest.raises(CheckpointError, match=f"in use by pid {os.getpid()}"):
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


def test_a_run_that_failed_before_its_first_step_does_not_block_the_corrected_one(
    labelled_db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "predict", lambda *_, **__: {}["no such key"])
        with pytest.raises(KeyError):
            run(labelled_db, tmp_path / "run", epochs=1)
    assert RunFolder(tmp_path / "run").started
    run(labelled_db, tmp_path / "run", epochs=1, batch_size=16)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"learning_rate": 1e-3}, "option learning_rate was 0.003 and is 0.001"),
        ({"arguments": {**TINY["aimnet2"], "aim_size": 8}}, "network was"),
        ({"seed": 4}, "split was"),
        ({"precision": "float64"}, "option precision"),
    ],
)
def test_resuming_with_something_else_names_what_differs(
    changes: dict, named: str, finished: Path, labelled_db: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished, tmp_path / "run")
    with pytest.raises(CheckpointMismatchError, match=named):
        run(labelled_db, tmp_path / "run", resume=True, **changes)


def test_resuming_with_other_data_is_refused(finished: Path, labelled_db: Path, tmp_path: Path) -> None:
    from ase.db import connect

    shutil.copytree(finished, tmp_path / "run")
    shutil.copy(labelled_db, tmp_path / "more.db")
    with connect(tmp_path / "more.db") as db:
        row = db.get(id=1)
        atoms = row.toatoms()
        atoms.positions += 0.01
        results = {"energy": row.energy, "forces": row.forces, "charges": row.charges, "dipole": row.dipole}
        from ase.calculators.singlepoint import SinglePointCalculator

        atoms.calc = SinglePointCalculator(atoms, **results)
        db.write(atoms, total_charge=0, multiplicity=1, data=row.data)
    with pytest.raises(CheckpointMismatchError, match="data was"):
        run(tmp_path / "more.db", tmp_path / "run", resume=True)


def test_resuming_nothing_is_an_error(labelled_db: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no run to resume"):
        run(labelled_db, tmp_path / "new", resume=True)


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


def test_a_run_of_an_older_version_is_refused_with_a_way_on(finished: Path, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    model, state = RunFolder(finished).load_last()
    folder.save_last(model, {**state, "version": STATE_VERSION - 1})
    with pytest.raises(CheckpointMismatchError, match=rf"another version.*start a new run with init='{folder.path}'"):
        folder.load_last()
