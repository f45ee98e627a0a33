"""What would end a run after hours ends it before its folder is there."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect

from molcalc.errors import DatasetError, NonFiniteResultError, ResourceError
from molcalc.train import fit, rehearsal
from molcalc.train.loop.trainer import Trainer
from tests.helpers.training_runs import FOR_SMALL_MOLECULES, fit_molecules


def labelled(atoms: Atoms, **labels: Any) -> Atoms:
    atoms.calc = SinglePointCalculator(atoms, **labels)
    return atoms


def waters(path: Path, n: int = 8, **labels: Any) -> Path:
    with connect(path) as target:
        for k in range(n):
            atoms = molecule("H2O")
            atoms.rattle(0.03, seed=k)
            target.write(labelled(atoms, **(labels or {"energy": -2080.0, "forces": np.zeros((3, 3))})))
    return path


def test_structures_that_the_model_cannot_compute_are_found_in_every_part(tmp_path: Path) -> None:
    boxed = molecule("H2O", cell=[9, 9, 9], pbc=True)
    with connect(tmp_path / "boxed.db") as target:
        target.write(labelled(boxed, energy=-2080.0, forces=np.zeros((3, 3))))
    with pytest.raises(DatasetError, match="boxed.db row 1 of the test part: .*not defined for periodic structures"):
        fit(
            waters(tmp_path / "a.db"), "aimnet2", output=tmp_path / "run", valid=2, test=tmp_path / "boxed.db",
            arguments=FOR_SMALL_MOLECULES, progress=False,
        )  # fmt: skip
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("part", ["valid", "test"])
def test_a_held_out_part_needs_a_label_that_is_learned(part: str, tmp_path: Path) -> None:
    bare = waters(tmp_path / "bare.db", 2, dipole=np.zeros(3))
    with pytest.raises(DatasetError, match="part has energy or forces, which are learned; .*dipole"):
        fit(
            waters(tmp_path / "a.db"), "aimnet2", output=tmp_path / "run", arguments=FOR_SMALL_MOLECULES,
            allow_overlap=True, progress=False, **{"valid": 2, "test": 0, part: bare},
        )  # fmt: skip
    assert not (tmp_path / "run").exists()


def test_a_batch_that_no_memory_holds_is_refused_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(rehearsal, "device_memory", lambda device: (1e4, 2e4))
    with pytest.raises(ResourceError, match=r"largest batch, \d+ systems with \d+ atoms, needs .*batch_size"):
        fit_molecules(tmp_path / "run")
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr(rehearsal, "device_memory", lambda device: (1e4, 1e15))
    with caplog.at_level(logging.WARNING, "molcalc"):
        fit_molecules(tmp_path / "run", epochs=1)
    assert "lower batch_size" in caplog.text


def test_a_run_that_never_took_a_step_leaves_its_folder_to_the_corrected_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any) -> None:
        raise NonFiniteResultError("x")

    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", broken)
        with pytest.raises(NonFiniteResultError):
            fit_molecules(tmp_path / "run", epochs=1)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["notes.txt"]
    fit_molecules(tmp_path / "run", epochs=1)
