"""Commands whose system calls fail one by one, or that are killed at one of them.

Afterwards inputs are as they were, the target is absent, old or complete, nothing is left behind, the message is one
line, and the same command gives what it would have given.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.faults.commands import COMMANDS
from tests.faults.conftest import Share
from tests.faults.stage import Stage
from tests.faults.system_calls import STRACE, Fault

SEED = 18
FAULTS = ("SIGKILL", "ENOSPC", "EIO")
SAMPLE = ("convert to .db", "convert to .h5", "repair", "convert a model")
"""Commands of the short form: SQLite, HDF5, a change in place, a folder."""
MESSAGES = 600
"""Bytes that a command must be able to write, to say what is wrong."""
needs_strace = pytest.mark.skipif(STRACE is None, reason="strace is not installed: no system call can be made to fail")


def faults(stage: Stage, name: str) -> list[Fault]:
    """Every fault at every call of a command that changes its files; at first one at each, in no order."""
    calls = list(stage.undisturbed(name).calls)
    if most := COMMANDS[name].broken:
        calls = calls[:: -(-len(calls) // most)]
    random.Random(SEED).shuffle(calls)
    return [
        Fault(call, FAULTS[(k + turn) % len(FAULTS)]) for turn in range(len(FAULTS)) for k, call in enumerate(calls)
    ]


@needs_strace
@pytest.mark.parametrize("name", SAMPLE)
def test_some_broken_calls_leave_nothing_wrong(stage: Stage, name: str) -> None:
    problems = [problem for fault in faults(stage, name)[:2] for problem in stage.broken_at(name, fault)]
    assert not problems, "\n".join(problems)


@needs_strace
@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", COMMANDS)
def test_broken_calls_leave_nothing_wrong(stage: Stage, share: Share, name: str) -> None:
    every = faults(stage, name)
    stage.figures["calls that change files"] += len(every) // len(FAULTS)
    problems = [problem for fault in share.of(every) for problem in stage.broken_at(name, fault)]
    assert not problems, "\n".join(problems)


@needs_strace
@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_disk_that_is_full_and_stays_full_leaves_nothing_wrong(stage: Stage, share: Share, name: str) -> None:
    folder = stage.fresh(name)
    largest = max(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    limits = [max(MESSAGES, round(largest * part)) for part in (0.02, 0.1, 0.3, 0.6, 0.9)]
    problems = [problem for limit in share.of(limits) for problem in stage.broken_by_size(name, limit)]
    assert not problems, "\n".join(problems)


def test_the_table_of_commands_names_files_that_are_written(stage: Stage) -> None:
    folder = Path(stage.fresh("sae"))
    assert {"data.db", "model/config.json", "water.xyz"} <= {str(p.relative_to(folder)) for p in folder.rglob("*")}
