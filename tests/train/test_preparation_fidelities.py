"""Data and options of several fidelities that do not go together."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect

from molcalc.errors import ConfigError, DatasetError, MolcalcError
from molcalc.train.config import make_config
from molcalc.train.data.parts import open_parts
from molcalc.train.loop.potential_task import PotentialTask
from molcalc.train.loop.processes import joined
from molcalc.train.loop.run_folder import RunFolder
from molcalc.train.loop.trainer import Trainer
from molcalc.train.preparation import prepare
from tests.helpers.training_runs import TINY

Change = Callable[[Atoms, dict[str, Any], dict[str, Any]], bool | None]


@pytest.fixture
def changed(labelled_db: Path, tmp_path: Path) -> Callable[[str, Change], Path]:
    """Write the labelled molecules after a change of results and data; False leaves a molecule out."""

    def write(name: str, change: Change) -> Path:
        with connect(labelled_db) as old, connect(tmp_path / name) as new:
            for row in old.select():
                atoms, data = row.toatoms(), dict(row.data)
                results = {"energy": row.energy, "forces": row.forces, "charges": row.charges}
                if change(atoms, results, data) is not False:
                    atoms.calc = SinglePointCalculator(atoms, **results)
                    new.write(atoms, total_charge=0, multiplicity=1, data=data)
        return tmp_path / name

    return write


def prepared(data: dict[str, Path], folder: Path, **options: Any) -> Trainer[PotentialTask]:
    """A run before its first step."""
    config = make_config({"model": "aimnet2", "arguments": TINY["aimnet2"], "batch_mode": "molecules", **options})
    asked = set(options.get("loss", {}).get("weights", {}))
    parts = open_parts({name: str(path) for name, path in data.items()}, config.split)
    with joined(torch.device("cpu"), 60.0) as processes:
        return prepare(config, asked, parts, RunFolder(folder), processes, torch.device("cpu"))[1]


def without(name: str) -> Change:
    def change(atoms: Atoms, results: dict[str, Any], data: dict[str, Any]) -> None:
        del results[name]

    return change


def test_a_fidelity_without_forces_is_reported_and_masked(
    labelled_db: Path, changed: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = {"high": labelled_db, "low": changed("low.db", without("forces"))}
    with caplog.at_level(logging.WARNING):
        weights = {"energy": 1.0, "forces": 5.0, "charges": 0.0, "dipole": 0.0}
        trainer = prepared(data, tmp_path / "run", loss={"weights": weights})
    assert "training systems with forces: 28 of 28 at high, 0 of 28 at low; the others are masked" in caplog.text
    low = np.flatnonzero(trainer.task.train.fidelity == 1)
    batch = trainer.task.reader.read(trainer.task.train, low[:4])
    counts = zip((term.name for term in trainer.task.loss.terms), trainer.task.loss.counts(batch).tolist())
    assert dict(counts) == {"energy": 4.0, "forces": 0.0}
    results = {"energy": batch.labels["energy"].clone().requires_grad_(), "forces": torch.ones_like(batch.positions)}
    results["forces"].requires_grad_()
    loss, _ = trainer.task.loss(results, batch, trainer.task.loss.counts(batch))
    loss.backward()
    assert loss.item() == 0.0
    assert results["forces"].grad is not None
    assert not results["forces"].grad.any()


def test_forces_that_no_fidelity_has_cannot_be_asked_for(changed: Callable[..., Path], tmp_path: Path) -> None:
    path = changed("bare.db", without("forces"))
    with pytest.raises(DatasetError, match="loss term 'forces': no training system has forces; labels found: energy"):
        prepared({"high": path, "low": path}, tmp_path / "run", loss={"weights": {"energy": 1.0, "forces": 5.0}})


def test_a_fidelity_without_energies_is_named_and_remembered(
    labelled_db: Path, changed: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = {"high": labelled_db, "low": changed("low.db", without("energy"))}
    trainer = prepared(data, tmp_path / "run")
    assert "fidelity 'low': no system has an energy" in caplog.text
    high, low = (fidelity.knowledge.learned for fidelity in trainer.task.model_config.fidelities)
    assert set(high) - set(low) == {"energy", "dipole"}
    assert not trainer.task.network.shifts[1].any()


def test_an_element_without_energy_at_one_fidelity_is_named(
    labelled_db: Path, changed: Callable[..., Path], tmp_path: Path
) -> None:
    def change(atoms: Atoms, results: dict[str, Any], data: dict[str, Any]) -> None:
        if 7 in atoms.numbers:
            del results["energy"]

    with pytest.raises(DatasetError, match=r"fidelity 'low': no energies for systems with Z=\[7\]"):
        prepared({"high": labelled_db, "low": changed("low.db", change)}, tmp_path / "run")


def test_a_fidelity_without_systems_is_named(labelled_db: Path, changed: Callable[..., Path], tmp_path: Path) -> None:
    path = changed("low.db", lambda atoms, results, data: None)
    with connect(path) as db:
        db.delete([row.id for row in list(db.select())])
    with pytest.raises(MolcalcError, match="fidelity 'low' has no system to train on"):
        prepared({"high": labelled_db, "low": path}, tmp_path / "run")


def test_labels_of_another_shape_are_named_with_their_file(
    labelled_db: Path, changed: Callable[..., Path], tmp_path: Path
) -> None:
    def six(atoms: Atoms, results: dict[str, Any], data: dict[str, Any]) -> None:
        data["quadrupole"] = np.zeros(6)

    def nine(atoms: Atoms, results: dict[str, Any], data: dict[str, Any]) -> None:
        data["quadrupole"] = np.zeros((3, 3))

    data = {"high": changed("high.db", six), "low": changed("low.db", nine)}
    text = r"low.db: row 1, .*quadrupole has the wrong shape, expected \(6,\): xx, yy, zz, xy, yz, zx"
    with pytest.raises(DatasetError, match=text):
        prepared(data, tmp_path / "run")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fidelity_weights": {"high": 1.0, "lwo": 1.0}}, r"unknown fidelity 'lwo' .did you mean 'low'.*: high, low"),
        ({"fidelity_weights": {"high": 1.0}}, "no weight for low; give one for every fidelity"),
        ({"fidelity_weights": {"high": 0.0, "low": 0.0}}, "positive sum"),
        ({"fidelities": {"lwo": {"functional": "pbe0"}}}, r"'lwo' .did you mean 'low'.* is not in the data; it has"),
        ({"fidelities": {"high": {"base": "lwo"}}}, r"base='lwo' .did you mean 'low'.*the model has high, low"),
        ({"fidelities": {"high": {"base": "high"}}}, r"fidelities.high.base: a correction in a circle"),
        (
            {"fidelities": {"high": {"base": "low"}, "low": {"base": "high"}}},
            r"a correction in a circle \('high' of 'low' of 'high'\); one must have no base",
        ),
        ({"fidelities": {"high": {"like": "low"}}}, "fidelities.high.like is about a fidelity of init"),
        ({"keep_fidelities": True}, "keep_fidelities is about a fidelity of init"),
    ],
)  # fmt: skip
def test_options_that_the_data_contradict(
    labelled_db: Path, low_db: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        prepared({"high": labelled_db, "low": low_db}, tmp_path / "run", **options)
