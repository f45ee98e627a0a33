"""Data of a run in three parts."""

from __future__ import annotations

from pathlib import Path

import pytest
from ase.db import connect

from molcalc.errors import DatasetError
from molcalc.train.data.parts import SplitConfig, open_parts


def test_another_seed_is_another_split_with_another_hash(labelled_db: Path) -> None:
    first, same, other = (open_parts(labelled_db, SplitConfig(), seed=seed) for seed in (0, 0, 1))
    assert first.split_hash == same.split_hash != other.split_hash
    assert len(first.split_hash) == 16
    assert {name: len(part) for name, part in first.held_out.items()} == {"valid": 4, "test": 4}


def test_a_part_with_files_of_its_own_takes_nothing_from_the_others(labelled_db: Path) -> None:
    config = SplitConfig(test=6, allow_overlap=True)
    parts = open_parts(labelled_db, config, seed=0, valid=labelled_db)
    assert (len(parts.train), len(parts.valid), len(parts.test)) == (30, 36, 6)


def test_a_geometry_may_be_held_out_at_one_fidelity_and_trained_on_at_another(
    labelled_db: Path, low_db: Path, tmp_path: Path
) -> None:
    names = {part: str(tmp_path / f"{part}.db") for part in ("train", "valid")}
    with connect(labelled_db) as old:
        for part, limits in (("train", {"limit": 24}), ("valid", {"offset": 24})):
            with connect(names[part]) as new:
                for row in old.select(**limits):
                    new.write(row, total_charge=0, multiplicity=1, data=row.data)
    held_out = {"high": names["valid"]}
    data = {"high": names["train"], "low": str(low_db)}
    assert len(open_parts(data, SplitConfig(), seed=0, valid=held_out, test=held_out).valid) == 12
    with pytest.raises(DatasetError, match="12 of 12 systems of the validation part are in the training part"):
        open_parts({"high": str(labelled_db)}, SplitConfig(), seed=0, valid=held_out, test=held_out)
