"""One writer at a time: with locks of the file system, and without."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from molcalc.errors import InUseError, ResourceError
from molcalc.io.locks import Owner, lock_file, only_writer

HOLD = """
import sys
from pathlib import Path
from molcalc.io.locks import only_writer
with only_writer(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(params=["locks of the file system", "none"])
def locking(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """File systems of both kinds."""

    def refuse(handle: int, operation: int) -> None:
        raise OSError(95, "Operation not supported")

    if request.param == "none":
        monkeypatch.setattr(fcntl, "flock", refuse)
    return str(request.param)


def dead_process() -> int:
    """Number of a process that is no more."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_a_second_writer_is_refused_by_name_and_the_next_one_admitted(tmp_path: Path, locking: str) -> None:
    target = tmp_path / "f.traj"
    with only_writer(target):
        with (
            pytest.raises(InUseError, match=rf"f.traj is being written by process {os.getpid()} on .*: wait for it"),
            only_writer(target),
        ):
            pass
        assert os.listdir(tmp_path) == [".f.traj.lock"]
    with only_writer(target):
        pass
    assert os.listdir(tmp_path) == []


def test_another_process_is_kept_out_until_it_is_killed(tmp_path: Path) -> None:
    target = tmp_path / "f.traj"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(target)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(InUseError, match=rf"by process {other.pid} "), only_writer(target):
            pass
        other.kill()
        other.wait()
        assert lock_file(target).exists()
        with only_writer(target):
            pass
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("change", "is_free"),
    [
        (lambda owner: owner, False),
        (lambda owner: replace(owner, started="1"), True),
        (lambda owner: replace(owner, process=dead_process()), True),
        (lambda owner: replace(owner, boot="before"), True),
        (lambda owner: replace(owner, namespace="pid:[1]", process=1), False),
        (lambda owner: replace(owner, host="elsewhere", process=dead_process()), False),
    ],
    ids=["lives", "number came back", "died", "machine restarted", "in another container", "on another machine"],
)
def test_without_locks_of_the_file_system_only_a_process_that_surely_died_loses_its_own(
    change: Callable[[Owner], Owner], is_free: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", lambda handle, operation: (_ for _ in ()).throw(OSError(95, "none")))
    target = tmp_path / "f.traj"
    lock_file(target).write_text(change(Owner.this()).text())
    if is_free:
        with only_writer(target):
            assert Owner.parse(lock_file(target).read_text()) == Owner.this()
        assert os.listdir(tmp_path) == []
    else:
        with pytest.raises(InUseError, match=r"delete .*\.f\.traj\.lock"), only_writer(target):
            pass
        assert lock_file(target).exists()


def test_a_link_and_what_it_points_to_have_one_lock(tmp_path: Path) -> None:
    (tmp_path / "link.traj").symlink_to("f.traj")
    with only_writer(tmp_path / "link.traj"), pytest.raises(InUseError), only_writer(tmp_path / "f.traj"):
        pass


def test_a_lock_that_cannot_be_made_is_said_first(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match=r"cannot write .*f.traj: No such file"), only_writer(tmp_path / "x/f.traj"):
        pass


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no such folder")
def test_a_folder_that_takes_no_files_is_not_called_busy() -> None:
    with pytest.raises(ResourceError, match=r"cannot write /proc/x\.db: No such file"), only_writer(Path("/proc/x.db")):
        pass


def test_a_file_of_others_in_place_of_the_lock_is_not_written_over(tmp_path: Path) -> None:
    lock_file(tmp_path / "f").write_text("my notes")
    with pytest.raises(ResourceError, match="another file in place of the lock"), only_writer(tmp_path / "f"):
        pass
    assert lock_file(tmp_path / "f").read_text() == "my notes"


@pytest.mark.parametrize("content", ["", '{"ho', '{"host": "x"', "4711"], ids=["none", "begun", "half", "old"])
def test_a_lock_of_a_writer_that_was_killed_while_it_took_it_is_free(content: str, tmp_path: Path) -> None:
    lock_file(tmp_path / "f").write_text(content)
    with only_writer(tmp_path / "f"):
        pass


def test_a_link_in_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    lock_file(tmp_path / "f").symlink_to("precious")
    with pytest.raises(ResourceError, match="not a file of its own"), only_writer(tmp_path / "f"):
        pass


def _add_one(counter: Path, without: bool) -> None:
    if without:
        fcntl.flock = lambda handle, operation: (_ for _ in ()).throw(OSError(95, "none"))
    for _ in range(8):
        with only_writer(counter, wait=60):
            counter.write_text(str(int(counter.read_text()) + 1))


@pytest.mark.parametrize("without", [False, True], ids=["locks of the file system", "none"])
def test_a_crowd_takes_turns(without: bool, tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")
    crowd = [multiprocessing.get_context("fork").Process(target=_add_one, args=(counter, without)) for _ in range(3)]
    for process in crowd:
        process.start()
    for process in crowd:
        process.join()
    assert counter.read_text() == "24"
    assert os.listdir(tmp_path) == ["counter"]
