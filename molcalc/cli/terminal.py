"""Text for people on the terminal: remarks, warnings on one line, and names that its encoding may lack."""

from __future__ import annotations

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

    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # absent where a test or notebook captures output
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def note(text: str) -> None:
    """Print a remark, which is no result, on stderr."""
    print(f"molcalc: {text}", file=sys.stderr, flush=True)
