"""Tables of commands: on the terminal, as JSON and as values, in the unit that is asked for."""

from __future__ import annotations

import csv
import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from molcalc.cli.table import Column, ShownTable
from tests.helpers.training_runs import copied


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Twenty labelled structures of CO2."""
    return copied("co2_esp.db", tmp_path)


COMMANDS = {
    "energy": ["energy", "WATER", "--model", "MODEL"],
    "compare": ["compare", "WATER", "--model", "MODEL"],
    "evaluate": ["evaluate", "DATA", "--model", "MODEL"],
    "info": ["info", "MODEL"],
    "info of all": ["info"],
    "db report": ["db", "report", "DATA"],
    "sae": ["sae", "DATA", "sae.yaml", "--force"],
}
HAVE_ENERGIES = ("energy", "compare", "evaluate", "sae")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_table_is_json_and_a_file_of_values_too(
    run: Any, models: Path, water: Path, data: Path, name: str
) -> None:
    places = {"WATER": water, "MODEL": models / "single", "DATA": data}
    words = [places.get(word, word) for word in COMMANDS[name]]
    shown = run(*words)
    assert shown.status == 0, shown.err
    as_json = run(*words, "--json")
    values = json.loads(as_json.out)
    unit = ("--unit", "kcal/mol") if name in HAVE_ENERGIES else ()
    written = run(*words, "--csv", "out.csv", *unit)
    assert written.status == 0, written.err
    text = Path("out.csv").read_text()
    assert list(csv.DictReader(StringIO(text)))
    assert run(*words, "--csv", "-", *unit).out == text
    if unit:
        assert "kcal/mol" in text
        assert "kcal/mol" in written.out or name == "sae"
        assert json.loads(run(*words, "--json", *unit).out) != values
    else:
        assert written.out == shown.out
    before = Path("out.csv").read_text()
    refused = run(*[word for word in words if word != "--force"], "--csv", "out.csv")
    assert (refused.status, Path("out.csv").read_text()) == (2, before)


def test_missing_values_have_a_sign_of_their_own_in_every_form() -> None:
    table = ShownTable([Column("name", text=True), Column("energy", unit="kcal/mol", form=".3f")])
    table.rows += [["water", 1.23456], ["none", None]]
    assert str(table) == "name   energy/(kcal/mol)\nwater              1.235\nnone                   -"
    assert table.csv() == "name,energy (kcal/mol)\nwater,1.23456\nnone,\n"
    assert table.records()[1] == {"name": "none", "energy": None}
    assert table.units() == {"energy": "kcal/mol"}
