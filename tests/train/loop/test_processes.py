"""Two processes train as one with the double batch; none waits for a dead one."""

from __future__ import annotations

import signal
import socket
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from molcalc.errors import ConfigError
from molcalc.train import fit
from molcalc.train.loop.processes import chosen_device
from molcalc.train.loop.run_folder import RunFolder
from tests.helpers.forks import Fork
from tests.helpers.training_runs import TINY


def train(data: Path | dict[str, Path], output: Path, **options: Any) -> None:
    fixed = {"arguments": TINY["aimnet2"], "seed": 3, "precision": "float64", "validate_every": 2, "plots": False}
    fit(data, "aimnet2", output=output, progress=False, **{"epochs": 3, **fixed, **options})


def start(ranks: int, data: Path | dict[str, Path], output: Path, **options: Any) -> list[Fork]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(ranks)}
    begin = partial(train, data, output, **options)
    return [Fork(begin, environment={**told, "RANK": str(rank)}) for rank in range(ranks)]


def finish(processes: list[Fork], timeout: float = 100.0) -> list[str]:
    return [f"{process.wait(timeout)}: {process.err}" for process in processes]


@pytest.mark.parametrize("fidelities", [pytest.param("one fidelity", marks=pytest.mark.slow), "two fidelities"])
def test_two_ranks_equal_one_with_the_double_batch(
    fidelities: str, labelled_db: Path, low_db: Path, tmp_path: Path
) -> None:
    """Also when a process has no system of one fidelity in its share, or none at all: some batches are one molecule."""
    several = fidelities == "two fidelities"
    data = {"high": labelled_db, "low": low_db} if several else labelled_db
    options = {
        "fidelity_weights": {"high": 1.0, "low": 4.0} if several else None,
        "batch_mode": "molecules" if several else "atoms",
    }
    two = start(2, data, tmp_path / "two", batch_size=4, **options)
    train(data, tmp_path / "one", batch_size=8, **options)
    errors = finish(two)
    assert [process.poll() for process in two] == [0, 0], errors
    (a, state_a), (b, state_b) = RunFolder(tmp_path / "one").load_last(), RunFolder(tmp_path / "two").load_last()
    for name in a.weights:
        torch.testing.assert_close(a.weights[name], b.weights[name], rtol=1e-6, atol=1e-6)
    assert len(a.config.fidelities) == (2 if several else 1)
    for row_a, row_b in zip(state_a["history"], state_b["history"], strict=True):
        assert row_a["valid_loss"] == pytest.approx(row_b["valid_loss"], rel=1e-6)
        assert row_a["forces_mae"] == pytest.approx(row_b["forces_mae"], rel=1e-6)


def wait_for_training(output: Path, processes: list[Fork]) -> None:
    while not (output / "history.csv").exists():
        assert all(process.poll() is None for process in processes), finish(processes)
        time.sleep(0.05)


def test_a_dead_rank_ends_the_run_with_a_message(labelled_db: Path, tmp_path: Path) -> None:
    processes = start(2, labelled_db, tmp_path / "run", batch_size=4, epochs=100000)
    wait_for_training(tmp_path / "run", processes)
    processes[1].send_signal(signal.SIGKILL)
    message = finish(processes[:1])[0]
    finish(processes[1:])
    assert processes[0].poll() != 0
    assert "another process of this run died" in message
    RunFolder(tmp_path / "run").load_last()


@pytest.mark.slow
def test_a_frozen_rank_ends_the_run_after_the_timeout(labelled_db: Path, tmp_path: Path) -> None:
    processes = start(2, labelled_db, tmp_path / "run", batch_size=4, epochs=100000, dist_timeout=6.0)
    wait_for_training(tmp_path / "run", processes)
    processes[1].send_signal(signal.SIGSTOP)
    try:
        message = finish(processes[:1], timeout=60.0)[0]
        assert processes[0].poll() != 0
        assert "another process of this run died or hangs" in message
    finally:
        processes[1].send_signal(signal.SIGKILL)
        finish(processes[1:])


def test_a_gpu_is_taken_where_there_is_one_and_missed_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert chosen_device("auto") == chosen_device("cpu") == torch.device("cpu")
    with pytest.raises(ConfigError, match="device='cuda': torch finds no GPU here"):
        chosen_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert chosen_device("auto") == chosen_device("cuda") == torch.device("cuda", 1)
    assert chosen_device("cpu") == torch.device("cpu")
