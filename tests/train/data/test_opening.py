"""The cache of packed data."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import resource
import signal
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from molcalc.errors import DatasetError, ResourceError
from molcalc.io.seals import sealed, unsealed
from molcalc.train.data import open_dataset, store
from molcalc.train.data.opening import CACHE_FOLDER, CACHE_TAG, KEPT_VERSIONS
from tests.helpers.forks import Fork
from tests.train.data.conftest import Make


def stores(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir()]


def test_the_cache_is_reused_for_the_same_content_under_any_name(make_database: Make, tmp_path: Path) -> None:
    path = make_database(6)
    first = open_dataset(path)
    moved = path.rename(tmp_path / "moved.db")
    os.utime(moved, (1, 1))
    again = open_dataset(moved)
    assert again.hash == first.hash
    assert again.row_name(2) == "moved.db row 3"
    assert len(stores(tmp_path / "cache")) == 1


def test_other_content_is_packed_anew(make_database: Make, tmp_path: Path) -> None:
    first = open_dataset(make_database(6))
    make_database(1)  # appends a row
    again = open_dataset(tmp_path / "set.db")
    assert (len(first), len(again)) == (6, 7)
    assert again.hash != first.hash
    assert len(stores(tmp_path / "cache")) == 2


def test_the_cache_forgets_old_versions_of_the_same_file(make_database: Make, tmp_path: Path) -> None:
    other = open_dataset(make_database(2, name="other.db"))
    first = open_dataset(make_database(2))
    for _ in range(KEPT_VERSIONS - 1):
        make_database(1)  # appends a row
        open_dataset(tmp_path / "set.db")
    held = len(first), np.array(first.positions)
    make_database(1)
    open_dataset(tmp_path / "set.db")
    assert len(stores(tmp_path / "cache")) == KEPT_VERSIONS + 1
    assert open_dataset(tmp_path / "other.db").hash == other.hash
    assert (len(first), first.positions.tolist()) == (held[0], held[1].tolist())  # mapped files stay readable


def test_the_hash_belongs_to_the_content_and_not_to_the_kind_of_file(make_database: Make, tmp_path: Path) -> None:
    from molcalc.train.data.convert import convert

    path = make_database(6)
    convert(path, tmp_path / "set.traj")
    assert open_dataset(path).hash == open_dataset(tmp_path / "set.traj").hash


def resealed(change: Callable[[dict[str, Any]], object]) -> Callable[[str], str]:
    """An index that somebody changed and gave its checksum anew."""

    def changed(text: str) -> str:
        index = unsealed(json.loads(text))
        change(index)
        return json.dumps(sealed(index))

    return changed


INDEX_DAMAGE: dict[str, Callable[[str], str]] = {
    "half of an index": lambda text: text[: len(text) // 2],
    "no index": lambda text: "[]",
    "a flipped letter": lambda text: text.replace('"energy"', '"energz"'),
    "another order of bytes": lambda text: text.replace('"<f8"', '">f8"'),
    "a file elsewhere": resealed(lambda index: index["columns"]["energy"].update(file="/etc/hostname")),
    "objects": resealed(lambda index: index["columns"]["energy"].update(dtype="|O")),
    "another database": resealed(lambda index: index.update(key="0" * 32)),
    "offsets of nothing": resealed(lambda index: index["columns"].update(offsets=index["columns"]["row"])),
}


@pytest.mark.parametrize("damage", ["flipped bit", "truncated array", "missing array", *INDEX_DAMAGE])
def test_a_damaged_cache_is_made_again(
    make_database: Make, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = make_database(6)
    original = np.array(open_dataset(path).positions)
    (folder,) = stores(tmp_path / "cache")
    largest = max(folder.glob("*.bin"), key=lambda file: file.stat().st_size)
    if damage == "flipped bit":
        data = bytearray(largest.read_bytes())
        data[100] ^= 1
        largest.write_bytes(data)
    elif damage == "truncated array":
        os.truncate(largest, 8)
    elif damage == "missing array":
        largest.unlink()
    else:
        change = INDEX_DAMAGE[damage]
        (folder / "index.json").write_text(change((folder / "index.json").read_text()))
    with caplog.at_level(logging.WARNING):
        again = open_dataset(path)
    assert "is damaged" in caplog.text
    assert np.array_equal(again.positions, original)


def test_the_cache_lies_beside_the_data_unless_that_folder_is_read_only(
    make_database: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MOLCALC_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    path = make_database(4)
    open_dataset(path)
    assert len(stores(tmp_path / CACHE_FOLDER)) == 1
    closed = tmp_path / "closed"
    closed.mkdir()
    path = path.rename(closed / "set.db")
    closed.chmod(stat.S_IRUSR | stat.S_IXUSR)
    open_dataset(path)
    assert [file.name for file in closed.iterdir()] == ["set.db"]
    assert len(stores(tmp_path / "home" / "molcalc")) == 1
    with pytest.raises(ResourceError, match="no cache can be written in .*closed.*: set MOLCALC_CACHE"):
        open_dataset(path, cache=closed / "cache")


def _open(path: Path) -> str:
    return open_dataset(path).hash


def test_two_processes_fill_the_same_cache(make_database: Make, tmp_path: Path) -> None:
    path = make_database(24)
    with multiprocessing.get_context("fork").Pool(4) as pool:
        assert len(set(pool.map(_open, [path] * 4))) == 1
    assert len(stores(tmp_path / "cache")) == 1


def test_what_a_killed_process_left_is_removed(make_database: Make, tmp_path: Path) -> None:
    path = make_database(6)

    def die() -> None:
        store.StoreWriter.finish = lambda self, extra: os._exit(9)  # type: ignore[method-assign]
        open_dataset(path)

    assert Fork(die).wait() == 9
    assert len(list((tmp_path / "cache").glob(".*.building"))) == 1
    assert len(open_dataset(path)) == 6
    assert {each.name for each in (tmp_path / "cache").iterdir()} == {
        CACHE_TAG,
        *(each.name for each in stores(tmp_path / "cache")),
    }
    assert (tmp_path / "cache" / CACHE_TAG).read_text().startswith("Signature: 8a477f597d28d172789f06886806bc55\n")


def test_a_full_disk_leaves_nothing_behind(make_database: Make, tmp_path: Path) -> None:
    path = make_database(24)

    def fill() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
        with pytest.raises(ResourceError, match="cannot write the cache"):
            open_dataset(path)

    done = Fork(fill)
    assert done.wait() == 0, done.err
    assert [each.name for each in (tmp_path / "cache").iterdir()] == [CACHE_TAG]


@pytest.mark.parametrize("ending", [".db", ".xyz", ".npz"])
def test_a_pipe_in_place_of_a_file_is_refused_without_waiting(ending: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / f"p{ending}")
    with pytest.raises(DatasetError, match="is a pipe, socket or device"):
        open_dataset(tmp_path / f"p{ending}")


def test_a_loop_of_links_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "loop.db").symlink_to("loop.db")
    with pytest.raises(DatasetError, match=r"there is no file .*loop\.db"):
        open_dataset(tmp_path / "loop.db")
