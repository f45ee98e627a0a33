"""What a terminal is told."""

from __future__ import annotations

import io
import logging
import sys

import pytest

from molcalc.cli.terminal import log_shown_from, plain_terminal


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


def test_a_text_that_is_logged_again_is_shown_once_where_it_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("molcalc.train")
    with plain_terminal(str):
        for once in (True, False):
            with log_shown_from(logging.INFO, once=once):
                for size in (3, 3, 4):
                    logger.info("%d structures are alike", size)
    said = capsys.readouterr().err
    assert said.count("3 structures are alike") == 1 + 2
    assert said.count("4 structures are alike") == 1 + 1


def test_what_the_package_logs_is_a_line_in_the_words_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    log = logging.getLogger("molcalc.train")
    with plain_terminal(lambda text: text.replace("dtype='float64'", "--dtype float64")):
        log.warning("%s are\nsmall: dtype='float64'", "energies")
        log.info("not shown")
        with log_shown_from(logging.INFO):
            log.info("shown")
    log.warning("over")
    assert capsys.readouterr().err.splitlines()[:2] == [
        "molcalc: warning: energies are small: --dtype float64",
        "molcalc: shown",
    ]
    assert not logging.getLogger("molcalc").handlers
