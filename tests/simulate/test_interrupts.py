"""Signals: at once, except inside a block that must be finished."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from molcalc.simulate.interrupts import Interrupted, held, signals_raise


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_takes_effect_where_the_command_is(number: int) -> None:
    with signals_raise(), pytest.raises(Interrupted) as caught:
        os.kill(os.getpid(), number)
    assert caught.value.signal_number == number


def test_a_held_block_is_finished_first() -> None:
    done = []

    def work() -> None:
        with held():
            with held():
                os.kill(os.getpid(), signal.SIGTERM)
                done.append("inner")
            done.append("outer")
        done.append("after")

    with signals_raise(), pytest.raises(Interrupted):
        work()
    assert done == ["inner", "outer"]


def test_a_signal_that_a_library_swallowed_takes_effect_at_the_next_held_block() -> None:
    done = []

    def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except BaseException:
            done.append("swallowed")
        with held():
            done.append("frame")
        done.append("after")

    with signals_raise(), pytest.raises(Interrupted):
        work()
    assert done == ["swallowed", "frame"]


def test_handlers_are_put_back_and_nothing_is_remembered() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with signals_raise(), pytest.raises(Interrupted):
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before
    with signals_raise(), held():
        pass


def test_other_threads_do_without() -> None:
    problems: list[BaseException] = []

    def work() -> None:
        try:
            with signals_raise(), held():
                pass
        except BaseException as error:
            problems.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert problems == []
