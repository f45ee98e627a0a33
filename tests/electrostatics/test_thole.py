"""Damped Coulomb energy of distributed charges."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.vdwcorrection import vdWDB_Chu04jcp
from ase.data import atomic_numbers

from molcalc.electrostatics.pair_formulas import thole_damped_inverse
from molcalc.electrostatics.thole import POLARIZABILITIES, TholeCoulomb
from molcalc.errors import CellError, ConfigError, UnsupportedElementError
from molcalc.units import BOHR, COULOMB
from tests.helpers.checks import batch_of
from tests.helpers.structures import random_atoms


def distributed(batch, n_dcm=3, seed=0):
    """Random charges at random places around the atoms."""
    rng = np.random.default_rng(seed)
    charges = torch.tensor(rng.normal(0, 0.5, (batch.n_atoms, n_dcm)))
    offsets = torch.tensor(rng.normal(0, 0.15, (batch.n_atoms, n_dcm, 3)))
    return charges, offsets


def energies(term, batch, charges, offsets, positions=None):
    positions = batch.positions if positions is None else positions
    predictions = {"dcm_charges": charges, "dcm_positions": positions[:, None] + offsets}
    return term(replace(batch, positions=positions), predictions)


def two_sites(distance, symbols="HO", term=None):
    """Energy of +1 e and −1 e in the middle of two atoms."""
    batch = batch_of(Atoms(symbols, [[0, 0, 0], [0, 0, distance]]))
    charges = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    offsets = torch.zeros(2, 1, 3, dtype=torch.float64)
    return float(energies(term or TholeCoulomb(), batch, charges, offsets).sum())


def test_energy_equals_the_sum_of_the_docstring_over_sites_of_different_atoms():
    batch = batch_of(random_atoms(6))
    charges, offsets = distributed(batch)
    sites = (batch.positions[:, None] + offsets).numpy()
    expected = 0.0
    for i in range(6):
        for j in range(i):
            size = (POLARIZABILITIES[int(batch.numbers[i])] * POLARIZABILITIES[int(batch.numbers[j])]) ** (1 / 6)
            for a in range(3):
                for b in range(3):
                    r = np.linalg.norm(sites[i, a] - sites[j, b])
                    x = 2.6 * r / (size * BOHR)
                    damping = 1 - (1 + x / 2) * np.exp(-x)
                    expected += COULOMB * float(charges[i, a] * charges[j, b]) / r * damping
    assert float(energies(TholeCoulomb(), batch, charges, offsets).sum()) == pytest.approx(expected, rel=1e-12)


def test_energy_is_coulombs_law_far_away():
    assert two_sites(20.0) == pytest.approx(-COULOMB / 20.0, rel=1e-12)


def test_energy_at_contact_is_finite_and_flat():
    size = (4.5 * 5.4) ** (1 / 6) * BOHR
    assert two_sites(0.0) == pytest.approx(-COULOMB * 2.6 / (2 * size), rel=1e-9)
    batch = batch_of(Atoms("HO", [[0, 0, 0], [0, 0, 0]]))
    positions = batch.positions.clone().requires_grad_()
    charges, offsets = torch.ones(2, 1, dtype=torch.float64), torch.zeros(2, 1, 3, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(energies(TholeCoulomb(), batch, charges, offsets, positions).sum(), positions)
    assert bool((gradient == 0).all())


def test_damping_has_no_step_where_the_series_ends():
    x = torch.linspace(0.015, 0.025, 4001, dtype=torch.float64).requires_grad_()
    value = thole_damped_inverse(x)
    (slope,) = torch.autograd.grad(value.sum(), x)
    exact = -x / 6 + x**2 / 8 - x**3 / 20 + x**4 / 72 - x**5 / 336
    torch.testing.assert_close(slope, exact, rtol=0, atol=1e-11)
    assert float(thole_damped_inverse(torch.zeros(1, dtype=torch.float64))) == 0.5


def test_charges_of_one_atom_do_not_interact():
    batch = batch_of(Atoms("O"))
    assert energies(TholeCoulomb(), batch, *distributed(batch)).tolist() == [0.0]


def test_derivatives_by_charges_and_sites_equal_finite_differences():
    batch = batch_of(random_atoms(3), random_atoms(2, seed=1))
    charges, offsets = distributed(batch, n_dcm=2)
    inputs = tuple(tensor.clone().requires_grad_() for tensor in (charges, offsets, batch.positions))

    def function(charges, offsets, positions):
        return energies(TholeCoulomb(), batch, charges, offsets, positions)

    assert torch.autograd.gradcheck(function, inputs, atol=1e-7)
    assert torch.autograd.gradgradcheck(function, inputs, atol=1e-6)


def test_batch_equals_single_systems():
    structures = [random_atoms(n, seed=n) for n in (3, 1, 7)]
    batch = batch_of(*structures)
    charges, offsets = distributed(batch)
    together = energies(TholeCoulomb(), batch, charges, offsets)
    start = 0
    for atoms in structures:
        part = slice(start, start + len(atoms))
        alone = energies(TholeCoulomb(), batch_of(atoms), charges[part], offsets[part])
        torch.testing.assert_close(together[part], alone, rtol=0, atol=1e-11)
        start += len(atoms)


def test_float32_predictions_are_summed_in_float64():
    batch = batch_of(random_atoms(4))
    charges, offsets = distributed(batch)
    predictions = {"dcm_charges": charges.float(), "dcm_positions": (batch.positions[:, None] + offsets).float()}
    assert TholeCoulomb()(batch, predictions).dtype == torch.float64


@pytest.mark.parametrize("symbol", ["H", "C", "N", "O", "F", "Si", "P", "S", "Cl", "Se", "Br"])
def test_polarizabilities_are_those_of_chu_and_dalgarno(symbol):
    assert POLARIZABILITIES[atomic_numbers[symbol]] == vdWDB_Chu04jcp[symbol][0]


def test_given_polarizability_replaces_the_table():
    term = TholeCoulomb(polarizabilities={1: 5.4 * BOHR**3})
    assert two_sites(1.0, "HO", term) == pytest.approx(two_sites(1.0, "OO"), rel=1e-12)


def test_element_without_polarizability_is_an_error_with_the_cure():
    with pytest.raises(UnsupportedElementError, match=r"Z=\[92\].*pass polarizabilities"):
        two_sites(1.0, "HU")


def test_crystal_is_an_error():
    batch = batch_of(random_atoms(2, cell=np.eye(3) * 5), pair_cutoff=5.0)
    with pytest.raises(CellError, match="switch pbc off"):
        energies(TholeCoulomb(), batch, *distributed(batch))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"damping": 0.0}, "damping=0.0"),
        ({"polarizabilities": {6: -1.0}}, "polarizability of Z=6=-1.0"),
        ({"polarizabilities": {0: 1.0}}, "Z=0 is no element"),
    ],
)
def test_impossible_options_are_errors_with_name_and_value(options, message):
    with pytest.raises(ConfigError, match=message):
        TholeCoulomb(**options)
