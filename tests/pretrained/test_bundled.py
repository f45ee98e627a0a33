"""The model that comes with the package works without any download."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule

from molcalc.calculators import AIMNet2
from molcalc.errors import FidelityError
from molcalc.io import checkpoint
from molcalc.pretrained.bundled import BUNDLED, FOLDER
from molcalc.train import evaluate

DATA = Path(__file__).parents[2] / "examples" / "data" / "small_species"
LARGEST = 4 << 20


def test_every_bundled_model_is_small_and_has_its_report() -> None:
    assert {path.name for path in FOLDER.iterdir() if path.is_dir()} == set(BUNDLED)
    for name in BUNDLED:
        files = {path.name: path.stat().st_size for path in (FOLDER / name).iterdir()}
        assert sum(files.values()) < LARGEST
        assert {"config.json", "weights.safetensors", "training.yaml", "README.md"} <= set(files)
        text = (FOLDER / name / "README.md").read_text()
        assert "licence" in text
        assert checkpoint.load(FOLDER / name).hash in text


def test_both_levels_of_theory_are_learned() -> None:
    data = {"pbe0": str(DATA / "multi_high_train.h5"), "gfn2": str(DATA / "multi_low_valid.h5")}
    errors = evaluate(data, "small-species")
    assert errors["energy"]["mae"] < 0.15  # eV; total energies span 13 keV and two scales
    assert errors["forces"]["mae"] < 0.15  # eV/Å


def test_the_levels_differ_in_energy_and_charges() -> None:
    water = molecule("H2O")
    calc = AIMNet2("small-species", fidelity="pbe0")
    found = calc.compare_fidelities(water)
    assert set(found) == {"pbe0", "gfn2"}
    assert found["pbe0"]["energy"] < 10 * found["gfn2"]["energy"]  # all electrons, or those of valence
    assert found["gfn2"]["charges"][0] < found["pbe0"]["charges"][0] < -0.1
    assert np.abs(found["pbe0"]["forces"]).max() < 5.0
    with pytest.raises(FidelityError, match="'pbe0', 'gfn2'"):
        AIMNet2("small-species").get_potential_energy(water)
