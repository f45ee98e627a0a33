"""``molcalc examples``."""

from __future__ import annotations

from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest

from molcalc.cli.examples import CHECKOUT, example_files
from molcalc.errors import ResourceError

REPOSITORY = Path(__file__).parents[2]


def test_examples_are_listed_with_what_they_show_and_copied_whole(run: Any, tmp_path: Path) -> None:
    listed = run("examples").out
    assert "relax_molecule.py" in listed
    assert "config/three_fidelities.yaml" in listed
    assert "AIMNet2 on three levels" in listed
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
            raise ResourceError(f"cannot write {path}: no space left on device")

    monkeypatch.setattr("molcalc.io.files.write_atomic", full)
    assert run("examples", "--copy", tmp_path / "mine").status == 6
    assert not (tmp_path / "mine").exists()


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
