"""Text for people on the terminal: remarks, warnings on one line, and names that its encoding may lack."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def plain_terminal(words: Callable[[str], str]) -> Iterator[None]:
    """Show warnings as one line without source code, and print every file name in any locale.

    Parameters
    ----------
    words : puts a message into the spelling of the command line.
    """

    def show(message: Warning | str, *details: Any, **more: Any) -> None:
        note("warning: " + words(" ".join(str(message).split())))

    _open_missing_streams()
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # absent where a test or notebook captures output
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def _open_missing_streams() -> None:
    """Nothing in place of streams that the caller has closed, lest a file of results takes their number."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def note(text: str) -> None:
    """Print a remark, which is no result, on stderr."""
    print(f"molcalc: {text}", file=sys.stderr, flush=True)
