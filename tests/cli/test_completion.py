"""Completion of commands, in the shells that are installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from molcalc.cli import COMMANDS, build_parser, main
from molcalc.cli.completion import COMPLETED_SHELLS, completion_script

ASK = {
    "bash": 'source ./script; COMP_WORDS=({words} "{last}"); COMP_CWORD={count}; '
    '_shtab_molcalc molcalc "{last}" "{previous}"; printf "%s\\n" "${{COMPREPLY[@]}}"',
    "fish": 'source ./script; complete -C "{words} {last}" | cut -f 1',
    "zsh": """
        zmodload zsh/zpty
        zpty shell zsh -f -i
        send() {{ zpty -w shell "$1"; }}
        send 'PS1=; autoload -Uz compinit; compinit -D -u; source ./script; compdef _shtab_molcalc molcalc'
        send "zstyle ':completion:*' list-prompt ''; zstyle ':completion:*' menu no; COLUMNS=200"
        send 'print rea""dy'
        zpty -r -m shell line '*ready*'
        zpty -w -n shell $'{words} {last}\\t\\t'
        sleep 1
        while zpty -r -t shell line; do print -rn -- "$line"; done
        """,
}
"""How each shell is asked for what it would offer after some words."""


def offered(shell: str, line: str, folder: Path) -> str:
    """What a shell offers where a line ends, in a folder that holds its script."""
    *words, last = line.split(" ")
    asked = ASK[shell].format(words=" ".join(words), last=last, count=len(words), previous=words[-1])
    flags = {"bash": ["--norc"], "fish": ["--no-config"], "zsh": ["-f"]}[shell]
    done = subprocess.run(
        [shell, *flags, "-c", asked], cwd=folder, capture_output=True, text=True, timeout=30,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "TERM": "dumb", "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(
    scope="module",
    params=["bash", *(pytest.param(name, marks=pytest.mark.slow) for name in COMPLETED_SHELLS if name != "bash")],
)
def shell(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A shell that is installed, and a folder with its script, a structure and another file."""
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "script").write_text(completion_script(build_parser(), request.param))
    for name in ("water.xyz", "notes.txt"):
        (folder / name).touch()
    return request.param, folder


@pytest.mark.parametrize(
    ("line", "wanted", "unwanted"),
    [
        ("molcalc re", ["relax"], ["energy"]),
        ("molcalc relax --opt", ["--optimizer"], ["--fmax"]),
        ("molcalc relax --optimizer L", ["LBFGS"], ["FIRE"]),
        ("molcalc db re", ["report", "repair"], ["merge"]),
        ("molcalc energy wat", ["water.xyz"], ["notes"]),
        ("molcalc energy --model wb97m", ["wb97m-d3-multipoles"], ["b973c-d3"]),
        ("molcalc energy --model b97", ["b973c-d3"], ["wb97m-d3"]),
        ("molcalc info wat", ["water.xyz"], ["notes"]),
        ("molcalc train --model aim", ["aimnet2-noneq-dcm"], ["physnet-dcm"]),
        ("molcalc train --model conf", ["conformer-vae"], ["physnet-dcm"]),
        ("molcalc compare-models co2.db --model ", ["noneq-dcm"], ["conformer-vae"]),
        ("molcalc completion f", ["fish"], ["bash"]),
    ],
)
def test_the_shell_offers_what_may_come_next(
    shell: tuple[str, Path], line: str, wanted: list[str], unwanted: list[str]
) -> None:
    found = offered(shell[0], line, shell[1])
    assert all(word in found for word in wanted), found
    assert not any(word in found for word in unwanted), found


def test_every_command_is_in_the_script_that_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    commands = capsys.readouterr().out.split("_shtab_molcalc_subparsers=(")[1].partition(")")[0].split()
    assert commands == list(COMMANDS)


def test_another_shell_is_refused_with_those_that_are_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "csh"]) == 2
    assert "'bash', 'zsh', 'fish'" in capsys.readouterr().err
