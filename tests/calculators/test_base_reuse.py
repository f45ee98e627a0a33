"""What a calculator saw before, and with what it computes, changes no result."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule

from molcalc.calculators.base import MolCalculator
from molcalc.io.checkpoint import Checkpoint
from tests.helpers.calculators import periodic_calculator, results_of, tiny_calculator
from tests.helpers.structures import crystal, organic


@pytest.fixture(params=["closed shell", "open shell"])
def checkpoint(request: pytest.FixtureRequest) -> Checkpoint:
    return request.getfixturevalue(request.param.replace(" ", "_"))


@pytest.fixture
def calc(checkpoint: Checkpoint) -> MolCalculator:
    return tiny_calculator(checkpoint)


@pytest.mark.filterwarnings("ignore::molcalc.errors.OpenShellWarning")
def test_dipole_is_that_of_the_charges_about_the_center_of_mass(calc: MolCalculator) -> None:
    atoms = organic()
    atoms.info["charge"] = 1
    found = results_of(calc, atoms)
    expected = found["charges"] @ (atoms.positions - atoms.get_center_of_mass())
    assert np.abs(found["dipole"] - expected).max() < 1e-8


def test_cell_smaller_than_the_cutoff_equals_its_supercell(closed_shell: Checkpoint) -> None:
    calc = periodic_calculator(closed_shell)
    atom = Atoms("O", cell=[2.0, 2.1, 2.2], pbc=True)
    small, large = results_of(calc, atom), results_of(calc, atom.repeat((4, 4, 4)))
    assert abs(large["energy"] / 64 - small["energy"]) < 1e-9
    assert np.abs(small["forces"]).max() < 1e-9


def test_dummy_cell_of_a_molecule_is_ignored(calc: MolCalculator) -> None:
    atoms = organic()
    boxed = atoms.copy()
    boxed.cell = np.eye(3)
    before, after = results_of(calc, atoms), results_of(calc, boxed)
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_calculator_that_saw_other_sizes_equals_a_fresh_one(closed_shell: Checkpoint) -> None:
    used = periodic_calculator(closed_shell)
    large = molecule("CH3CONH2")
    large.translate([0.3, 0.2, 0.1])
    sequence = [organic(), Atoms("O"), large * (1, 1, 1), crystal(), crystal().repeat((2, 1, 1)), Atoms("O"), organic()]
    for atoms in sequence:
        fresh = periodic_calculator(closed_shell)
        a, b = results_of(used, atoms), results_of(fresh, atoms)
        assert all(np.array_equal(a[name], b[name]) for name in b)


def test_moving_structure_equals_a_fresh_neighbor_list(closed_shell: Checkpoint) -> None:
    used = periodic_calculator(closed_shell)
    rng = np.random.default_rng(0)
    atoms = crystal().repeat((2, 2, 1))
    for step in range(30):
        atoms.positions += rng.normal(scale=0.03, size=(len(atoms), 3))
        if step % 10 == 9:
            atoms.set_cell(atoms.cell * 1.003, scale_atoms=True)
            atoms.wrap()
        fresh = periodic_calculator(closed_shell)
        assert abs(results_of(used, atoms)["energy"] - results_of(fresh, atoms)["energy"]) < 1e-10


def test_repeated_calls_are_bitwise_equal(calc: MolCalculator) -> None:
    first = results_of(calc, organic())
    for _ in range(20):
        again = results_of(calc, organic())
        assert all(np.array_equal(first[name], again[name]) for name in first)


def test_number_of_threads_changes_nothing(calc: MolCalculator) -> None:
    atoms = organic().repeat((1, 1, 1))
    one = results_of(calc, atoms)
    torch.set_num_threads(2)
    two = results_of(calc, atoms)
    torch.set_num_threads(1)
    assert np.abs(one["forces"] - two["forces"]).max() < 1e-12 * np.abs(one["forces"]).max()


def test_compiled_and_torch_kernels_agree(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    calc = periodic_calculator(checkpoint)
    compiled = {name: results_of(calc, atoms) for name, atoms in (("molecule", organic()), ("crystal", crystal()))}
    hessian = calc.get_hessian(molecule("H2O"))
    monkeypatch.setattr("molcalc.kernels.runtime.available", lambda: False)
    for name, atoms in (("molecule", organic()), ("crystal", crystal())):
        plain = results_of(calc, atoms)
        for key, value in plain.items():
            assert np.abs(value - compiled[name][key]).max() < 1e-10, key
    assert np.abs(calc.get_hessian(molecule("H2O")) - hessian).max() < 1e-9
