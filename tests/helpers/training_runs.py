"""Runs of training that take seconds, on real data.

``tests/data/training``: 40 structures of small molecules and ions (PBE0/def2-SVP; ``_gfn2``: the same structures in the
same order with GFN2-xTB), and 20 of CO2 with the electrostatic potential at 24 points each (PBE0/def2-TZVP), own
calculations with pyscf 2.14 and tblite 0.8.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from molcalc.train import fit
from molcalc.train.fitting import FitResult

DATA = Path(__file__).parents[1] / "data" / "training"
PLAIN_DCM = {"n_features": 16, "head_features": 16, "n_modules": 1, "n_radial": 8, "max_number": 8}
TINY: dict[str, dict[str, Any]] = {
    "aimnet2": {
        "hidden": [[24, 16], [24, 16], [24, 16]],
        "aim_size": 16,
        "energy_hidden": [8],
        "n_channels": 4,
        "n_radial": 8,
        "n_vector": 4,
        "max_number": 8,
    },
    "noneq-dcm": PLAIN_DCM,
    "physnet-dcm": {**PLAIN_DCM, "head_radial": 8},
}
PAIR_HEAD: dict[str, Any] = {
    "head_features": 8, "head_channels": 3, "head_radial": 8, "pair_features": 8, "pair_layers": 2,
}  # fmt: skip
TINY["aimnet2-dcm"] = {**TINY["aimnet2"], **PAIR_HEAD}
TINY["aimnet2-noneq-dcm"] = {**TINY["aimnet2"], "head_features": 8}
"""Arguments of networks that train in seconds."""
FOR_SMALL_MOLECULES = {**TINY["aimnet2"], "max_number": 17}
"""The same for the small molecules, which contain chlorine."""
OFFSET = {1: 0.31, 6: -1.2, 7: 0.4, 8: 2.5}
"""eV per atom, by which the second level of theory of the test data differs."""


def copied(name: str, folder: Path) -> Path:
    """A database of ``tests/data/training`` in a folder that a cache may be written to."""
    folder.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(DATA / name, folder))


def fit_molecules(output: Path, **options: Any) -> FitResult:
    """Two epochs of AIMNet2 on the small molecules; one in ten for validation and for the test."""
    data = copied("small_molecules.db", output.parent)
    return _fit(data, "aimnet2", output, {"batch_size": 60, "arguments": FOR_SMALL_MOLECULES, **options})


def fit_co2(output: Path, **options: Any) -> FitResult:
    """Two epochs of the plain distributed-charge model on CO2 with its potential."""
    data = copied("co2_esp.db", output.parent)
    return _fit(data, "noneq-dcm", output, {"batch_size": 8, **options})


def _fit(data: Path, model: str, output: Path, options: dict[str, Any]) -> FitResult:
    settings = {"epochs": 2, "valid": 0.1, "test": 0.1, "progress": False, "arguments": TINY[model], "plots": False}
    settings["split_method"] = "random"  # of exact size
    return fit(str(data), model, output=output, **{**settings, **options})
