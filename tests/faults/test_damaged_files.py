"""Files that molcalc writes, after accidents: what has checksums gives the same numbers or none; nothing crashes."""

from __future__ import annotations

import random
import shutil
from dataclasses import dataclass

import pytest

from tests.faults.commands import HAS_LMDB, MODEL
from tests.faults.conftest import Share
from tests.faults.corpus import add_models_of_others
from tests.faults.in_turn import TOGETHER, in_turn
from tests.faults.mutations import copied, damaged
from tests.faults.preloaded import GIB, Limits
from tests.faults.stage import Stage, said, wrong_refusal

SEED = 23
ACCIDENTS = 500
SHORT = 12
ENERGY = ("energy", "water.xyz", "--json", "--model")


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of file.

    Parameters
    ----------
    name : of the file or folder, as it is written and damaged.
    made_by : commands that write it.
    read_by : command that reads it.
    checked : whether it has checksums, so that numbers are the same or there are none.
    """

    name: str
    made_by: tuple[tuple[str, ...], ...]
    read_by: tuple[str, ...]
    checked: bool = False


def _data(ending: str, checked: bool = False) -> Kind:
    name = f"o.{ending}"
    return Kind(name=name, made_by=(("convert", "data.db", name),), read_by=("sae", name, "-"), checked=checked)


_MD = ("md", "water.xyz", *MODEL, "--seed", "3", "--interval", "1", "--trajectory", "o.traj", "--steps")
KINDS = {
    "model directory": Kind(name="model", made_by=(), read_by=(*ENERGY, "model"), checked=True),
    "exported program": Kind(
        name="o.jpt",
        made_by=(("export", "model", "-o", "o.jpt"),),
        read_by=(*ENERGY, "o.jpt", "--trusted"),
        checked=True,
    ),
    "exported description": Kind(
        name="o.jpt.json",
        made_by=(("export", "model", "-o", "o.jpt"),),
        read_by=(*ENERGY, "o.jpt", "--trusted"),
        checked=True,
    ),
    "dataset cache": Kind(
        name=".molcalc_cache",
        made_by=(("sae", "data.db", "-"),),
        read_by=("sae", "data.db", "-"),
        checked=True,
    ),
    ".db": _data("db"),
    ".json": _data("json"),
    ".h5": _data("h5"),
    ".npz": _data("npz", checked=True),
    ".xyz": _data("xyz"),
    ".traj": _data("traj"),
    **({".aselmdb": _data("aselmdb")} if HAS_LMDB else {}),
    "trajectory of a run": Kind(name="o.traj", made_by=((*_MD, "3"),), read_by=(*_MD, "4", "--restart")),
    "self-atomic energies": Kind(
        name="sae.yaml",
        made_by=(("sae", "data.db", "sae.yaml"),),
        read_by=("convert", "three.pt", "other", "--force", "--sae", "0=sae.yaml"),
    ),
}


def wrong_after_accidents(stage: Stage, kind: Kind, numbers: range) -> list[str]:
    """Read a file after each of some accidents.

    Returns
    -------
    what is wrong, a line for each
    """
    folder = stage.fresh("sae")
    add_models_of_others(folder)
    for words in kind.made_by:
        finished = stage.server.one(words, folder)
        assert finished.status == 0, finished
    right = stage.server.one(kind.read_by, copied(folder, folder.with_name("right")))
    assert right.status == 0, right
    base = folder.with_name("damaged")
    shutil.rmtree(base, ignore_errors=True)
    base.mkdir()
    commands, damages = [], []
    for k in numbers:
        chance = random.Random(f"{SEED} {kind.name} {k}")
        copy = copied(folder, base / str(k))
        path = copy / kind.name
        if path.is_dir():
            path = chance.choice(sorted(file for file in path.rglob("*") if file.is_file() and file.stat().st_size))
        path.write_bytes(damaged(path.read_bytes(), chance))
        commands.append((copy, kind.read_by))
        damages.append(f"accident {k} of {path.relative_to(copy)}")
    problems = []
    for k, finished in in_turn(stage.server, base, commands, Limits(memory=4 * GIB)):
        stage.figures[f"accidents of {kind.name}"] += 1
        found = wrong_refusal(finished)
        if kind.checked and finished.status == 0 and finished.out != right.out:
            found = f"other numbers: {finished.out[:200]}"
        if found:
            problems.append(f"{damages[k]}: {found}")
    return problems


@pytest.mark.parametrize("name", ["dataset cache", ".h5"])
def test_some_accidents_are_survived(stage: Stage, name: str) -> None:
    problems = wrong_after_accidents(stage, KINDS[name], range(SHORT))
    assert not problems, "\n".join(problems)


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", KINDS)
def test_accidents_are_survived(stage: Stage, share: Share, name: str) -> None:
    problems = []
    for start in share.of(range(0, ACCIDENTS, TOGETHER)):
        problems += wrong_after_accidents(stage, KINDS[name], range(start, start + TOGETHER))
    assert not problems, "\n".join(problems)


def test_said_tells_how_a_process_ended(stage: Stage) -> None:
    finished = stage.server.one(["energy", "nothing.xyz"], stage.fresh("sae"))
    assert said(finished).startswith("exit 2")
