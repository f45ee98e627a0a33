"""Processes on this machine that work is given to."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor

import pytest

from molcalc.simulate.local_workers import LocalWorkers


@pytest.fixture(scope="module")
def workers() -> Iterator[LocalWorkers]:
    """Two processes."""
    executor = LocalWorkers(2)
    yield executor
    executor.stop()


def test_results_and_errors_come_back_from_processes_of_their_own(workers: LocalWorkers) -> None:
    here = os.getpid()
    assert here not in {future.result() for future in [workers.submit(os.getpid) for _ in range(4)]}
    with pytest.raises(ZeroDivisionError):
        workers.submit(divmod, 1, 0).result()
    assert workers.submit(divmod, 7, 2).result() == (3, 1)


def test_a_worker_that_dies_loses_its_own_work_only_and_is_replaced(workers: LocalWorkers) -> None:
    lost = workers.submit(os._exit, 3)
    others = [workers.submit(divmod, k, 2) for k in range(6)]
    with pytest.raises(BrokenExecutor, match=r"ended without a result \(exit code 3\)"):
        lost.result()
    assert [other.result() for other in others] == [divmod(k, 2) for k in range(6)]


def test_workers_share_the_cores_unless_the_environment_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "7")
    workers = LocalWorkers(1)
    try:
        assert workers.submit(os.getenv, "OMP_NUM_THREADS").result() == str(len(os.sched_getaffinity(0)))
        assert workers.submit(os.getenv, "MKL_NUM_THREADS").result() == "7"
    finally:
        workers.stop()
    assert "OMP_NUM_THREADS" not in os.environ


KILLED = """
import os, time
from molcalc.simulate.local_workers import LocalWorkers
workers = LocalWorkers(1)
print(workers.submit(os.getpid).result(), flush=True)
workers.submit(time.sleep, 60)
time.sleep(60)
"""


def test_workers_end_with_a_parent_that_is_killed_in_the_middle_of_their_work() -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        parent.kill()
    end = time.monotonic() + 20
    while time.monotonic() < end and is_running(worker):
        time.sleep(0.05)
    assert not is_running(worker)


def is_running(process: int) -> bool:
    """Whether there is such a process, which is no zombie."""
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
