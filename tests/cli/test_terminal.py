"""What a terminal is told."""

from __future__ import annotations

import io
import sys

import pytest

from molcalc.cli.terminal import plain_terminal


def test_texts_of_others_do_not_command_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    with plain_terminal(str):
        print("\x1b[2Jname\r")
        print("\r 50%\x1b[A", file=sys.stderr)
    assert (sys.stdout, sys.stderr) == (out, err)
    assert out.getvalue() == "\\x1b[2Jname\\r\n"
    assert err.getvalue() == "\r 50%\\x1b[A\n"
