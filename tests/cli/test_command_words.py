"""Commands speak of their options, not of Python's arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from molcalc.cli.command_words import CommandWords


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("choose one with fidelity=NAME: 'pbe0'", "choose one with --fidelity NAME: 'pbe0'"),
        ("fidelity='pbe9' (did you mean 'pbe0'?)", "--fidelity pbe9 (did you mean 'pbe0'?)"),
        ('choose coulomb="dsf" or coulomb="ewald" (PhysNet: coulomb="shifted")',
         "choose --coulomb dsf or --coulomb ewald (PhysNet: --coulomb shifted)"),
        ("--force to replace it (in Python force=True)", "--force to replace it"),
        ('--points-unit Bohr (in Python unit="Bohr") converts', "--points-unit Bohr converts"),
        ("pass resume=True (--resume on the command line)", "pass --resume"),
        ("go on with resume=True (--resume) and", "go on with --resume and"),
        ("on_extrapolation='warn' computes it", "--on-extrapolation warn computes it"),
        ("pbc=[True] and min_distance=0.1 are no options", "pbc=[True] and min_distance=0.1 are no options"),
        ("atoms.fidelity=x, --fidelity=y", "atoms.fidelity=x, --fidelity=y"),
    ],
)  # fmt: skip
def test_arguments_are_spelled_as_options(text: str, spelled: str) -> None:
    words = CommandWords()
    assert words("fidelity=NAME") == "fidelity=NAME", "nothing is known before options are parsed"
    words.options = ["--fidelity", "--coulomb", "--force", "--resume", "--on-extrapolation"]
    assert words(text) == spelled


def test_mappings_are_spelled_as_options_one_by_one() -> None:
    words = CommandWords()
    words.options, words.settings = ["--label", "--units"], ["arguments"]
    assert words('take it with labels={"energy": "REF energy", "forces": "F"}') == (
        "take it with --label 'energy=REF energy' --label forces=F"
    )
    assert words("units={'stress': 'virial'} if") == "--units stress=virial if"
    assert words("arguments={'charge_channels': 2}, or") == "--set arguments.charge_channels=2, or"
    assert words("loss={'weights': 2} and labels={} are") == "loss={'weights': 2} and labels={} are"


def test_options_that_may_stand_in_a_file_keep_its_spelling() -> None:
    words = CommandWords()
    words.options, words.settings = ["--optimizer", "--resume"], ["allow_overlap", "optimizer"]
    assert words("my.yaml: optimizer='adamm'") == "my.yaml: optimizer='adamm'"
    assert words("say allow_overlap=True") == "say --set allow_overlap=true"
    assert words("resume it (resume=True, --resume)") == "resume it (--resume)"


def test_errors_of_commands_name_their_options(run: Any, models: Path, water: Path) -> None:
    assert "choose one with --fidelity NAME" in run("energy", water, "--model", models / "several").err
    assert "--member 7" in run("energy", water, "--model", models / "ensemble", "--member", 7).err
    Path("there.xyz").write_text("mine")
    refused = run("energy", water, "--model", models / "single", "-o", "there.xyz").err
    assert refused.endswith("--force to replace it\n")
