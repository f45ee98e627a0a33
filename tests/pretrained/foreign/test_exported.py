"""Programs that earlier versions exported are still models."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from molcalc.calculators import AIMNet2
from molcalc.pretrained.foreign.exported import EXPORT_FORMAT, read_contents

DATA = Path(__file__).parents[2] / "data" / "programs"
ENERGY = 1e-10  # eV
FORCES = 1e-10  # eV/Å
CHARGES = 1e-12  # e


@pytest.mark.parametrize("version", range(1, EXPORT_FORMAT + 1), ids="version {}".format)
def test_an_archived_program_opens_as_the_model_it_was_made_of(version: int) -> None:
    """Of one fidelity with a charge head, whose weights a program holds without places for further fidelities."""
    file = DATA / f"v{version}" / "aimnet2.jpt"
    contents = read_contents(file.read_bytes(), str(file))
    assert contents is not None
    assert contents.export_format == version
    reference = json.loads((file.parent / "reference.json").read_text())
    atoms = Atoms(reference["numbers"], reference["positions"])
    (expected,) = reference["results"].values()
    atoms.calc = AIMNet2(file, dtype="float64", trusted=True)
    assert atoms.get_potential_energy() == pytest.approx(expected["energy"], abs=ENERGY)
    np.testing.assert_allclose(atoms.get_forces(), expected["forces"], atol=FORCES)
    np.testing.assert_allclose(atoms.get_charges(), expected["charges"], atol=CHARGES)
