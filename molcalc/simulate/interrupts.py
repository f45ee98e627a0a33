"""Ctrl-C and termination: they stop a command at once, but never in the middle of a frame."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_received: list[int] = []
_held = 0


class Interrupted(BaseException):
    """A signal asked the command to end. Not an Exception, so that nothing takes it for a failed calculation.

    Parameters
    ----------
    signal_number : SIGINT or SIGTERM.
    text : what was done so far and how to go on.
    """

    def __init__(self, signal_number: int, text: str = "") -> None:
        super().__init__(text or f"interrupted by {signal.Signals(signal_number).name}")
        self.signal_number = signal_number


@contextmanager
def signals_raise() -> Iterator[None]:
    """Raise :class:`Interrupted` where the command is when a signal comes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = [signal.signal(number, _receive) for number in SIGNALS]
    try:
        yield
    finally:
        for number, handler in zip(SIGNALS, previous):
            signal.signal(number, handler)
        _received.clear()


@contextmanager
def held() -> Iterator[None]:
    """Finish a block before a signal takes effect.

    A signal that came while Python could not raise (inside a callback of a library) takes effect here as well.
    """
    global _held
    _held += 1
    try:
        yield
    finally:
        _held -= 1
    if _received and not _held:
        raise Interrupted(_received[0])


def _receive(number: int, frame: FrameType | None) -> None:
    _received.append(number)
    if not _held:
        raise Interrupted(number)
