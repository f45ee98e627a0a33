"""``molcalc examples``."""

from __future__ import annotations

import errno
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest

from molcalc.cli.examples import CHECKOUT, example_files

REPOSITORY = Path(__file__).parents[2]


def test_examples_are_listed_with_what_they_show_and_copied_whole(run: Any, tmp_path: Path) -> None:
    listed = run("examples").out
    assert "relax_molecule.py" in listed
    assert "config/three_fidelities.yaml" in listed
    assert "AIMNet2 on three levels" in listed
    assert "slurm_array.sh                             Relaxation of the structures" in listed
    folder = tmp_path / "mine"
    assert run("examples", "--copy", folder).status == 0
    for file in example_files(CHECKOUT):
        assert (folder / file.relative_to(CHECKOUT)).read_bytes() == file.read_bytes()
    again = run("examples", "--copy", folder)
    assert again.status == 2
    assert "exists" in again.err


def test_a_copy_that_fails_leaves_nothing_behind(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        if path.name != "README.md":
            path.write_bytes(data[:1])
            raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr("molcalc.io.files.write_flushed", full)
    failed = run("examples", "--copy", tmp_path / "mine")
    assert failed.status == 6
    assert f"cannot write {tmp_path / 'mine'}: no space left" in failed.err
    assert not list(tmp_path.iterdir())


def test_what_a_killed_copy_left_is_no_hindrance(run: Any, tmp_path: Path) -> None:
    (tmp_path / ".1-2.tmp.mine" / "data").mkdir(parents=True)
    (tmp_path / ".1-2.tmp.other").mkdir()
    assert run("examples", "--copy", tmp_path / "mine").status == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [".1-2.tmp.other", "mine"]


def test_every_example_is_installed_with_the_package() -> None:
    settings = ConfigParser()
    settings.read(REPOSITORY / "setup.cfg")
    installed = set()
    for target, patterns in settings["options.data_files"].items():
        for pattern in patterns.split():
            files = list(REPOSITORY.glob(pattern))
            assert files, pattern
            assert {Path("share/molcalc") / file.parent.relative_to(REPOSITORY) for file in files} == {Path(target)}
            installed |= set(files)
    assert installed == set(example_files(CHECKOUT))
