"""Small data sets of point charges, whose energies, dipoles and potentials are consistent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect

from molcalc.train.data.suspicions import atomic_energies
from molcalc.units import COULOMB

CHARGES = {1: 0.2, 6: 0.1, 7: -0.3, 8: -0.4}
MOLECULES = ["H2O", "CH3OH", "HCN", "NH3"]


def labelled(k: int) -> tuple[Atoms, dict[str, np.ndarray]]:
    """A molecule with labels, and its ESP."""
    rng = np.random.default_rng(k)
    atoms = molecule(MOLECULES[k % 4])
    atoms.rattle(0.05, seed=k)
    moved = atoms.positions - molecule(MOLECULES[k % 4]).positions
    charges = np.array([CHARGES[z] for z in atoms.numbers])
    charges -= charges.mean()
    arms = atoms.positions - atoms.get_center_of_mass()
    results = {
        "energy": float(atomic_energies(atoms.numbers).sum() - 3.0 * len(atoms) + 2.5 * (moved**2).sum()),
        "forces": -5.0 * moved,
        "dipole": charges @ arms,
        "charges": charges,
    }
    atoms.calc = SinglePointCalculator(atoms, **results)
    directions = rng.normal(size=(40, 3))
    points = atoms.get_center_of_mass() + 4.0 * directions / np.linalg.norm(directions, axis=1)[:, None]
    esp = COULOMB * (charges / np.linalg.norm(points[:, None] - atoms.positions, axis=2)).sum(axis=1)
    return atoms, {"esp_points": points, "esp": esp}


Change = Callable[[Atoms, dict[str, np.ndarray]], None]
Make = Callable[..., Path]


@pytest.fixture
def make_database(tmp_path: Path) -> Make:
    """Write a database, after a change of every structure."""

    def make(n: int = 24, change: Change | None = None, name: str = "set.db", gaps: bool = False) -> Path:
        path = tmp_path / name
        with connect(path) as database:
            for k in range(n):
                atoms, data = labelled(k)
                if change is not None:
                    change(atoms, data)
                database.write(atoms, total_charge=0, run=k // 4, data=data)
        if gaps:
            connect(path).delete([2, 3])
        return path

    return make


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOLCALC_CACHE", str(tmp_path / "cache"))
