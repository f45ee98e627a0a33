"""torch-sim computes what ASE does, for molecules and boxes, many at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.constraints import FixAtoms

from molcalc.calculators.base import MolCalculator
from molcalc.errors import CellError, InputError
from molcalc.io.checkpoint import Checkpoint
from tests.helpers.calculators import periodic_calculator, tiny_calculator

torchsim = pytest.importorskip("torch_sim")
from molcalc.engines import torch_sim as engine  # noqa: E402

CELL = np.array([[6.0, 0.0, 0.0], [1.0, 6.5, 0.0], [-0.5, 0.4, 7.0]])


@pytest.fixture(scope="module")
def calc(closed_shell: Checkpoint) -> MolCalculator:
    return tiny_calculator(closed_shell)


def agrees(found: dict[str, torch.Tensor], images: list[Atoms], calc: MolCalculator) -> None:
    for atoms in images:
        atoms.calc = calc
    np.testing.assert_allclose(found["energy"], [atoms.get_potential_energy() for atoms in images], rtol=1e-8)
    forces = np.concatenate([atoms.get_forces() for atoms in images])
    np.testing.assert_allclose(found["forces"], forces, atol=1e-8 * np.abs(forces).max())


def test_molecules_of_different_charges_in_one_state_are_those_of_ase(calc: MolCalculator) -> None:
    hydroxide = molecule("OH")
    hydroxide.info["charge"] = -1
    images = [molecule("H2O"), hydroxide, molecule("CH3OH")]
    agrees(engine.TorchSimModel(calc)(engine.state_of(images, calc)), images, calc)


def test_a_state_of_torch_sim_itself_has_the_charge_of_the_calculator(closed_shell: Checkpoint) -> None:
    anion, hydroxide = tiny_calculator(closed_shell, charge=-1), molecule("OH")
    state = torchsim.io.atoms_to_state([hydroxide], torch.device("cpu"), torch.float64)
    agrees(engine.TorchSimModel(anion)(state), [hydroxide], anion)


def test_boxes_have_the_stress_of_ase_in_torch_sims_convention_of_cells(closed_shell: Checkpoint) -> None:
    calc = periodic_calculator(closed_shell)
    images = [molecule("H2O", cell=CELL * size, pbc=True) for size in (1.0, 1.05)]
    found = engine.TorchSimModel(calc)(engine.state_of(images, calc))
    agrees(found, images, calc)
    for stress, atoms in zip(found["stress"], images):
        np.testing.assert_allclose(stress, atoms.get_stress(voigt=False), atol=1e-10)


def test_dynamics_of_two_molecules_keep_the_total_energy(calc: MolCalculator) -> None:
    images = [molecule("H2O"), molecule("NH3")]
    model, state = engine.TorchSimModel(calc), engine.state_of(images, calc)
    state.rng = 1
    state = torchsim.nve_init(state, model, kT=torch.tensor(0.02, dtype=torch.float64))
    femtosecond = 1e-3 * torchsim.units.MetalUnits.time
    totals, potentials = [], []
    for _ in range(20):
        state = torchsim.nve_step(state, model, dt=torch.tensor(0.05 * femtosecond, dtype=torch.float64))
        kinetic = torchsim.calc_kinetic_energy(masses=state.masses, momenta=state.momenta, system_idx=state.system_idx)
        totals.append(state.energy + kinetic)
        potentials.append(state.energy)
    change, total = (torch.stack(each).numpy() for each in (potentials, totals))
    assert (np.ptp(total, axis=0) < 0.01 * np.ptp(change, axis=0)).all()


def test_what_a_state_cannot_carry_is_refused(calc: MolCalculator) -> None:
    fixed = molecule("H2O")
    fixed.set_constraint(FixAtoms([0]))
    with pytest.raises(InputError, match="structure 1 has the constraint FixAtoms"):
        engine.state_of([molecule("H2O"), fixed], calc)
    with pytest.raises(InputError, match="structure 1 has pbc="):
        engine.state_of([molecule("H2O"), molecule("H2O", cell=CELL, pbc=True)], calc)
    with pytest.raises(InputError, match="no structures"):
        engine.state_of([], calc)
    slab = torchsim.io.atoms_to_state(
        [molecule("H2O", cell=CELL, pbc=[True, True, False])], torch.device("cpu"), torch.float64
    )
    with pytest.raises(CellError, match="periodic in three directions"):
        engine.TorchSimModel(calc)(slab)
    with pytest.raises(InputError, match="expected a calculator of molcalc"):
        engine.TorchSimModel("wb97m-d3")
    state = engine.state_of([molecule("H2O")], calc)
    state.system_extras["total_spin"] = torch.ones(1)
    with pytest.raises(InputError, match="state the multiplicity as spin"):
        engine.TorchSimModel(calc)(state)
