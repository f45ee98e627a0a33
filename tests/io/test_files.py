"""Files are written in one step and read with their size in mind."""

from __future__ import annotations

import hashlib
import os
import resource
import threading
from pathlib import Path

import numpy as np
import pytest
from ase.io import ulm

from molcalc.errors import CheckpointCorruptError, CheckpointError, InUseError, ResourceError
from molcalc.io import files
from molcalc.io.files import (
    NewFile,
    exclusive,
    new_folder,
    place_of,
    read_file,
    remove_temporaries,
    replacing,
    sha256,
    together,
    write_atomic,
)


def test_checksum_is_that_of_the_standard() -> None:
    # FIPS 180-2, appendix B.1.
    assert sha256(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256(b"\0" * 1000) == hashlib.sha256(b"\0" * 1000).hexdigest()


@pytest.mark.parametrize("data", [b"", b"\r\n\0\xff", b"x" * 10_000_000], ids=["empty", "binary", "large"])
def test_content_returns_unchanged(tmp_path: Path, data: bytes) -> None:
    write_atomic(tmp_path / "file", data)
    assert read_file(tmp_path / "file") == data
    assert os.listdir(tmp_path) == ["file"]


def test_writing_replaces_the_file_and_never_its_content(tmp_path: Path) -> None:
    """A reader that has the old file open keeps reading the old content."""
    write_atomic(tmp_path / "file", b"old")
    with open(tmp_path / "file", "rb") as handle:
        write_atomic(tmp_path / "file", b"new content")
        assert handle.read() == b"old"
    assert read_file(tmp_path / "file") == b"new content"


def test_data_are_on_disk_before_the_file_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, real=real, name=name: (events.append(name), real(*a))[1])
    write_atomic(tmp_path / "file", b"data")
    assert events == ["fsync", "replace", "fsync"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_an_error_is_reported_with_path_and_size_and_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    write_atomic(tmp_path / "file", b"old")

    def fail(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(ResourceError, match=r"cannot write .*file \(7 bytes\): No space left on device"):
        write_atomic(tmp_path / "file", b"content")
    assert os.listdir(tmp_path) == ["file"]
    assert read_file(tmp_path / "file") == b"old"


def test_an_interrupt_leaves_no_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(handle: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "file", b"content")
    assert os.listdir(tmp_path) == []


def test_a_writer_of_its_own_gets_a_new_name_with_the_same_ending(tmp_path: Path) -> None:
    (tmp_path / "set.db").write_text("old")
    with replacing(tmp_path / "set.db") as temporary:
        assert (temporary.parent, temporary.suffix) == (tmp_path, ".db")
        assert not temporary.exists()
        temporary.write_text("new")
        assert (tmp_path / "set.db").read_text() == "old"
    assert (tmp_path / "set.db").read_text() == "new"
    assert os.listdir(tmp_path) == ["set.db"]


def test_a_writer_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "set.db").write_text("old")

    def fail() -> None:
        with replacing(tmp_path / "set.db") as temporary:
            temporary.write_text("half")
            temporary.with_name(temporary.name + "-journal").write_text("of SQLite")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (tmp_path / "set.db").read_text() == "old"
    assert os.listdir(tmp_path) == ["set.db"]


def test_files_that_belong_together_take_their_names_at_the_end_of_the_block(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with together():
        write_atomic(tmp_path / "a", b"new")
        with together():
            write_atomic(tmp_path / "b", b"new too")
        assert (tmp_path / "a").read_text() == "old"
        assert not (tmp_path / "b").exists()
        assert place_of(tmp_path / "b").read_text() == "new too"
    assert [(tmp_path / name).read_text() for name in ("a", "b")] == ["new", "new too"]
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]
    assert place_of(tmp_path / "b") == tmp_path / "b"
    write_atomic(tmp_path / "b", b"alone")
    assert (tmp_path / "b").read_text() == "alone"


def test_files_that_belong_together_are_none_after_an_error(tmp_path: Path) -> None:
    def fail() -> None:
        with together():
            write_atomic(tmp_path / "a", b"new")
            write_atomic(tmp_path / "no folder" / "b", b"")

    (tmp_path / "a").write_text("old")
    with together():
        write_atomic(tmp_path / "c", b"of another group")
        with pytest.raises(ResourceError, match="no folder"):
            fail()
    assert (tmp_path / "a").read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["a", "c"]


def test_a_file_that_cannot_take_its_name_is_named(tmp_path: Path) -> None:
    def write_two() -> None:
        with together():
            write_atomic(tmp_path / "a", b"")
            write_atomic(tmp_path / "b", b"")
            (tmp_path / "b").mkdir()

    with pytest.raises(ResourceError, match=r"cannot write .*b: Is a directory"):
        write_two()
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


def test_a_link_is_replaced_and_not_what_it_points_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    write_atomic(tmp_path / "link", b"new")
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "precious"


def test_a_missing_folder_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="No such file or directory"):
        write_atomic(tmp_path / "nothing" / "file", b"")


