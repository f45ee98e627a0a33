"""Derivatives of the D4 term: first by the library, second by differences."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

from molcalc.batch import collate
from molcalc.dispersion.d4 import D4Dispersion
from molcalc.errors import ConfigError
from tests.helpers.checks import IDENTITY, fourth_order
from tests.helpers.dispersion import D4_MOLECULES, SMOOTH_D4, make_batch, results, sums_of_structures
from tests.helpers.structures import known_crystals, rattled

pytest.importorskip("dftd4")


def slope(function):
    """Derivative at 0."""
    return fourth_order(lambda step: (function(step) - function(-step)) / (2.0 * step), 1e-3)


@pytest.mark.parametrize("name", ["C6H6", "OH", "urea", "NaCl"])
def test_forces_and_strain_derivatives_equal_finite_differences(name):
    system = rattled((D4_MOLECULES | known_crystals())[name])
    if system.pbc.any():
        shear = IDENTITY.numpy() + [[0.0, 0.02, 0.0], [0.0, 0.0, 0.03], [0.01, 0.0, 0.0]]
        system.set_cell(system.cell.array @ shear, scale_atoms=True)
    term, charge = D4Dispersion("pbe0", **SMOOTH_D4), -1 if name == "OH" else 0
    batch = make_batch(system, charge)
    _, by_positions, by_strain = results(batch, term)

    def energy(positions, cell):
        return term(replace(batch, positions=positions, cell=cell), {}).sum().item()

    largest = by_positions.abs().max().item()
    for atom, axis in ((0, 0), (1, 1), (len(system) - 1, 2)):
        unit = torch.zeros_like(batch.positions)
        unit[atom, axis] = 1.0
        difference = slope(lambda t, d=unit: energy(batch.positions + t * d, batch.cell))
        assert difference == pytest.approx(by_positions[atom, axis].item(), abs=1e-6 * largest)
    for i, j in ((0, 0), (0, 1), (2, 1)) if system.pbc.any() else ():
        strain = torch.zeros(3, 3, dtype=torch.float64)
        strain[i, j] = 1.0
        deform = partial(lambda s, t: IDENTITY + t * s, strain)
        difference = slope(lambda t, d=deform: energy(batch.positions @ d(t), batch.cell @ d(t)))
        assert difference == pytest.approx(by_strain[i, j].item(), abs=1e-6 * by_strain.abs().max().item())


@pytest.mark.parametrize("systems", [["H2O"], ["LiH"], ["H2O", "LiH", "OH"]], ids=str)
def test_second_derivatives_are_exact(systems):
    images = {"H2O": molecule("H2O"), "LiH": bulk("LiH", "rocksalt", 4.08), "OH": molecule("OH")}
    batch = collate([make_batch(rattled(images[name]), -1 if name == "OH" else 0) for name in systems])
    # Third derivatives of a narrower switch jump too much for differences.
    term = D4Dispersion("pbe0", cutoff=12.0, atm_cutoff=8.0, switch_width=4.0)
    function, arguments = sums_of_structures(batch, term)
    assert torch.autograd.gradcheck(function, arguments, atol=1e-8, fast_mode=True)
    assert torch.autograd.gradgradcheck(function, arguments, atol=1e-8, fast_mode=True)


def test_hessian_is_symmetric_and_equals_differences_of_forces():
    atoms, term = rattled(molecule("C2H4")), D4Dispersion("pbe0")
    function, (positions, cell) = sums_of_structures(make_batch(atoms), term)
    (gradient,) = torch.autograd.grad(function(positions, cell).sum(), positions, create_graph=True)
    rows = [torch.autograd.grad(x, positions, retain_graph=True)[0] for x in gradient.reshape(-1)]
    hessian = torch.stack(rows).reshape(18, 18).numpy()
    largest = np.abs(hessian).max()
    np.testing.assert_allclose(hessian, hessian.T, atol=1e-8 * largest)
    np.testing.assert_allclose(hessian.reshape(18, 6, 3).sum(1), 0.0, atol=1e-7 * largest)
    moved = [make_batch(atoms) for _ in range(2)]
    for batch, step in zip(moved, (1e-4, -1e-4)):
        batch.positions[2, 1] += step
    sides = [results(batch, term)[1].reshape(-1).numpy() for batch in moved]
    np.testing.assert_allclose(hessian[7], (sides[0] - sides[1]) / 2e-4, atol=1e-6 * largest)


def test_third_derivatives_do_not_exist():
    function, (positions, cell) = sums_of_structures(make_batch(molecule("H2O")), D4Dispersion("pbe0"))
    (gradient,) = torch.autograd.grad(function(positions, cell).sum(), positions, create_graph=True)
    with pytest.raises(ConfigError, match="D4 has no third derivatives"):
        torch.autograd.grad(gradient[0, 2], positions, create_graph=True)


def test_derivatives_of_single_atomic_energies_are_refused():
    function, (positions, _) = sums_of_structures(make_batch(molecule("H2O")), D4Dispersion("pbe0"))
    batch = replace(make_batch(molecule("H2O")), positions=positions)
    energies = D4Dispersion("pbe0")(batch, {})
    with pytest.raises(ConfigError, match="differentiate sums over structures"):
        torch.autograd.grad(energies[0], positions)
