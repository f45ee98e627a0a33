"""Texts of others on terminals and in sheets."""

from __future__ import annotations

import pytest

from molcalc.io.escapes import markdown_cell, sheet_cell, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", r"\x1b[2J"),
        ("\x9b31m", r"\x9b31m"),
        ("a\rb\x08", r"a\rb\x08"),
        ("lost" + 512 * "\0" + "\n", r"lost\x00 (512 times)" + "\n"),
        (repr(512 * "\0"), r"'\x00 (512 times)'"),
        ("\u202egpj.exe", r"\u202egpj.exe"),
        ("two\nlines\tÅ é 水", "two\nlines\tÅ é 水"),
    ],
)
def test_commands_to_a_terminal_are_shown_and_not_obeyed(text: str, shown: str) -> None:
    assert visible(text) == shown


@pytest.mark.parametrize("text", ["=1+1", "+1+cmd", "-1-2", "-cmd", "@SUM(A1)"])
def test_sheets_do_not_compute_texts(text: str) -> None:
    assert sheet_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["water.xyz", "", "-", "a=b", "-0.5", "+1e-7", "-0.1 0.25 -1e-07"])
def test_other_cells_stay(text: str) -> None:
    assert sheet_cell(text) == text


def test_cells_of_markdown_hold_neither_tags_nor_lines() -> None:
    assert markdown_cell("<img src=x>|\n\x1b[2J") == r"&lt;img src=x>\| \x1b[2J"
