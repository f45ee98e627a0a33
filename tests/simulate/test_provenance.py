"""Structures that carry where their results come from."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import molecule

from molcalc.calculators import AIMNet2
from molcalc.simulate.provenance import keep_state, with_initial_charges, with_results
from tests.helpers.networks import tiny_checkpoint


def test_the_total_charge_is_noted_and_a_label_of_another_fidelity_forgotten(calculator: AIMNet2) -> None:
    atoms = molecule("H2O")
    atoms.info.update(charge=2, fidelity="of the labels")
    keep_state(atoms, calculator)
    assert atoms.info == {"charge": 2}


def test_multiplicity_and_fidelity_are_noted_where_the_model_chooses_from_them() -> None:
    atoms = molecule("O2")
    atoms.set_initial_magnetic_moments([0.0, 0.0])  # ASE's triplet, which nobody asked for, would be warned of
    keep_state(atoms, AIMNet2(tiny_checkpoint(charge_channels=2)))
    assert atoms.info == {"charge": 0, "spin": 1}


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
