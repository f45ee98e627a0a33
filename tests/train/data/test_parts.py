"""Data of a run in three parts."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect

from molcalc.errors import DatasetError
from molcalc.train.data.geometry_hash import geometry_hashes
from molcalc.train.data.kept_parts import KeptParts, write_parts
from molcalc.train.data.parts import SplitConfig, check_parts, open_parts, recorded_division, warn_of_leaks
from tests.helpers.structures import rattled


def test_another_seed_is_another_split_with_another_hash(labelled_db: Path) -> None:
    configs = (SplitConfig(split_method="random", split_seed=seed) for seed in (0, 0, 1))
    first, same, other = (open_parts(labelled_db, config) for config in configs)
    assert first.split_hash == same.split_hash != other.split_hash
    assert len(first.split_hash) == 16
    assert {name: len(part) for name, part in first.held_out.items()} == {"valid": 4, "test": 4}


def test_a_part_with_files_of_its_own_takes_nothing_from_the_others(labelled_db: Path) -> None:
    config = SplitConfig(test=6, allow_overlap=True)
    parts = open_parts(labelled_db, config, valid=labelled_db)
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
    assert len(open_parts(data, SplitConfig(), valid=held_out, test=held_out).valid) == 12
    with pytest.raises(DatasetError, match="12 of 12 systems of the validation part are in the training part"):
        open_parts({"high": str(labelled_db)}, SplitConfig(), valid=held_out, test=held_out)


def test_a_run_that_goes_on_keeps_its_parts_where_added_rows_would_be_drawn_anew(
    labelled_db: Path, tmp_path: Path
) -> None:
    grown = str(tmp_path / "grown.db")
    with connect(labelled_db) as old, connect(grown) as new:
        for row in old.select():
            new.write(row, total_charge=0, multiplicity=1, data=row.data)
        new.metadata = old.metadata
        for row in list(old.select(limit=6)):
            atoms = row.toatoms()
            atoms.rattle(0.02, seed=row.id)
            atoms.calc = SinglePointCalculator(atoms, energy=row.energy, forces=row.forces)
            new.write(atoms, total_charge=0, multiplicity=1)
    config = SplitConfig(split_method="random", allow_overlap=True)
    before = open_parts(labelled_db, config)
    write_parts(tmp_path / "parts.csv", {"train": before.train, **before.held_out})
    after = open_parts(grown, config, kept=KeptParts.read(tmp_path / "parts.csv"))
    for name, part in before.held_out.items():
        assert set(geometry_hashes(part)) <= set(geometry_hashes(after.held_out[name]))
    assert set(geometry_hashes(before.train)) <= set(geometry_hashes(after.train))
    drawn = open_parts(grown, config)
    assert not set(geometry_hashes(before.test)) <= set(geometry_hashes(drawn.test))


def test_training_structures_that_all_have_the_weight_zero_are_refused(tmp_path: Path) -> None:
    with connect(tmp_path / "a.db") as database:
        for k in range(4):
            atoms = rattled("H2O", seed=k)
            atoms.calc = SinglePointCalculator(atoms, energy=-2079.0)
            database.write(atoms, weight=0.0)
    parts = open_parts(tmp_path / "a.db", SplitConfig(valid=1, test=0))
    with pytest.raises(DatasetError, match="the weight of every training structure is 0, and nothing would be learned"):
        check_parts(parts, None)


def test_a_run_that_says_nothing_of_its_division_was_divided_at_random() -> None:
    assert recorded_division({"seed": 3, "valid": 0.1}) == {"split_method": "random", "split_seed": 3}
    assert recorded_division({"seed": 3, "split_method": "hash"}) == {}


@pytest.mark.parametrize("fold", ["0/3", "4/3", "1/1", "x", "1", "1/3/5"])
def test_a_fold_is_one_of_several_parts(fold: str) -> None:
    with pytest.raises(ValueError, match="expected k/K with 1 ≤ k ≤ K"):
        SplitConfig(fold=fold)


def test_held_out_structures_that_given_weights_were_trained_on_are_reported(
    labelled_db: Path, caplog: pytest.LogCaptureFixture
) -> None:
    parts = open_parts(labelled_db, SplitConfig(split_method="random"))
    trained, test = geometry_hashes(parts.train), geometry_hashes(parts.test)
    clean = KeptParts(*map(np.concatenate, ([trained, test], [np.zeros(28, dtype=int), np.full(4, 2)])))
    with caplog.at_level(logging.WARNING, "molcalc"):
        warn_of_leaks(parts, clean)
        warn_of_leaks(parts, None)
        assert "init" not in caplog.text
        warn_of_leaks(parts, KeptParts(test[:2], np.zeros(2, dtype=int)))
    assert "2 of 4 systems of the test part are in the training data of init (first labelled.db row" in caplog.text


def test_files_of_a_part_that_repeat_systems_or_share_them_with_the_test_are_told(
    labelled_db: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = {}
    with connect(labelled_db) as source:
        rows = list(source.select())
    for name, chosen in {"train": rows[4:], "first": rows[:3], "second": rows[1:4]}.items():
        files[name] = tmp_path / f"{name}.db"
        with connect(files[name]) as db:
            for row in chosen:
                db.write(row.toatoms(), key_value_pairs=row.key_value_pairs, data=row.data)
    open_parts(files["train"], SplitConfig(test=0), valid=[files["first"], files["second"]])
    assert "2 of 6 systems of the validation part are in it before (first second.db row 1)" in caplog.text
    caplog.clear()
    open_parts(files["train"], SplitConfig(), valid=files["first"], test=files["second"])
    assert "2 of 3 systems of the test part are in the validation part as well (first second.db row 1)" in caplog.text
    assert "in it before" not in caplog.text


def test_numbers_of_systems_that_earlier_versions_wrote_are_whole() -> None:
    assert recorded_division({"split_method": "hash", "valid": 10.0, "test": 0.1}) == {"valid": 10}
