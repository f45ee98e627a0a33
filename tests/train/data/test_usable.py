"""Structures in the units of the package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from molcalc.properties import from_voigt
from molcalc.train.data import open_dataset


def test_virials_become_stresses_of_the_opposite_sign_per_volume(tmp_path: Path) -> None:
    stress = np.array([0.01, -0.02, 0.03, 0.004, -0.005, 0.006])
    atoms = bulk("Cu", a=3.7, cubic=True)
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0, stress=stress)
    write(tmp_path / "stress.xyz", [atoms])
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0)
    atoms.info["virial"] = -from_voigt(stress) * atoms.get_volume()
    write(tmp_path / "virial.xyz", [atoms])
    expected = open_dataset(tmp_path / "stress.xyz").labels["stress"]
    found = open_dataset(tmp_path / "virial.xyz", labels={"stress": "virial"}, units={"stress": "virial"})
    assert np.abs(expected).max() > 0.02
    np.testing.assert_allclose(found.labels["stress"], expected, atol=1e-8)
