"""Archives that are damaged, or not what their size says."""

from __future__ import annotations

import io
import zipfile

import pytest

from molcalc.errors import CheckpointCorruptError
from molcalc.io.archives import check_archive
from molcalc.io.budget import FREE


def archive(content: bytes, **options: int) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as writer:
        writer.writestr("x/a", content, **options)
    return target.getvalue()


def test_a_whole_archive_passes() -> None:
    check_archive(archive(b"content"), "x")


@pytest.mark.parametrize(
    "data",
    [
        archive(b"content").replace(b"content", b"contend"),
        archive(b"content")[:-30],
        archive(b"content").replace(b"x/a", b"x/b", 1),
        b"",
    ],
    ids=["content", "cut", "a name", "empty"],
)
def test_damage_is_told_with_the_name_of_the_file(data: bytes) -> None:
    with pytest.raises(CheckpointCorruptError, match=r"m\.jpt is .*damaged"):
        check_archive(data, "m.jpt")


def test_an_archive_that_expands_is_refused_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("molcalc.io.budget.FREE", 1 << 16)
    check_archive(archive(bytes(1 << 16), compress_type=zipfile.ZIP_LZMA), "m.jpt")
    with pytest.raises(CheckpointCorruptError, match="MOLCALC_EXPANSION"):
        check_archive(archive(bytes(1 << 17), compress_type=zipfile.ZIP_LZMA), "m.jpt")
    assert FREE > 1 << 17
