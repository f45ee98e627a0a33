"""Folders with the inputs of commands, broken runs in them, and what must hold afterwards."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.commands import COMMANDS, prepare
from tests.faults.contents import CACHE, all_in, contents, difference, digests, names_in
from tests.faults.preloaded import Finished, Limits, Preloaded
from tests.faults.system_calls import REMOVES, Call, Fault, Tracer, calls_on, was_hit

BUG = re.compile(r"this is a bug|Traceback \(most recent|\b(?:AssertionError|KeyError|AttributeError|IndexError)\b")
FULL = 6
"""Exit status of a command that could not write."""


@dataclass(frozen=True)
class Undisturbed:
    """What a command leaves behind when nothing happens to it."""

    names: set[str]
    contents: dict[str, Any]
    calls: list[Call]


@dataclass(frozen=True)
class _Inputs:
    """Folder that a command begins in.

    Attributes
    ----------
    kept : digests of all that it must not change.
    everything : digests of all files, hidden ones too.
    contents : of what is at the place of its targets.
    """

    folder: Path
    kept: dict[str, str]
    everything: dict[str, str]
    contents: dict[str, Any]


class Stage:
    """Inputs made once, and copies of them to break commands in."""

    def __init__(self, server: Preloaded, base: Path) -> None:
        self.server, self.figures = server, Counter[str]()
        self._base = base
        self._inputs: dict[str, _Inputs] = {}
        self._undisturbed: dict[str, Undisturbed] = {}
        prepare(base / "inputs")

    def fresh(self, name: str) -> Path:
        """A new folder with the inputs of a command; the last one is gone."""
        folder = self._base / "work"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self._inputs_of(name).folder, folder)
        return folder

    def undisturbed(self, name: str) -> Undisturbed:
        """What a command leaves behind, and its system calls."""
        if name not in self._undisturbed:
            command, folder = COMMANDS[name], self.fresh(name)
            tracer = Tracer(self._base / "calls.log")
            finished = self.server.one(command.words, folder, watch=tracer.attach)
            lines = tracer.lines()
            assert finished.status == 0, finished
            found = {target: contents(folder / target) for target in command.targets}
            self._undisturbed[name] = Undisturbed(names_in(folder), found, calls_on(folder, lines))
        return self._undisturbed[name]

    def broken_at(self, name: str, fault: Fault) -> list[str]:
        """Break a command at one call, and run it again.

        Returns
        -------
        what does not hold, a line for each
        """
        folder, tracer = self.fresh(name), Tracer(self._base / "fault.log", fault.option)
        finished = self.server.one(COMMANDS[name].words, folder, watch=tracer.attach)
        if not was_hit(tracer.lines()):
            return []
        self.figures["kills" if fault.what == "SIGKILL" else "failed calls"] += 1
        tolerated = fault.call.path if fault.call.name in REMOVES else ""
        return [f"{name}: {fault}: {problem}" for problem in self._problems(name, folder, finished, tolerated)]

    def broken_by_size(self, name: str, limit: int) -> list[str]:
        """Break a command by a disk on which no file gets larger than a limit, and run it again.

        Returns
        -------
        what does not hold, a line for each
        """
        self.undisturbed(name)  # in the place of the folder
        folder = self.fresh(name)
        finished = self.server.one(COMMANDS[name].words, folder, limits=Limits(file_size=limit))
        self.figures["full disks"] += 1
        return [f"{name}: full at {limit}: {what}" for what in self._problems(name, folder, finished)]

    def crowded(self, name: str, count: int) -> list[str]:
        """Run a command several times at once on the same files.

        Returns
        -------
        what does not hold, a line for each
        """
        command, right, folder = COMMANDS[name], self.undisturbed(name), self.fresh(name)
        kept = self._inputs_of(name).kept
        crowd = self.server.run([command.words] * count, folder)
        self.figures["commands in crowds"] += count
        problems = [found for finished in crowd if (found := wrong_refusal(finished))]
        if all(finished.status for finished in crowd):
            problems.append(f"none succeeds: {said(crowd[0])}")
        if digests(folder, set(kept)) != kept:
            problems.append("an input was changed")
        for target, expected in right.contents.items():
            if found := _differs(folder / target, command.within, expected):
                problems.append(f"another result: {found}")
        problems += [f"{left} is left behind" for left in names_in(folder) - right.names]
        return [f"{count} times {name}: {problem}" for problem in problems]

    def _inputs_of(self, name: str) -> _Inputs:
        if name not in self._inputs:
            folder = self._base / "inputs of" / re.sub(r"\W", "_", name)
            shutil.copytree(self._base / "inputs", folder)
            command = COMMANDS[name]
            for words in command.before:
                assert self.server.one(words, folder).status in (0, 1), words
            for target in command.targets if command.old else ():
                old = folder / command.old
                (shutil.copytree if old.is_dir() else shutil.copy)(old, folder / target)
            old_contents = {target: contents(folder / target) for target in command.targets}
            kept = {n for n in names_in(folder) if n.partition("/")[0] not in (*command.targets, CACHE)}
            self._inputs[name] = _Inputs(folder, digests(folder, kept), digests(folder, all_in(folder)), old_contents)
        return self._inputs[name]

    def _problems(self, name: str, folder: Path, finished: Finished, tolerated: str = "") -> list[str]:
        command, right, inputs = COMMANDS[name], self.undisturbed(name), self._inputs_of(name)
        problems = list(_wrong_end(finished, folder))
        if digests(folder, set(inputs.kept)) != inputs.kept:
            problems.append("an input was changed")
        for target in command.targets if not command.grows else ():
            if found := _differs(folder / target, command.within, inputs.contents[target], right.contents[target]):
                problems.append(f"neither as before nor complete: {found}")
        if finished.status == 0 and not problems:
            for target, expected in right.contents.items():
                if found := _differs(folder / target, command.within, expected):
                    problems.append(f"exit 0 with another result: {found}")
        if finished.killed_by is None:
            known = right.names | names_in(inputs.folder) | set(command.kept)
            problems += [f"{n} is left behind" for n in names_in(folder) - known if not _is(n, tolerated)]
        if digests(folder, all_in(folder)) == inputs.everything:  # then it does what it did undisturbed
            return problems
        if command.once and finished.status == 0:
            return problems
        return problems + list(self._wrong_rerun(name, folder, tolerated))

    def _wrong_rerun(self, name: str, folder: Path, tolerated: str) -> list[str]:
        command, right = COMMANDS[name], self.undisturbed(name)
        again = self.server.one(command.rerun, folder)
        if again.status != 0:
            return [f"run again: {said(again)}"]
        problems = [
            f"run again: {found}"
            for target, expected in right.contents.items()
            if (found := _differs(folder / target, command.within, expected))
        ]
        left = [file for file in names_in(folder) - right.names if not _is(file, tolerated)]
        return problems + [f"run again: {file} is still there" for file in left]


def _differs(path: Path, within: float, *expected: Any) -> str | None:
    """How a file differs from the last of what it may be; None if it is one of them."""
    try:
        found = contents(path)
    except Exception as error:  # noqa: BLE001 readers of other packages raise what they like on half a file
        return f"{path.name} cannot be read: {type(error).__name__}: {error}"
    differences = [difference(found, one, within, path.name) for one in expected]
    return None if None in differences else differences[-1]


def _is(name: str, path: str) -> bool:
    """Whether a file is the one that a call of another process was about: names differ in numbers of processes."""
    return re.sub(r"\d+", "0", Path(name).name) == re.sub(r"\d+", "0", Path(path).name)


def _wrong_end(finished: Finished, folder: Path) -> list[str]:
    if finished.killed_by == 9 and not finished.late:
        return []
    if finished.status not in (0, FULL) or BUG.search(finished.err):
        return [said(finished)]
    if finished.status == FULL and not re.search(r"error: .*\w+", finished.err):
        return [f"no message: {said(finished)}"]
    return []


def wrong_refusal(finished: Finished) -> str | None:
    """What is wrong with the end of a command whose input is damaged, in words; None if it was refused or read well."""
    if finished.status not in range(7) or finished.late or BUG.search(finished.err):
        return said(finished)
    if finished.status == 1 and "not converged" not in finished.err:
        return said(finished)
    if finished.status and "molcalc: " not in finished.err:
        return f"no message: {said(finished)}"
    return None


def said(finished: Finished) -> str:
    """How a command ended, and its last words."""
    how = (
        "late" if finished.late else f"signal {finished.killed_by}" if finished.killed_by else f"exit {finished.status}"
    )
    return f"{how}: {' '.join(finished.err.split())[-300:]}"
