"""The state of a structure in its ``info``."""

from __future__ import annotations

from ase.build import molecule

from molcalc.calculators import AIMNet2
from molcalc.calculators.carried_state import keep_state
from tests.helpers.networks import tiny_checkpoint


def test_the_total_charge_is_noted_and_a_label_of_another_fidelity_forgotten() -> None:
    atoms = molecule("H2O")
    atoms.info.update(charge=2, fidelity="of the labels")
    keep_state(atoms, AIMNet2(tiny_checkpoint()))
    assert atoms.info == {"charge": 2}


def test_multiplicity_and_fidelity_are_noted_where_the_model_chooses_from_them() -> None:
    atoms = molecule("O2")
    atoms.set_initial_magnetic_moments([0.0, 0.0])  # ASE's triplet, which nobody asked for, would be warned of
    keep_state(atoms, AIMNet2(tiny_checkpoint(charge_channels=2)))
    assert atoms.info == {"charge": 0, "spin": 1}
