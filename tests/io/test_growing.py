"""Files that grow: one writer, whole pieces, and errors with their name."""

from __future__ import annotations

import os
import resource
from contextlib import closing
from pathlib import Path

import pytest

from molcalc.errors import InputError, InUseError, ResourceError
from molcalc.io.growing import GrowingFile


def test_a_file_that_grows_has_one_writer_and_is_not_replaced_unasked(tmp_path: Path) -> None:
    with closing(GrowingFile(tmp_path / "f", append=False)) as file:
        file.write(b"one")
        file.finish_piece()
        for append in (True, False):
            with pytest.raises(InUseError, match="f is being written by process"):
                GrowingFile(tmp_path / "f", append=append, force=True)
    with pytest.raises(InputError, match="f exists"):
        GrowingFile(tmp_path / "f", append=False)
    with closing(GrowingFile(tmp_path / "f", append=True)) as file:
        file.write(b"two")
        file.finish_piece()
    assert (tmp_path / "f").read_bytes() == b"onetwo"
    assert os.listdir(tmp_path) == ["f"]


def test_a_full_disk_leaves_the_whole_pieces(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with closing(GrowingFile(tmp_path / "f", append=False)) as file:
        file.write(b"whole")
        file.finish_piece()
        file.write(b"un")
        resource.setrlimit(resource.RLIMIT_FSIZE, (9, hard))
        try:
            with pytest.raises(ResourceError, match=r"cannot write .*/f: File too large"):
                file.write(b"finished")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        with pytest.raises(ResourceError, match="after an error"):
            file.write(b"more")
    assert (tmp_path / "f").read_bytes() == b"whole"


def test_a_file_without_a_whole_piece_is_removed(tmp_path: Path) -> None:
    with closing(GrowingFile(tmp_path / "f", append=False)) as file:
        file.write(b"half")
    assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match=r"cannot write .*x/f: No such file"):
        GrowingFile(tmp_path / "x" / "f", append=False)


def test_a_new_file_takes_its_name_with_its_first_whole_piece(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")
    with closing(GrowingFile(path, append=False, force=True)) as file:
        file.write(b"first")
        assert path.read_bytes() == b"old"
        file.finish_piece()
        assert path.read_bytes() == b"first"
        file.write(b", second")
        file.finish_piece()
    assert path.read_bytes() == b"first, second"
    assert os.listdir(tmp_path) == ["f"]


def test_what_a_link_points_to_grows(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real/f")
    with closing(GrowingFile(tmp_path / "link", append=False, force=True)) as file:
        file.write(b"one")
        file.finish_piece()
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "f").read_bytes() == b"one"


def test_a_file_that_cannot_take_its_name_is_said_and_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "f").write_bytes(b"old")
    monkeypatch.setattr(os, "replace", fail)
    with closing(GrowingFile(tmp_path / "f", append=False, force=True)) as file:
        file.write(b"new")
        with pytest.raises(ResourceError, match=r"cannot write .*/f: No space left on device"):
            file.finish_piece()
    assert (tmp_path / "f").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["f"]


def test_a_disk_that_fails_while_a_file_is_cut_is_said(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"whole")
    with pytest.raises(ResourceError, match=r"cannot write .*/f: Invalid argument"):
        GrowingFile(tmp_path / "f", append=True).cut(-1)
    assert (tmp_path / "f").read_bytes() == b"whole"
    assert os.listdir(tmp_path) == ["f"]


def test_a_file_under_two_names_has_one_writer(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"one")
    os.link(tmp_path / "f", tmp_path / "g")
    named = pytest.raises(InUseError, match="g is being written by another process, under another name")
    with closing(GrowingFile(tmp_path / "f", append=True)), named:
        GrowingFile(tmp_path / "g", append=True)
    GrowingFile(tmp_path / "g", append=True).close()
