"""The optimizer that starts from a model of the second derivatives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS

from molcalc.calculators import AIMNet2
from molcalc.simulate import QuasiNewton, quasi_newton
from molcalc.simulate.quasi_newton import _updated
from tests.helpers.structures import rattled


def relaxed(atoms: Atoms, calculator: object, kind: type, fmax: float = 0.01, cell: bool = False) -> tuple[Atoms, int]:
    atoms = atoms.copy()
    atoms.calc = calculator
    optimizer = kind(FrechetCellFilter(atoms) if cell else atoms, logfile=None)
    assert optimizer.run(fmax=fmax, steps=300)
    return atoms, optimizer.nsteps


def test_it_finds_the_minimum_of_bfgs_in_fewer_steps() -> None:
    calculator = AIMNet2("small-species", fidelity="pbe0", dtype="float64")
    atoms = rattled("CH3OH", seed=5)
    ours, steps = relaxed(atoms, calculator, QuasiNewton)
    theirs, more = relaxed(atoms, calculator, BFGS)
    assert steps < 0.8 * more
    assert ours.get_potential_energy() == pytest.approx(theirs.get_potential_energy(), abs=1e-3)


def test_the_model_follows_atoms_that_go_far(calculator: AIMNet2, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bonds that turn take their stiff directions with them."""
    monkeypatch.setattr(quasi_newton, "REMEMBERED", 0)
    atoms = rattled("CH3OH", seed=2)
    atoms.calc = calculator
    optimizer = QuasiNewton(atoms, logfile=None)
    optimizer.step()
    atoms.rotate(90, "z")
    begun = atoms.copy()
    begun.calc = calculator
    QuasiNewton(begun, logfile=None).step()
    optimizer.step()
    assert atoms.positions == pytest.approx(begun.positions, abs=1e-10)


def test_steps_are_shorter_where_the_energy_rises_and_grow_again(calculator: AIMNet2) -> None:
    atoms = rattled("CH3OH", seed=2)
    atoms.calc = calculator
    optimizer = QuasiNewton(atoms, logfile=None)
    for rise, radius in ((None, 0.2), (1.0, 0.1), (1.0, 0.05), (-1e3, 0.075)):
        if rise is not None:
            assert optimizer._last is not None
            optimizer._last = replace(optimizer._last, energy=atoms.get_potential_energy() - rise, expected=-1.0)
        before = atoms.positions.copy()
        optimizer.step()
        assert np.linalg.norm(atoms.positions - before, axis=1).max() == pytest.approx(radius)


def test_what_steps_have_shown_is_known() -> None:
    rng = np.random.default_rng(0)
    root = rng.normal(size=(6, 6))
    truth = root @ root.T + 6 * np.eye(6)
    matrix = np.eye(6)
    for step in np.eye(6):
        matrix = _updated(matrix, step, truth @ step)
    assert matrix @ np.eye(6)[-1] == pytest.approx(truth[-1])
    for _ in range(40):
        step = rng.normal(size=6)
        matrix = _updated(matrix, step, -truth @ step)  # downward everywhere, as at a saddle
        assert np.linalg.eigvalsh(matrix).min() > 0.0


def test_no_step_teaches_nothing() -> None:
    assert np.array_equal(_updated(np.eye(3), np.zeros(3), np.zeros(3)), np.eye(3))


def test_no_atom_moves_further_than_allowed_and_fixed_ones_not_at_all(calculator: AIMNet2) -> None:
    atoms = rattled("CH3OH", seed=2)
    atoms.positions[0] += 0.2
    atoms.set_constraint(FixAtoms([1]))
    atoms.calc = calculator
    before = atoms.positions.copy()
    QuasiNewton(atoms, maxstep=0.05, logfile=None).run(fmax=1e-6, steps=1)
    moved = np.linalg.norm(atoms.positions - before, axis=1)
    assert moved.max() == pytest.approx(0.05)
    assert moved[1] == 0.0


def test_a_cell_is_relaxed_too() -> None:
    atoms = bulk("Cu", cubic=True)
    atoms.set_cell(1.04 * atoms.cell.array @ (np.eye(3) + 0.03 * np.diag([1, 0, -1])), scale_atoms=True)
    atoms.rattle(0.05, seed=1)
    ours, steps = relaxed(atoms, EMT(), QuasiNewton, cell=True)
    theirs, more = relaxed(atoms, EMT(), BFGS, cell=True)
    assert steps <= more
    assert ours.get_potential_energy() == pytest.approx(theirs.get_potential_energy(), abs=1e-3)
    assert ours.get_volume() == pytest.approx(theirs.get_volume(), rel=5e-3)
