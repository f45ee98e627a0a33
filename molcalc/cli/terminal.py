"""Text for people on the terminal: remarks, warnings and logs on one line, and names that its encoding may lack."""

from __future__ import annotations

import io
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from molcalc.io.escapes import visible


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
    streams, log = (sys.stdout, sys.stderr), _LogNotes(words)
    for stream in streams:
        reconfigure = getattr(stream, "reconfigure", None)  # absent where a test or notebook captures output
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    # Names in files, and of files, are texts of others: whatever prints them, this is the door that they go through.
    sys.stdout, sys.stderr = _VisibleText(sys.stdout), _VisibleText(sys.stderr, progress=True)
    try:
        logging.getLogger("molcalc").addHandler(log)
        with warnings.catch_warnings():
            warnings.showwarning = show
            yield
    finally:
        logging.getLogger("molcalc").removeHandler(log)
        sys.stdout, sys.stderr = streams


class _VisibleText(io.TextIOBase):
    """A stream of text in which nothing commands the terminal; ``progress`` may begin its line again."""

    def __init__(self, stream: TextIO, progress: bool = False) -> None:
        self._stream, self._progress = stream, progress

    def write(self, text: str) -> int:
        parts = text.split("\r") if self._progress else [text]
        self._stream.write("\r".join(map(visible, parts)))
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    def writable(self) -> bool:
        return True

    @property
    def encoding(self) -> str:
        return self._stream.encoding

    @encoding.setter
    def encoding(self, name: str) -> None:
        raise AttributeError(name)

    def close(self) -> None:
        """Nothing: the stream belongs to the caller."""


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


class _LogNotes(logging.Handler):
    """Shows what the package logs as remarks, above a progress bar, in the spelling of the command line."""

    def __init__(self, words: Callable[[str], str]) -> None:
        super().__init__()
        self._words = words

    def emit(self, record: logging.LogRecord) -> None:
        """Print one line."""
        from tqdm import tqdm

        prefix = "warning: " if record.levelno >= logging.WARNING else ""
        with tqdm.external_write_mode(file=sys.stderr):
            note(prefix + self._words(" ".join(record.getMessage().split())))


@contextmanager
def log_shown_from(level: int, once: bool = False) -> Iterator[None]:
    """Let what the package logs pass from a level on, such as ``logging.INFO``.

    Parameters
    ----------
    once : show a text that comes again the first time only.
    """
    logger = logging.getLogger("molcalc")
    before, told = logger.level, _NotTold()
    handlers = list(logger.handlers) if once else []
    logger.setLevel(level)
    for handler in handlers:
        handler.addFilter(told)
    try:
        yield
    finally:
        logger.setLevel(before)
        for handler in handlers:
            handler.removeFilter(told)


class _NotTold(logging.Filter):
    """Lets every text pass once."""

    def __init__(self) -> None:
        super().__init__()
        self._told: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record says anything new."""
        text = record.getMessage()
        new = text not in self._told
        self._told.add(text)
        return new


def note(text: str) -> None:
    """Print a remark, which is no result, on stderr."""
    print(f"molcalc: {text}", file=sys.stderr, flush=True)
