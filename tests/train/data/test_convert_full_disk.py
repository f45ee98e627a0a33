"""A disk that is full: every kind of file ends with one error, with its name, and leaves nothing behind."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from molcalc.errors import ResourceError
from molcalc.train.data.convert import convert
from molcalc.train.data.databases import merge
from molcalc.train.data.opening import open_dataset

Make = Callable[..., Path]


@contextmanager
def room_for(n_bytes: int) -> Iterator[None]:
    """Let no file grow beyond a size; writes fail as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [0, 3000])
@pytest.mark.parametrize("ending", [".h5", ".db", ".npz", ".xyz", ".json", ".traj"])
def test_a_full_disk_is_named_and_the_old_file_stays(
    ending: str, size: int, make_database: Make, tmp_path: Path
) -> None:
    source = make_database(60)
    target = tmp_path / "out" / f"o{ending}"
    target.parent.mkdir()
    target.write_text("old")
    with room_for(size), pytest.raises(ResourceError, match=rf"cannot write .*/o{ending}: .*(too large|full|I/O)"):
        convert(source, target, force=True)
    assert os.listdir(target.parent) == [target.name]
    assert target.read_text() == "old"
    assert convert(source, target, force=True) == len(open_dataset(target))


def test_a_full_disk_is_not_a_damaged_source(make_database: Make, tmp_path: Path) -> None:
    source = make_database(60)
    (tmp_path / "out").mkdir()
    with room_for(30_000), pytest.raises(ResourceError, match=r"cannot write .*/all.db: .*(full|I/O)"):
        merge([source, source], tmp_path / "out" / "all.db")
    assert os.listdir(tmp_path / "out") == []
