"""Nothing is replaced that nobody meant to replace."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from molcalc.errors import DatasetError, InputError, InUseError, ResourceError
from molcalc.io import targets
from molcalc.io.targets import (
    check_distinct,
    check_file,
    check_folder,
    check_not_file,
    check_not_input,
    reserved,
    reserved_folder,
)


def check_model(path: Path, force: bool) -> None:
    check_folder(path, force=force, kind="a model directory", owns=lambda name: name in ("config.json", "weights"))


def test_a_new_file_needs_its_folder_only(tmp_path: Path) -> None:
    check_file(tmp_path / "new.xyz", force=False)
    check_file(tmp_path / "new.xyz", force=True)
    with pytest.raises(InputError, match=r"new.xyz: the folder .*nothing does not exist"):
        check_file(tmp_path / "nothing" / "new.xyz", force=True)


def test_a_file_is_replaced_when_asked_to(tmp_path: Path) -> None:
    (tmp_path / "old.xyz").write_text("precious")
    with pytest.raises(InputError, match="old.xyz exists: give another name, or --force to replace it"):
        check_file(tmp_path / "old.xyz", force=False)
    check_file(tmp_path / "old.xyz", force=True)
    assert (tmp_path / "old.xyz").read_text() == "precious"


@pytest.mark.parametrize("target", ["file", "nothing"])
def test_a_link_counts_as_a_file_even_when_it_is_broken(tmp_path: Path, target: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / target)
    with pytest.raises(InputError, match="link exists"):
        check_file(tmp_path / "link", force=False)
    check_file(tmp_path / "link", force=True)


@pytest.mark.parametrize("kind", ["folder", "link to a folder", "pipe", "device"])
def test_what_is_no_file_is_never_replaced(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    if kind == "folder":
        path.mkdir()
    elif kind == "link to a folder":
        path.symlink_to(tmp_path)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/null")
    with pytest.raises(InputError, match="is a folder" if "folder" in kind else "is a pipe, socket or device"):
        check_file(path, force=True)


def test_a_folder_that_cannot_be_written_to_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(InputError, match="cannot be written to; choose another one"):
        check_file(tmp_path / "x", force=True, error=DatasetError)


@pytest.mark.parametrize("other_name", ["same", "symbolic", "hard"])
def test_an_input_is_refused_as_the_target_under_every_name(tmp_path: Path, other_name: str) -> None:
    (tmp_path / "input").write_text("precious")
    path = tmp_path / other_name
    if other_name == "symbolic":
        path.symlink_to(tmp_path / "input")
    elif other_name == "hard":
        path.hardlink_to(tmp_path / "input")
    else:
        path = tmp_path / "." / "input"
    with pytest.raises(InputError, match="is an input and the target at the same time"):
        check_file(path, force=True, inputs=[tmp_path / "nothing", tmp_path / "input"])
    check_not_input(tmp_path / "another", [tmp_path / "input"])


def test_the_class_of_the_error_is_that_of_the_caller(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "no" / "x"):
        with pytest.raises(DatasetError):
            check_file(path, force=False, error=DatasetError)


def test_a_model_directory_is_replaced_when_asked_to(tmp_path: Path) -> None:
    check_model(tmp_path / "new", False)
    (tmp_path / "empty").mkdir()
    check_model(tmp_path / "empty", False)
    (tmp_path / "empty" / "weights").touch()
    with pytest.raises(InputError, match="empty exists: give another name"):
        check_model(tmp_path / "empty", False)
    check_model(tmp_path / "empty", True)


def test_a_folder_with_anything_else_is_never_mixed_with(tmp_path: Path) -> None:
    for name in ("config.json", "weights", "training.yaml"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=r"is a folder with other files \(training.yaml\): choose another name"):
        check_model(tmp_path, True)


@pytest.mark.parametrize("kind", ["file", "broken link"])
def test_a_folder_does_not_take_the_place_of_a_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    if kind == "file":
        path.touch()
    else:
        path.symlink_to(tmp_path / "nothing")
    with pytest.raises(InputError, match="x is a file; a model directory is a folder: choose another name"):
        check_model(path, True)
    with pytest.raises(InputError, match="x is a file; a run is a folder"):
        check_not_file(path, "a run")


def test_two_things_are_not_written_into_one_file(tmp_path: Path) -> None:
    check_distinct([Path("a"), None, None, Path("b")])
    for other in (Path("a").absolute(), Path("b/../a"), Path("./a")):
        with pytest.raises(InputError, match="a is named twice"):
            check_distinct([Path("a"), Path("b"), other])


def begin(path: Path, *, force: bool = False) -> None:
    """Begin to write a file, and end at once."""
    with reserved(path, force=force):
        pass


def begin_folder(path: Path) -> None:
    """Begin to write a folder, and end at once."""
    with reserved_folder(path, force=True, kind="a model directory", owns=bool):
        pass


def test_of_two_runs_with_one_new_name_the_second_is_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "new.xyz"
    with reserved(path, force=False):
        for force in (False, True):
            with pytest.raises(InUseError, match=r"new.xyz is being written by process"):
                begin(path, force=force)
        path.write_text("result")
    with pytest.raises(InputError, match="new.xyz exists"):
        begin(path)
    begin(path, force=True)
    assert os.listdir(tmp_path) == ["new.xyz"]


def test_a_name_that_another_run_has_just_written_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextlib.contextmanager
    def later(path: Path) -> Iterator[None]:
        path.write_text("result of the other")
        yield

    monkeypatch.setattr(targets, "only_writer", later)
    with pytest.raises(InputError, match="new.xyz exists"):
        begin(tmp_path / "new.xyz")


def test_a_new_folder_has_one_writer_too(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "new"
    with (
        reserved_folder(path, force=False, kind="a model directory", owns=bool),
        pytest.raises(InUseError, match=r"runs/new is being written by process"),
    ):
        begin_folder(path)
    assert os.listdir(tmp_path / "runs") == []
    (tmp_path / "file").touch()
    with pytest.raises(ResourceError, match=r"cannot write .*file/new: .*/file is no folder; choose another name"):
        begin_folder(tmp_path / "file" / "new")
