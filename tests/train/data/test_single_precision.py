"""Total energies that lost digits before they were stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect

from molcalc.train.data import open_dataset
from molcalc.train.data.single_precision import doubtful_precision, lost_resolution

EXACT = -31525.123456789 + np.random.default_rng(0).normal(size=12)


def stored(path: Path, energies: np.ndarray) -> Path:
    with connect(path) as db:
        for k, energy in enumerate(energies.tolist()):
            atoms = Atoms("OH", [[0, 0, 0], [0, 0, 0.9 + 0.01 * k]])
            atoms.calc = SinglePointCalculator(atoms, energy=energy)
            db.write(atoms, total_charge=-1)
    return path


@pytest.mark.parametrize(
    ("energies", "unit", "lost"),
    [
        (EXACT, "eV", 0.0),
        (EXACT.astype(np.float32), "eV", 1 / 512),
        ((EXACT / 27.211386).astype(np.float32), "Hartree", 27.2114 / 8192),
        (np.round(EXACT, 3), "eV", 0.0),
        (np.round(EXACT / 16, 0), "eV", 0.0),
    ],
    ids=["double", "single", "single Hartree", "rounded", "whole numbers"],
)
def test_resolution_of_single_precision_is_found_in_the_unit_of_the_file(
    tmp_path: Path, energies: np.ndarray, unit: str, lost: float
) -> None:
    data = open_dataset(stored(tmp_path / "a.db", energies), units={"energy": unit})
    assert lost_resolution(data) == pytest.approx(lost, rel=1e-3)
    assert [f"in steps of {1000 * lost:.3g} meV" in text for text in doubtful_precision(data)] == [True] * (lost > 0)
