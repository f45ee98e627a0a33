"""Structures that carry where their results come from."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import molecule

from molcalc.calculators import AIMNet2
from molcalc.simulate.provenance import with_initial_charges, with_results


def test_results_replace_those_that_were_there(calculator: AIMNet2) -> None:
    atoms = molecule("H2O")
    atoms.info.update(energy=-1.0, name="water")
    energy = calculator.get_property("energy", atoms)
    frame = with_results(atoms, {**calculator.results, "unknown": 1.0}, calculator)
    assert frame.info == {"name": "water", "charge": 0}
    assert frame.get_potential_energy() == energy
    assert "unknown" not in frame.calc.results
    assert frame.calc.parameters["model_hash"] == calculator.todict()["model_hash"]
    assert "energy" in atoms.info


def test_initial_charges_of_ions_add_up_to_the_total_charge(calculator: AIMNet2) -> None:
    atoms = molecule("OH")
    atoms.info["charge"] = -1
    calculator.get_property("energy", atoms)
    frame = with_results(atoms, calculator.results, calculator)
    ion = with_initial_charges(frame, -1)
    assert ion.get_initial_charges().sum() == pytest.approx(-1.0, abs=1e-12)
    assert np.abs(ion.get_initial_charges() - frame.get_charges()).max() < 1e-4
    assert ion.get_potential_energy() == frame.get_potential_energy()
    assert with_initial_charges(frame, 0) is frame
