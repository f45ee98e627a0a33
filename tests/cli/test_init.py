"""The command as a whole: help, exit statuses, messages."""

from __future__ import annotations

import argparse
import errno
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from ase.build import molecule
from ase.io import write

from molcalc import errors
from molcalc.cli import COMMANDS, energy
from molcalc.io.locks import only_writer


def test_the_help_lists_every_command(run: Any) -> None:
    result = run("--help")
    assert result.status == 0
    assert all(f"    {name} " in result.out for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_shows_how_to_call_it(run: Any, name: str) -> None:
    result = run(name, "--help")
    assert result.status == 0
    assert f"molcalc {name} " in re.split(r"\nexamples?:", result.out)[1]


def test_help_is_quick_because_nothing_heavy_is_imported() -> None:
    script = (
        "import sys; from molcalc.cli import main; main(['--help']);"
        "print({'torch', 'ase', 'numpy'} & set(sys.modules), file=sys.stderr)"
    )
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=30)
    assert process.stderr == b"set()\n"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "the following arguments are required: COMMAND"),
        (("enrgy", "x.xyz"), "did you mean 'energy'?"),
        (("energy",), "the following arguments are required: FILE"),
        (("energy", "x.xyz", "--dispersoin", "none"), "unknown argument '--dispersoin' (did you mean '--dispersion'?)"),
        (("energy", "x.xyz", "--disp=none"), "unknown argument '--disp'"),
        (("energy", "x.xyz", "--dtype", "flaot64"), "did you mean 'float64'?"),
        (("energy", "x.xyz", "--charge", "0.5"), "argument --charge: '0.5' is not a whole number"),
        (("energy", "x.xyz", "--multiplicity", "0"), "'0' is not a whole number ≥ 1"),
        (("energy", "x.xyz", "--member", "-1"), "'-1' is not a whole number ≥ 0"),
        (("relax", "x.xyz", "--fmax", "0"), "'0' is not a number > 0"),
        (("relax", "x.xyz", "--fmax", "nan"), "'nan' is not a number > 0"),
        (("md", "x.xyz", "--timestep", "-1"), "'-1' is not a number > 0"),
        (("md", "x.xyz", "--interval", "0"), "'0' is not a whole number ≥ 1"),
        (("md", "x.xyz", "--thermostat", "buss"), "did you mean 'bussi'?"),
        (("energy", "x.xyz", "--output", ""), "argument --output is empty; see 'molcalc energy --help'"),
        (("energy", "x.xyz", "--csv="), "argument --csv is empty"),
        (("energy", ""), "an argument is empty"),
        (("energy", "\udcff.xyz"), "'\\udcff.xyz' is no text in UTF-8: rename the file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_wrong_option_is_one_line_and_status_2(run: Any, arguments: tuple[str, ...], text: str) -> None:
    result = run(*arguments)
    assert result.status == 2
    assert text in result.err
    assert result.err.startswith("molcalc: error: ")
    assert result.err.count("\n") == 1
    assert result.out == ""


ENDS: list[tuple[BaseException, int, str]] = [
    (errors.InputError("two\nlines"), 2, "molcalc: error: two lines"),
    (errors.ConfigError("x"), 2, "molcalc: error: x"),
    (FileNotFoundError(errno.ENOENT, "No such file", "a.xyz"), 2, "molcalc: error: a.xyz: No such file"),
    (PermissionError(errno.EACCES, "Permission denied", "b.xyz"), 2, "molcalc: error: b.xyz: Permission denied"),
    (errors.DatasetError("x"), 3, "molcalc: error: x"),
    (errors.CheckpointError("x"), 4, "molcalc: error: x"),
    (errors.UnsafeCheckpointError("x"), 4, "molcalc: error: x"),
    (errors.NonFiniteResultError("x"), 5, "molcalc: error: x"),
    (errors.ResourceError("x"), 6, "molcalc: error: x"),
    (OSError(errno.ENOSPC, "No space left", "c.traj"), 6, "molcalc: error: c.traj: No space left"),
    (OSError(errno.EIO, "Input/output error"), 6, "molcalc: error: [Errno 5] Input/output error"),
    (MemoryError(), 6, "molcalc: error: MemoryError"),
    (KeyboardInterrupt(), 130, "molcalc: interrupted"),
    (KeyError("x"), 1, "molcalc: error: unexpected KeyError: 'x' (this is a bug: --debug shows where)"),
]


@pytest.mark.parametrize(("error", "status", "line"), ENDS, ids=[type(error).__name__ for error, _, _ in ENDS])
def test_every_error_has_its_exit_status_and_one_line(
    run: Any, monkeypatch: pytest.MonkeyPatch, error: BaseException, status: int, line: str
) -> None:
    def fail(args: argparse.Namespace) -> int:
        raise error

    monkeypatch.setattr(energy, "run", fail)
    result = run("energy", "x.xyz")
    assert (result.status, result.err) == (status, line + "\n")


def test_the_traceback_is_shown_when_asked_for(run: Any) -> None:
    result = run("energy", "missing.xyz", "--debug")
    assert result.status == 2
    assert "Traceback" in result.err
    assert result.err.endswith("molcalc: error: no file missing.xyz\n")


def test_a_warning_is_one_line_without_source_code(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def warn(args: argparse.Namespace) -> int:
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            warnings.warn("odd\nnumber of electrons", stacklevel=1)
        return 0

    monkeypatch.setattr(energy, "run", warn)
    assert run("energy", "x.xyz").err == "molcalc: warning: odd number of electrons\n"


def test_a_reader_that_goes_away_ends_the_command_quietly() -> None:
    script = (
        "import sys; from molcalc.cli import energy, main; energy.run = lambda args: print('x') or 0;"
        "sys.stdin.read(); sys.exit(main(['energy', 'x.xyz']))"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", script], stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        process.stdin.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=30) == 141


def test_the_package_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "molcalc", "--version"]
    assert "molcalc" in subprocess.run(command, check=True, capture_output=True, text=True).stdout


CLOSED = "molcalc energy missing.xyz <&- >&- 2>&-"
GONE = "rmdir $PWD; molcalc energy /x.xyz"


def test_closed_streams_and_a_missing_working_directory_are_no_bugs(tmp_path: Path) -> None:
    command = f'molcalc() {{ {sys.executable} -m molcalc "$@"; }}; '
    for script, told in ((CLOSED, ""), (GONE, "working directory cannot be read")):
        (tmp_path / "here").mkdir(exist_ok=True)
        found = subprocess.run(
            ["sh", "-c", command + script], cwd=tmp_path / "here", capture_output=True, text=True, timeout=60
        )
        assert found.returncode == 2, found.stderr
        assert told in found.stderr


def test_other_locales_than_utf8_read_and_print_all_texts(tmp_path: Path) -> None:
    """Names of files, comments in them, and tables of the package."""
    (tmp_path / "x.xyz").write_text("1\nÅngström\nAr 0 0 0\n", encoding="utf-8")
    code = """
from molcalc.cli.input_structures import read_frames
from molcalc.cli.terminal import note, plain_terminal
from molcalc.dispersion.parameters import d3_parameters
with plain_terminal(str):
    note(f"{read_frames('x.xyz')} {d3_parameters('pbe0')} {chr(0xc5)}")
"""
    env = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    found = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, timeout=60)
    assert found.returncode == 0, found.stderr
    assert b"\\xc5" in found.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("energy", "water.xyz", "-o", "target"),
        ("energy", "water.xyz", "--csv", "target"),
        ("relax", "water.xyz", "-o", "target"),
        ("md", "water.xyz", "--trajectory", "target"),
        ("md", "a.db", "--trajectory", "target"),
        ("evaluate", "water.xyz", "--model", "wb97m-d3", "-o", "target"),
        ("sae", "water.xyz", "target"),
        ("convert", "water.xyz", "target"),
        ("convert", "wb97m-d3", "folder"),
        ("export", "wb97m-d3", "-o", "folder"),
        ("export", "wb97m-d3", "-o", "target.jpt"),
        ("db", "merge", "a.db", "-o", "target.db"),
        ("db", "split", "a.db"),
        ("esp", "water.xyz", "-o", "of-esp"),
        ("vib", "water.xyz", "--modes", "-o", "of-vib"),
    ],
    ids=" ".join,
)
def test_who_begins_to_write_what_another_run_is_working_for_is_told(
    run: Any, water: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    names = {"target": "target.xyz", "target.jpt": "target.jpt.json"}
    names |= {"of-esp": "of-esp-surface.csv", "of-vib": "of-vib-modes.xyz"}
    words = tuple(names["target"] if word == "target" else word for word in words)
    held = "a_valid.db" if "split" in words else names.get(words[-1], words[-1])
    write("a.db", [molecule("H2O")] * 4)
    before = sorted(os.listdir(tmp_path))
    with only_writer(Path(held)):
        result = run(*words, "--force")
    assert (result.status, result.out) == (2, "")
    assert f"{held} is being written by process {os.getpid()}" in result.err
    assert sorted(os.listdir(tmp_path)) == before
