"""Many commands one after the other in one process, which is replaced when a command ends it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.faults.preloaded import Finished, Limits, Preloaded

SLOW = 10.0
"""s that a command on a small file may take."""
TOGETHER = 50
"""Commands in one process."""
_LATE = 3 * SLOW


def in_turn(
    server: Preloaded, base: Path, commands: Sequence[tuple[Path, Sequence[str]]], limits: Limits
) -> Iterator[tuple[int, Finished]]:
    """Run commands, most of them in one process.

    Parameters
    ----------
    base : folder for notes.
    commands : folder and arguments of each.
    limits : of a process; the time is for what a single command may take beside the others.

    Yields
    ------
    number of a command and what became of it, in order
    """
    done = 0
    while done < len(commands):
        some = commands[done : done + TOGETHER]
        listed, told = base / "commands.json", base / "outcomes.jsonl"
        listed.write_text(json.dumps([[str(folder), list(words)] for folder, words in some]), encoding="utf-8")
        told.unlink(missing_ok=True)
        process = server.one(
            [str(listed), str(told)],
            base,
            function=f"{__name__}:run_listed",
            limits=Limits(seconds=_LATE + 4 * len(some), memory=limits.memory),
        )
        lines = told.read_text(encoding="utf-8").splitlines() if told.exists() else []
        for line in lines:
            outcome = json.loads(line)
            late = outcome.pop("seconds") > SLOW
            yield done, Finished(**outcome, killed_by=None, late=late)
            done += 1
        if len(lines) < len(some):
            yield done, process
            done += 1


def run_listed(listed: str, told: str) -> None:
    """Run the commands of a file in this process and write down what became of each."""
    from molcalc.cli import main

    with open(told, "a", encoding="utf-8") as outcomes:
        for folder, words in json.loads(Path(listed).read_text(encoding="utf-8")):
            os.chdir(folder)
            out, err = io.StringIO(), io.StringIO()
            start = time.monotonic()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                status = main(words)
            seconds = time.monotonic() - start
            outcome = {"status": status, "out": out.getvalue(), "err": err.getvalue()[-2000:], "seconds": seconds}
            outcomes.write(json.dumps(outcome) + "\n")
            outcomes.flush()
