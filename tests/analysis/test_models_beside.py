"""Models beside a reference on one molecule."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from molcalc.analysis.models_beside import (
    ModelOnMolecule,
    along_mode,
    deviation,
    draw_models_beside,
    model_on_molecule,
    strongest_mode,
)
from molcalc.calculators import D3, AIMNet2
from molcalc.calculators.normal_modes import NormalModes
from molcalc.errors import InputError
from tests.helpers.networks import tiny_checkpoint


@pytest.fixture(scope="module")
def reference() -> ModelOnMolecule:
    """Water of a small model, as if it were at a minimum."""
    calc, atoms = AIMNet2(tiny_checkpoint(), dtype="float64"), molecule("H2O")
    modes = NormalModes.of(calc.get_vibrations(atoms))
    path = along_mode(modes, strongest_mode(modes))
    times = np.array([0.0, 500.0, 1000.0])
    return model_on_molecule(
        "tiny", atoms, calc, path, relaxation_steps=3, times=times, total_energies=np.array([2.0, 2.3, 2.6])
    )


def test_energies_and_dipoles_are_those_along_the_mode(reference: ModelOnMolecule) -> None:
    calc = AIMNet2(tiny_checkpoint(), dtype="float64")
    moved = molecule("H2O")
    moved.positions += reference.along[3] * reference.modes.per_quantum[strongest_mode(reference.modes)]
    assert reference.dipoles[3] == pytest.approx(calc.get_property("dipole", moved), abs=1e-6)
    assert reference.energies.min() == 0.0
    assert reference.total_energies == pytest.approx([0.0, 0.1, 0.2])
    assert reference.times == pytest.approx([0.0, 0.5, 1.0])


def test_a_model_that_is_turned_differs_from_itself_in_nothing(reference: ModelOnMolecule) -> None:
    turned = reference.modes.atoms.copy()
    turned.rotate(70, (1, 2, 3))
    turned.positions += 4.0
    found = deviation(replace(reference, modes=replace(reference.modes, atoms=turned)), reference)
    assert (found.positions, found.bonds, found.wavenumbers) == pytest.approx((0.0, 0.0, 0.0), abs=1e-6)
    assert found.similarity == pytest.approx(1.0)


def test_differences_are_those_that_were_made(reference: ModelOnMolecule) -> None:
    atoms = reference.modes.atoms.copy()
    atoms.set_distance(0, 1, atoms.get_distance(0, 1) + 0.02, fix=0)
    modes = replace(reference.modes, atoms=atoms, wavenumbers=reference.modes.wavenumbers + np.array([3.0, -6.0, 0.0]))
    other = replace(
        reference, modes=modes, energies=reference.energies + 0.01, dipoles=reference.dipoles + 0.03, spectrum=None
    )
    found = deviation(other, reference)
    assert found.bonds == pytest.approx(0.02)
    assert 0.0 < found.positions < 0.02
    assert (found.wavenumbers, found.worst_wavenumber) == pytest.approx((3.0, 6.0))
    assert (found.energies, found.dipoles, found.similarity) == pytest.approx((0.01, 0.03, None))


def test_models_without_charges_are_compared_by_the_rest(reference: ModelOnMolecule) -> None:
    calc, atoms = D3("pbe0"), molecule("H2O")
    path = (reference.along, along_mode(reference.modes, 0)[1])
    dark = model_on_molecule(
        "D3", atoms, calc, path, relaxation_steps=0, times=reference.times, total_energies=reference.total_energies
    )
    found = deviation(dark, reference)
    assert (found.dipoles, found.similarity) == (None, None)
    figure = draw_models_beside([reference, dark])
    assert [len(axis.lines) for axis in figure.axes] == [1, 2, 1, 2]


def test_an_atom_has_no_mode_to_be_compared_along() -> None:
    calc = AIMNet2(tiny_checkpoint(), dtype="float64")
    with pytest.raises(InputError, match="has no vibrations"):
        strongest_mode(NormalModes.of(calc.get_vibrations(Atoms("O"))))
