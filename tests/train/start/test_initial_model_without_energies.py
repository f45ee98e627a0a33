"""Training on forces, charges, dipoles or potentials alone, and what the energy of such a model means."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect

from molcalc.errors import DatasetError, ExtrapolationWarning
from molcalc.io import checkpoint
from molcalc.train import fit
from tests.helpers.training_runs import TINY

SHORT = {"epochs": 1, "batch_size": 16, "batch_mode": "molecules", "progress": False, "plots": False, "test": 0}


def with_labels(source: Path, target: Path, *names: str) -> Path:
    """A database with some of the labels of another."""
    with connect(source) as old, connect(target) as new:
        for row in old.select():
            atoms = row.toatoms()
            atoms.calc = SinglePointCalculator(atoms, **{name: row[name] for name in names if name != "esp"})
            new.write(atoms, total_charge=0, multiplicity=1, data=row.data if "esp" in names else {})
    return target


@pytest.mark.parametrize(
    ("label", "meaning"),
    [
        ("forces", "up to a constant"),
        ("charges", "mean nothing"),
        ("dipole", "mean nothing"),
        ("esp", "mean nothing"),
    ],
)
def test_one_label_is_enough_and_the_model_says_what_its_energy_means(
    labelled_db: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, label: str, meaning: str
) -> None:
    data = with_labels(labelled_db, tmp_path / "one.db", label)
    with caplog.at_level(logging.WARNING, logger="molcalc"):
        found = fit(data, "aimnet2", output=tmp_path / "run", arguments=TINY["aimnet2"], **SHORT)
    assert set(found.metrics["valid"]) == {label}
    assert "no system has an energy: self-atomic energies are 0" in caplog.text
    assert ("the usual loss of aimnet2 has none of the labels; esp: weight 1" in caplog.text) == (label == "esp")
    saved = checkpoint.load(found.output)
    known = saved.config.fidelities[0].knowledge
    assert known is not None
    assert known.learned == (label,)
    atoms = molecule("H2O")
    atoms.calc = found.calculator()
    with pytest.warns(ExtrapolationWarning, match=f"H2O: .* trained on {label} without energies: .*{meaning}"):
        atoms.get_potential_energy()


def test_labels_that_a_model_cannot_learn_are_named(labelled_db: Path, tmp_path: Path) -> None:
    data = with_labels(labelled_db, tmp_path / "one.db", "dipole")
    with pytest.raises(DatasetError, match="nothing is left to train on; labels found: dipole; aimnet2 can be trained"):
        fit(data, "aimnet2", output=tmp_path / "run", loss={"weights": {"dipole": 0.0}}, **SHORT)
    assert not (tmp_path / "run").exists()
