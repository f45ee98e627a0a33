"""Tables for notebooks."""

from __future__ import annotations

from molcalc.notebook_tables import facts_table, rows_table

SCRIPT = "<script>alert(1)</script>"
ESCAPED = "&lt;script&gt;alert(1)&lt;/script&gt;"


def test_facts_have_a_row_each() -> None:
    assert facts_table("Model", {"charge": "-1"}) == (
        "<table><caption>Model</caption><tr><th>charge</th><td>-1</td></tr></table>"
    )


def test_rows_stand_below_their_header() -> None:
    assert rows_table("Ranks", ["rank"], [["1"], ["2"]]) == (
        "<table><caption>Ranks</caption><thead><tr><th>rank</th></tr></thead>"
        "<tbody><tr><td>1</td></tr><tr><td>2</td></tr></tbody></table>"
    )


def test_no_text_becomes_part_of_the_page() -> None:
    for table in (facts_table(SCRIPT, {SCRIPT: SCRIPT}), rows_table(SCRIPT, [SCRIPT], [[SCRIPT]])):
        assert "<script>" not in table
        assert table.count(ESCAPED) == 3
