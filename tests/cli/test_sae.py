"""``molcalc sae``: self-atomic energies per fidelity as YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect

ATOMS = {1: -13.6, 6: -1029.5, 8: -2041.9}


def database(path: Path, shift: float) -> Path:
    with connect(path) as db:
        for name in ("H2", "CH4", "H2O", "CO2", "CH3OH", "CO", "C2H6", "H2CO"):
            atoms = molecule(name)
            energy = sum(ATOMS[z] + shift for z in atoms.numbers)
            atoms.calc = SinglePointCalculator(atoms, energy=energy)
            db.write(atoms)
    return path


def test_energies_of_atoms_are_recovered_and_written(run: Any, tmp_path: Path) -> None:
    database(tmp_path / "a.db", 0.0)
    result = run("sae", "a.db", "sae.yaml")
    assert result.status == 0, result.err
    assert "default: 3 elements from 8 energies" in result.out
    found = yaml.safe_load((tmp_path / "sae.yaml").read_text())
    assert list(found) == [1, 6, 8]
    assert np.allclose([found[z] for z in ATOMS], list(ATOMS.values()), atol=1e-8)
    refused = run("sae", "a.db", "sae.yaml")
    assert refused.status == 2
    assert "sae.yaml exists" in refused.err


def test_every_fidelity_has_a_block_of_its_own(run: Any, tmp_path: Path) -> None:
    database(tmp_path / "a.db", 0.0)
    database(tmp_path / "b.db", 1.0)
    result = run("sae", "low=a.db", "high=b.db", "-")
    assert result.status == 0, result.err
    found = yaml.safe_load(result.out)
    assert list(found) == ["low", "high"]
    assert found["high"][6] == pytest.approx(ATOMS[6] + 1.0, abs=1e-8)
    assert found["low"][6] == pytest.approx(ATOMS[6], abs=1e-8)


def test_data_without_energies_are_refused(run: Any, tmp_path: Path) -> None:
    with connect(tmp_path / "bare.db") as db:
        db.write(molecule("H2O"))
    result = run("sae", "bare.db", "sae.yaml")
    assert result.status == 3
    assert "no energies; self-atomic energies cannot be fitted" in result.err
    assert not (tmp_path / "sae.yaml").exists()
