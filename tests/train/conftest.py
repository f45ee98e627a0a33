"""A small database with labels of every kind, made by a network that tests can learn from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect

from molcalc.units import COULOMB
from tests.helpers.calculators import tiny_calculator
from tests.helpers.networks import tiny_checkpoint
from tests.helpers.training_runs import OFFSET

NAMES = ("CH4", "H2O", "NH3", "CH3OH", "CO2", "C2H4")


@pytest.fixture(scope="session")
def labelled_db(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """36 molecules of six kinds with energy, forces, charges, dipole and ESP at 20 points."""
    path = tmp_path_factory.mktemp("data") / "labelled.db"
    calc = tiny_calculator(tiny_checkpoint(), dispersion=None)
    rng = np.random.default_rng(5)
    with connect(path) as db:
        for k in range(36):
            atoms = molecule(NAMES[k % len(NAMES)])
            atoms.positions += rng.normal(0, 0.05, atoms.positions.shape)
            atoms.positions -= atoms.get_center_of_mass()
            atoms.calc = calc
            atoms.get_forces()
            results = {key: calc.results[key] for key in ("energy", "forces", "charges", "dipole")}
            directions = rng.normal(size=(20, 3))
            points = 4.5 * directions / np.linalg.norm(directions, axis=1, keepdims=True)
            distances = np.linalg.norm(points[:, None] - atoms.positions, axis=2)
            esp = COULOMB * (results["charges"] / distances).sum(axis=1)
            atoms.calc = SinglePointCalculator(atoms, **results)
            db.write(atoms, total_charge=0, multiplicity=1, data={"esp_points": points, "esp": esp})
    return path


@pytest.fixture(scope="session")
def low_db(labelled_db: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same molecules at another level of theory: other atoms, charges that are half as large, no dipoles."""
    path = tmp_path_factory.mktemp("low") / "low.db"
    with connect(labelled_db) as old, connect(path) as new:
        for row in old.select():
            atoms = row.toatoms()
            energy = row.energy + sum(OFFSET[z] for z in atoms.numbers)
            atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=row.forces, charges=0.5 * row.charges)
            new.write(atoms, total_charge=0, multiplicity=1)
    return path
