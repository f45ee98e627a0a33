"""Failures of commands: one line on stderr and an exit status for every exception."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING

from molcalc.io.escapes import visible
from molcalc.simulate.interrupts import Interrupted

if TYPE_CHECKING:
    from molcalc.errors import MolcalcError

INPUT, DATA, MODEL, NOT_FINITE, RESOURCES = 2, 3, 4, 5, 6
UNEXPECTED = 1
NOT_CONVERGED = 1
INTERRUPTED = 130
_LONGEST = 2000
"""Characters of a message."""
BROKEN_PIPE = 141
"""128 + SIGPIPE, what a shell shows for a program whose reader went away."""
_OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
"""Errors that no other input helps against; standard output may be on a disk, too."""


def report_error(error: BaseException, debug: bool, words: Callable[[str], str]) -> int:
    """Print an error and return the exit status that goes with it.

    Parameters
    ----------
    words : puts a message into the spelling of the command line.

    Returns
    -------
    exit status
    """
    if debug:
        traceback.print_exception(error)
    status = exit_status(error)
    if status == BROKEN_PIPE:
        # Python flushes stdout once more at exit, which would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return status
    kind = "" if status >= INTERRUPTED else "error: "
    print(f"molcalc: {kind}{words(error_line(error, status))}", file=sys.stderr)
    return status


class Failures:
    """Structures of a batch that could not be computed, while the others were.

    Parameters
    ----------
    words : puts a message into the spelling of the command line.
    debug : show the traceback of each.
    """

    def __init__(self, words: Callable[[str], str], debug: bool) -> None:
        self._words, self._debug = words, debug
        self._errors: list[MolcalcError | OSError] = []

    def add(self, error: MolcalcError | OSError) -> None:
        """Note one, whose message says which structure it is about."""
        self._errors.append(error)

    def report(self, n_done: int) -> int:
        """List them on stderr.

        Parameters
        ----------
        n_done : structures that were computed.

        Returns
        -------
        exit status of the first; 0 when there is none
        """
        for error in self._errors:
            if self._debug:
                traceback.print_exception(error)
            print(f"molcalc: error: {self._words(error_line(error, exit_status(error)))}", file=sys.stderr)
        if not self._errors:
            return 0
        if n_done:
            print(f"molcalc: {len(self._errors)} failed, {n_done} are done", file=sys.stderr)
        return exit_status(self._errors[0])


def exit_status(error: BaseException) -> int:
    """Exit status of an exception (see the epilog of ``molcalc --help``)."""
    from molcalc import errors

    if isinstance(error, Interrupted):
        return 128 + error.signal_number
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, BrokenPipeError):
        return BROKEN_PIPE
    if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
        return RESOURCES
    for kind, status in (
        (errors.InputError, INPUT),
        (errors.DatasetError, DATA),
        (errors.CheckpointError, MODEL),
        (errors.NonFiniteResultError, NOT_FINITE),
        (errors.ExplosionError, NOT_FINITE),
        (errors.ResourceError, RESOURCES),
        (MemoryError, RESOURCES),
        (OSError, INPUT),
    ):
        if isinstance(error, kind):
            return status
    # torch.OutOfMemoryError, without importing torch.
    return RESOURCES if type(error).__name__ == "OutOfMemoryError" else UNEXPECTED


def _shortened(text: str) -> str:
    """A message without its middle, where something in it has no end."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} … {text[-_LONGEST // 2 :]}"


def error_line(error: BaseException, status: int) -> str:
    """Message of an exception, on one line."""
    if isinstance(error, OSError) and error.filename is not None:
        text = f"{error.filename}: {error.strerror}"
    else:
        text = _shortened(visible(" ".join(str(error).split())))
    if status == UNEXPECTED:
        return f"unexpected {type(error).__name__}: {text} (this is a bug: --debug shows where)"
    if status >= INTERRUPTED:
        return text or "interrupted"
    return text or type(error).__name__
