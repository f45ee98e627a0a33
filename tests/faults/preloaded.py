"""A process with everything imported and compiled, which runs each command in a fork of its own.

A command begins in milliseconds instead of seconds, so that thousands of them can be broken, each in a process that may
die.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import resource
import signal
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TextIO

from tests.faults.commands import HAS_LMDB
from tests.helpers.forks import speak_to

GIB = 1 << 30
MAPPED = 1 << 42
"""Bytes of addresses that LMDB maps; where it is, no limit of memory is left."""
_ALLOW_TRACERS = (0x59616D61, ctypes.c_ulong(-1))
"""PR_SET_PTRACER, PR_SET_PTRACER_ANY: strace is no ancestor of what it watches here."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one process may use.

    Parameters
    ----------
    seconds : of wall clock, after which it is killed.
    memory : bytes of address space beyond what is loaded already.
    file_size : bytes that a file may grow to, None without limit; writing more fails like on a full disk.
    """

    seconds: float = 60.0
    memory: int = 8 * GIB
    file_size: int | None = None


@dataclass(frozen=True, kw_only=True)
class Finished:
    """What a process left behind.

    Parameters
    ----------
    status : exit status; None of a process that was killed.
    killed_by : number of the signal, or None.
    late : whether it ran out of time.
    """

    status: int | None
    killed_by: int | None
    late: bool
    out: str
    err: str


@dataclass(frozen=True, kw_only=True)
class Job:
    """Processes that begin together in one folder.

    Parameters
    ----------
    commands : arguments of ``molcalc`` for each; or, with ``function``, its arguments.
    function : "module:name" of what is called in place of the command line.
    """

    commands: list[list[str]]
    folder: str
    scratch: str
    limits: dict[str, Any] = field(default_factory=dict)
    function: str | None = None
    environment: dict[str, str] = field(default_factory=dict)


class Preloaded:
    """The server as its clients see it; a context manager that ends it.

    It is a fork of the process of the tests, which has imported most of the package already.

    Parameters
    ----------
    warm : run some commands first, so that kernels are compiled and loaded; pays from a dozen commands on.
    """

    def __init__(self, scratch: Path, *, warm: bool) -> None:
        self._scratch = scratch
        self._scratch.mkdir(parents=True, exist_ok=True)
        requests, self._requests = (os.fdopen(end, mode) for end, mode in zip(os.pipe(), "rw"))
        self._answers, answers = (os.fdopen(end, mode) for end, mode in zip(os.pipe(), "rw"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads, which only wait here
            self._number = os.fork()
        if not self._number:
            self._requests.close()
            self._answers.close()
            _serve(scratch, requests, answers, warm)
        requests.close()
        answers.close()
        assert self._answer() == "ready"

    def __enter__(self) -> Preloaded:
        return self

    def __exit__(self, *details: object) -> None:
        self._requests.close()
        self._answers.close()
        os.waitpid(self._number, 0)

    def run(
        self,
        commands: Sequence[Sequence[str]],
        folder: Path,
        *,
        limits: Limits = Limits(),  # noqa: B008
        function: str | None = None,
        environment: dict[str, str] | None = None,
        watch: Callable[[list[int]], None] = lambda numbers: None,
    ) -> list[Finished]:
        """Run commands at once.

        Parameters
        ----------
        watch : is called with the process numbers before the commands begin.

        Returns
        -------
        what became of each
        """
        job = Job(
            commands=[list(words) for words in commands],
            folder=str(folder),
            scratch=str(self._scratch),
            limits=asdict(limits),
            function=function,
            environment=environment or {},
        )
        self._say(asdict(job))
        numbers = self._answer()
        watch(numbers)
        self._say("go")
        return [
            Finished(
                **ended,
                out=(self._scratch / f"{k}.out").read_text(encoding="utf-8", errors="replace"),
                err=(self._scratch / f"{k}.err").read_text(encoding="utf-8", errors="replace"),
            )
            for k, ended in enumerate(self._answer())
        ]

    def one(self, words: Sequence[str], folder: Path, **options: Any) -> Finished:
        """Run one command, see :meth:`run`.

        Returns
        -------
        what became of it
        """
        return self.run([words], folder, **options)[0]

    def _say(self, message: Any) -> None:
        self._requests.write(json.dumps(message) + "\n")
        self._requests.flush()

    def _answer(self) -> Any:
        line = self._answers.readline()
        assert line, f"the server died: {(self._scratch / 'server.log').read_text(encoding='utf-8')[-2000:]}"
        return json.loads(line)


# -- the other side


def _serve(scratch: Path, requests: TextIO, answers: TextIO, warm: bool) -> NoReturn:
    """Answer requests until there are no more."""

    def answer(message: Any) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    try:
        _speak_to(scratch / "server.log", scratch / "server.log")
        _import_all()
        if warm:
            _warm_up(scratch / "warm-up")
        gc.collect()
        gc.freeze()  # else the first collection of every fork copies all that is imported: 0.3 s
        answer("ready")
        while line := requests.readline():
            job = Job(**json.loads(line))
            start, begin = os.pipe()
            numbers = []
            for k in range(len(job.commands)):
                number = os.fork()
                if not number:
                    os.close(begin)
                    _child(job, k, start)
                numbers.append(number)
            os.close(start)
            answer(numbers)
            assert json.loads(requests.readline()) == "go"
            os.close(begin)
            answer(_wait(numbers, Limits(**job.limits).seconds))
    except BaseException:  # noqa: BLE001 a fork must not return into the tests
        traceback.print_exc(file=sys.stderr)
        sys.stderr.flush()
    finally:
        os._exit(0)


def _speak_to(out: Path, err: Path) -> None:
    """Let standard output and error go to files."""
    speak_to(*(os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_APPEND) for path in (out, err)))


def _import_all() -> None:
    import torch

    from molcalc.cli import COMMANDS

    for name in COMMANDS:
        importlib.import_module(f"molcalc.cli.{name.replace('-', '_')}")
    torch.set_num_threads(1)


def _warm_up(folder: Path) -> None:
    """Compile what commands use, by running some on small inputs."""
    from molcalc.cli import main
    from tests.faults.commands import COMMANDS, prepare

    prepare(folder)
    previous = os.getcwd()
    os.chdir(folder)
    for words in (
        ["md", "water.xyz", "--model", "model", "--steps", "2", "--trajectory", "warm.traj"],
        ["relax", "water.xyz", "--model", "model", "--steps", "2", "-o", "warm.xyz"],
        ["evaluate", "data.db", "--model", "model", "-o", "warm.h5"],
        *([*COMMANDS[name].words] for name in ("esp", "vib", "conformers", "train")),
    ):
        assert main(words) in (0, 1), words
    os.chdir(previous)


def _child(job: Job, k: int, start: int) -> NoReturn:
    """Become one command of a job; never returns."""
    status = 1
    try:
        os.setsid()
        os.read(start, 1)
        os.chdir(job.folder)
        os.environ.pop("MOLCALC_CACHE", None)  # packed copies lie beside the data, where accidents can meet them
        os.environ.update(job.environment)
        tempfile.tempdir = None
        _speak_to(Path(job.scratch, f"{k}.out"), Path(job.scratch, f"{k}.err"))
        _limit(Limits(**job.limits))
        warnings.resetwarnings()
        warnings.simplefilter("ignore", DeprecationWarning)
        status = _called(job, k)
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:  # noqa: BLE001 the traceback is what tests look for
        traceback.print_exc(file=sys.stderr)
        sys.stderr.flush()
    finally:
        os._exit(status)


def _called(job: Job, k: int) -> int:
    if job.function is not None:
        module, _, name = job.function.partition(":")
        getattr(importlib.import_module(module), name)(*job.commands[k])
        return 0
    from molcalc.cli import main

    return main(job.commands[k])


def _limit(limits: Limits) -> None:
    ctypes.CDLL(None).prctl(*_ALLOW_TRACERS, 0, 0, 0)
    with open("/proc/self/statm", encoding="ascii") as file:
        loaded = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE") + (MAPPED if HAS_LMDB else 0)
    resource.setrlimit(resource.RLIMIT_AS, (loaded + limits.memory,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if limits.file_size is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limits.file_size,) * 2)


def _wait(numbers: list[int], seconds: float) -> list[dict[str, Any]]:
    """Wait for processes; those that are late are killed."""
    late: set[int] = set()

    def kill() -> None:
        for number in numbers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
                late.add(number)

    timer = threading.Timer(seconds, kill)
    timer.start()
    ended = []
    for number in numbers:
        code = os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])
        ended.append({"status": code if code >= 0 else None, "killed_by": -code if code < 0 else None, "late": False})
    timer.cancel()
    for number, what in zip(numbers, ended):
        what["late"] = number in late and what["killed_by"] == signal.SIGKILL
    return ended