def test_threads_that_write_one_file_do_not_mix(tmp_path: Path) -> None:
    contents = [bytes([k]) * 200_000 for k in range(4)]
    barrier = threading.Barrier(4)

    def write(data: bytes) -> None:
        barrier.wait()
        for _ in range(10):
            write_atomic(tmp_path / "file", data)

    threads = [threading.Thread(target=write, args=(data,)) for data in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read_file(tmp_path / "file") in contents
    assert os.listdir(tmp_path) == ["file"]


def test_only_our_own_leftovers_are_removed(tmp_path: Path) -> None:
    names = {"a.tmp", ".hidden.tmp", ".a.12.tmp", "notes", ".config.json.7-8.tmp.bak", ".7-config.json"}
    for name in (*names, ".4711-140.tmp.weights.safetensors.new", ".config.json.7-8.tmp"):
        (tmp_path / name).touch()
    remove_temporaries(tmp_path)
    assert set(os.listdir(tmp_path)) == names


def test_reading_names_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing"):
        read_file(tmp_path / "nothing")


def test_a_file_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert read_file(tmp_path / "file", 5) == b"12345"
    with pytest.raises(CheckpointCorruptError, match="file has 5 bytes; at most 4 are expected"):
        read_file(tmp_path / "file", 4)


@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "below a file"])
def test_what_is_not_a_regular_file_is_refused_without_waiting(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.touch()
        path = path / "y"
    with pytest.raises(CheckpointError, match="not a regular file|Not a directory"):
        read_file(path)


def test_a_lock_keeps_others_out_until_it_is_released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "FOLDER_LOCK_WAIT", 0.05)
    with exclusive(tmp_path), pytest.raises(InUseError, match="is being written by process"), exclusive(tmp_path):
        pass
    with exclusive(tmp_path):
        pass
    assert os.listdir(tmp_path) == []


def test_a_waiting_writer_gets_its_turn(tmp_path: Path) -> None:
    order: list[str] = []
    held = threading.Event()

    def hold() -> None:
        with exclusive(tmp_path):
            held.set()
            threading.Event().wait(0.1)
            order.append("first")

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    with exclusive(tmp_path):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]


@pytest.mark.parametrize("ending", ["", "-journal", ".lock"])
@pytest.mark.parametrize("begin", [".{pid}-140.tmp.", ".{pid}-"])
def test_what_a_killed_writer_left_beside_a_target_goes_with_the_next_write(
    tmp_path: Path, begin: str, ending: str
) -> None:
    (tmp_path / f"{begin.format(pid=os.getpid())}o.db{ending}").touch()
    (tmp_path / f"{begin.format(pid=os.getpid())}other.db").touch()
    write_atomic(tmp_path / "o.db", b"new")
    assert sorted(os.listdir(tmp_path)) == sorted([f"{begin.format(pid=os.getpid())}other.db", "o.db"])


def test_what_somebody_is_writing_is_no_leftover(tmp_path: Path) -> None:
    with replacing(tmp_path / "file") as temporary:
        temporary.write_text("first")
        journal = temporary.with_name(temporary.name + "-journal")
        journal.write_text("of SQLite")
        thread = threading.Thread(target=write_atomic, args=(tmp_path / "file", b"second"))
        thread.start()
        thread.join()
        remove_temporaries(tmp_path)
        assert temporary.read_text() == "first"
        assert journal.exists()
        assert (tmp_path / "file").read_text() == "second"
    assert (tmp_path / "file").read_text() == "first"
    assert os.listdir(tmp_path) == ["file"]


def test_arrays_that_do_not_reach_the_disk_are_not_lost_in_silence(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    file = NewFile(tmp_path / "f.traj")
    writer = ulm.Writer(file)
    writer.add_array("small", (100,))
    file.flush()
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.tell(), hard))
    try:
        writer.fill(np.zeros(100))
        with pytest.raises(OSError, match="File too large"):
            file.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        file.close()


@pytest.mark.parametrize("name", ["file/new", "file/deeper/new", "broken link/new"])
def test_what_is_in_the_way_of_a_new_folder_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "broken link").symlink_to("nowhere")
    obstacle = tmp_path / name.partition("/")[0]
    message = rf"cannot write .*/new: {obstacle} is no folder; choose another name"
    with pytest.raises(ResourceError, match=message), new_folder(tmp_path / name):
        pass
