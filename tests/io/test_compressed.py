"""Compressed files that expand."""

from __future__ import annotations

from pathlib import Path

import pytest

from molcalc.cli.input_structures import read_frames
from molcalc.errors import DatasetError, InputError
from molcalc.io.compressed import OPENERS, open_compressed
from molcalc.train.data import open_dataset


def write(path: Path, content: bytes) -> Path:
    with OPENERS[path.suffix](path, "wb") as target:
        target.write(content)
    return path


@pytest.mark.parametrize("ending", OPENERS)
def test_a_compressed_file_is_read_up_to_its_budget(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("molcalc.io.compressed.FREE_CONTENT", 1 << 20)
    with open_compressed(write(tmp_path / f"x{ending}", bytes(1 << 20))) as stream:
        assert len(stream.read()) == 1 << 20
    file = write(tmp_path / f"x.xyz{ending}", b"1\n" + bytes(1 << 22))
    with pytest.raises(InputError, match="MOLCALC_EXPANSION"):
        open_compressed(file)
    monkeypatch.setattr("molcalc.io.compressed.LOOKED_THROUGH", 1)
    with pytest.raises(InputError, match="MOLCALC_EXPANSION"), open_compressed(file) as stream:
        stream.read()
    monkeypatch.undo()
    monkeypatch.setattr("molcalc.io.compressed.FREE_CONTENT", 1 << 20)
    with pytest.raises(InputError, match=r"x\.xyz"):
        read_frames(str(file))
    with pytest.raises(DatasetError, match=r"x\.xyz"):
        open_dataset(file)
