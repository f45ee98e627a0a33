"""Functions in processes of their own that begin at once: forks of the process of the tests.

A new Python takes seconds to import torch; a fork has what is imported already, and may be killed or given limits.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

LONGEST = 100.0
"""Seconds of wall clock that a fork may take."""


class Fork:
    """A function in a process of its own.

    Parameters
    ----------
    function : is called with the arguments; what it prints is kept, ``SystemExit`` is the exit status.
    environment : variables that the process has besides.
    folder : its working directory.
    """

    def __init__(
        self,
        function: Callable[..., object],
        *arguments: object,
        environment: dict[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self._out, self._err = os.memfd_create("out"), os.memfd_create("err")
        self._status: int | None = None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads, which only wait here
            self.number = os.fork()
        if not self.number:
            os.environ.update(environment or {})
            os.chdir(folder or ".")
            _become(lambda: function(*arguments), self._out, self._err)
        self._running = [self.number]
        weakref.finalize(self, _end, self._running, self._out, self._err)

    def poll(self) -> int | None:
        """Exit status, minus the number of the signal that killed it, or None while it runs."""
        if self._status is None:
            number, status = os.waitpid(self.number, os.WNOHANG)
            if number:
                self._status = os.waitstatus_to_exitcode(status)
                self._running.clear()
        return self._status

    def wait(self, timeout: float = LONGEST) -> int:
        """The same, when it has ended; a process that is late is killed."""
        limit = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > limit:
                self.send_signal(signal.SIGKILL)
            time.sleep(0.005)
        return self.wait() if self._status is None else self._status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.number, number)

    @property
    def out(self) -> str:
        """What it has printed so far."""
        return _text(self._out)

    @property
    def err(self) -> str:
        """What it has said on the standard error so far."""
        return _text(self._err)


def _end(running: list[int], *files: int) -> None:
    """Leave nothing behind, also where a test has failed and nobody waits."""
    for number in running:
        os.kill(number, signal.SIGKILL)
        os.waitpid(number, 0)
    for file in files:
        os.close(file)


def _text(file: int) -> str:
    return os.pread(file, os.fstat(file).st_size, 0).decode(errors="replace")


def speak_to(out: int, err: int) -> None:
    """Let standard output and error go to open files, standard input come from nowhere."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, file in ((1, out), (2, err)):
        os.dup2(file, number)
    sys.stdout, sys.stderr = (open(n, "w", encoding="utf-8", closefd=False) for n in (1, 2))  # noqa: SIM115


def _become(function: Callable[[], object], out: int, err: int) -> NoReturn:
    """Run a function in place of the tests; never returns into them."""
    status = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        speak_to(out, err)
        warnings.resetwarnings()
        warnings.simplefilter("ignore", DeprecationWarning)
        function()
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 0
    except BaseException:  # noqa: BLE001 the traceback is what tests look for
        traceback.print_exc(file=sys.stderr)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
