"""Second derivatives are derivatives of forces and dipoles, and those of molecules are equal to those of the graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms

import molcalc.second_derivatives
from molcalc.assembly.opening import open_model
from molcalc.assembly.potentials import PotentialOptions, potential_of
from molcalc.batch import AtomicBatch, from_atoms
from molcalc.calculators import D3
from molcalc.dispersion.d3 import D3Dispersion
from molcalc.energy_term import EnergyTerm
from molcalc.io.checkpoint import Checkpoint
from molcalc.models import aimnet2_hessian
from molcalc.potential import Potential
from molcalc.progress import progress_bar
from molcalc.second_derivatives import dipole_derivatives, hessian, second_derivatives
from tests.helpers.calculators import periodic_calculator, tiny_calculator
from tests.helpers.networks import VARIANTS, tiny_checkpoint, tiny_multifidelity
from tests.helpers.structures import crystal, organic, rattled

HESSIAN_FD = 1e-5  # eV/Å²
TWIN = 1e-10
"""Relative difference of two orders of summation."""
NETWORKS: dict[str, dict[str, Any]] = {
    **VARIANTS,
    "other numbers of functions": {"n_channels": 5, "n_radial": 8, "n_vector": 7},
}


@pytest.fixture(params=["closed shell", "open shell"])
def checkpoint(request: pytest.FixtureRequest) -> Checkpoint:
    name = request.param.replace(" ", "_")
    return request.getfixturevalue(name)


def potential(**changes: Any) -> Potential:
    """Small networks with Coulomb and D3, in double precision."""
    found = potential_of(open_model(tiny_checkpoint(**changes)), options=PotentialOptions())
    return found.set_dtype(torch.float64)


def batch_of(atoms: Atoms, fidelity: int = 0) -> AtomicBatch:
    return from_atoms(atoms, cutoff=5.0, pair_cutoff=np.inf, total_charge=1, multiplicity=3, fidelity=fidelity)


def assert_those_of_the_graph(found: Potential, batch: AtomicBatch) -> None:
    matrix, slopes = second_derivatives(found, batch)
    assert slopes is not None
    for value, expected in ((matrix, hessian(found, batch)), (slopes, dipole_derivatives(found, batch))):
        assert value.dtype == torch.float64
        torch.testing.assert_close(value, expected, rtol=TWIN, atol=TWIN * max(1.0, float(expected.abs().max())))


def test_hessian_is_the_derivative_of_the_forces(checkpoint: Checkpoint) -> None:
    atoms = rattled("H2O", seed=1)
    calc = tiny_calculator(checkpoint)
    matrix = calc.get_hessian(atoms)
    assert matrix.shape == (3, 3, 3, 3)
    eps = 1e-4
    for atom, axis in [(0, 0), (1, 2), (2, 1)]:
        forces = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[atom, axis] += sign * eps
            forces.append(calc.get_forces(moved))
        assert np.abs(-(forces[0] - forces[1]) / (2 * eps) - matrix[atom, axis]).max() < HESSIAN_FD
    flat = matrix.reshape(9, 9)
    assert np.abs(flat - flat.T).max() < 1e-9
    assert np.abs(matrix.sum(axis=2)).max() < HESSIAN_FD


def test_hessian_does_not_depend_on_how_many_rows_are_computed_at_once(
    closed_shell: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    calc = tiny_calculator(closed_shell)
    batch = calc.prepare(organic())[0]
    whole = hessian(calc.potential, batch)
    monkeypatch.setattr("molcalc.second_derivatives.HESSIAN_ATOMS", 40)
    assert (hessian(calc.potential, batch) - whole).abs().max() < 1e-9


def test_hessian_of_a_crystal_is_the_derivative_of_the_forces(closed_shell: Checkpoint) -> None:
    atoms = crystal()
    calc = periodic_calculator(closed_shell)
    matrix = calc.get_hessian(atoms)
    moved = [atoms.copy(), atoms.copy()]
    moved[0].positions[2, 1] += 1e-4
    moved[1].positions[2, 1] -= 1e-4
    numerical = -(calc.get_forces(moved[0]) - calc.get_forces(moved[1])) / 2e-4
    assert np.abs(numerical - matrix[2, 1]).max() < HESSIAN_FD


def test_hessian_of_a_crystal_does_not_repeat_terms_that_need_no_prediction(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their sums over the lattice are long: 48 replicas of urea took 5 GB."""
    sizes = []
    energies = D3Dispersion.forward
    monkeypatch.setattr(D3Dispersion, "forward", lambda *args: sizes.append(args[1].n_systems) or energies(*args))
    atoms = crystal()
    calc = D3("pbe0", cutoff=9.0, cn_cutoff=7.0)
    matrix = calc.get_hessian(atoms)
    assert set(sizes) == {1}
    moved = [atoms.copy(), atoms.copy()]
    moved[0].positions[2, 1] += 1e-4
    moved[1].positions[2, 1] -= 1e-4
    numerical = -(calc.get_forces(moved[0]) - calc.get_forces(moved[1])) / 2e-4
    assert np.abs(numerical - matrix[2, 1]).max() < 1e-7 < np.abs(numerical).max()


@pytest.mark.parametrize("changes", NETWORKS.values(), ids=NETWORKS)
def test_those_of_molecules_are_those_of_the_graph(changes: dict[str, Any]) -> None:
    assert_those_of_the_graph(potential(**changes), batch_of(organic()))


def test_atoms_that_go_through_perceptrons_together_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("molcalc.models.aimnet2_hessian.ROWS_AT_ONCE", 50)
    monkeypatch.setattr("molcalc.models.aimnet2_hessian.FEWEST_TOGETHER", 2)
    assert_those_of_the_graph(potential(), batch_of(organic()))


def test_those_of_a_network_in_single_precision_are_in_double() -> None:
    assert_those_of_the_graph(potential().set_dtype(torch.float32), batch_of(rattled("CH3OH")))


@pytest.mark.parametrize("fidelity", [0, 2])
def test_those_of_a_fidelity_that_corrects_another_have_both_heads(fidelity: int) -> None:
    network = tiny_multifidelity(bases=(None, 0, 1)).requires_grad_(False)
    assert_those_of_the_graph(Potential([network]), batch_of(rattled("CH3OH"), fidelity))


@pytest.mark.parametrize("atoms", [Atoms("O"), Atoms("CO", [[0, 0, 0], [0, 0, 7.0]])], ids=["one", "far apart"])
def test_atoms_without_neighbors_have_those_of_the_graph(atoms: Atoms) -> None:
    assert_those_of_the_graph(potential(), batch_of(atoms))


class Tether(EnergyTerm):
    """Cubes of distances to the origin, of charges, and their product."""

    requires = ("charges",)

    def forward(self, batch: AtomicBatch, predictions: Any) -> torch.Tensor:
        lengths, charges = batch.positions.norm(dim=1), predictions["charges"]
        energies: torch.Tensor = lengths**3 + charges**3 + lengths * charges
        return energies


def test_terms_may_be_any_function_of_charges_and_positions() -> None:
    assert_those_of_the_graph(Potential(potential().networks, [Tether()]), batch_of(organic()))


def test_molecules_beyond_the_limit_come_from_the_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    found, batch = potential(), batch_of(rattled("H2O"))
    expected = second_derivatives(found, batch)[0]
    monkeypatch.setattr("molcalc.second_derivatives.MOST_DISPLACED_ATOMS", 2)
    monkeypatch.setattr("molcalc.second_derivatives.DisplacedAIMNet2", None)
    torch.testing.assert_close(second_derivatives(found, batch)[0], expected, rtol=TWIN, atol=TWIN * 100)


def test_derivatives_of_the_dipole_by_the_graph_match_finite_differences(closed_shell: Checkpoint) -> None:
    atoms = organic()
    calc = tiny_calculator(closed_shell)
    derivatives = dipole_derivatives(calc.potential, calc.prepare(atoms)[0]).numpy()
    values = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions[3, 1] += sign * 1e-4
        values.append(calc.get_dipole_moment(moved))
    assert np.abs((values[0] - values[1]) / 2e-4 - derivatives[:, 3, 1]).max() < 1e-6


@pytest.mark.parametrize("largest", [300, 1])
def test_long_ones_show_how_far_they_are(largest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[tuple[str, int, int]] = []

    def noted(**settings: Any) -> Any:
        bar = progress_bar(in_files=True, **{**settings, "delay": 0.0})
        close = bar.close
        monkeypatch.setattr(bar, "close", lambda: (done.append((bar.desc, bar.n, bar.total)), close())[1])
        return bar

    monkeypatch.setattr(molcalc.second_derivatives, "progress_bar", noted)
    monkeypatch.setattr(aimnet2_hessian, "progress_bar", noted)
    monkeypatch.setattr(molcalc.second_derivatives, "MOST_DISPLACED_ATOMS", largest)
    second_derivatives(potential(), batch_of(organic()))
    assert done
    assert all(n == total and "second derivatives" in what for what, n, total in done), done
    assert any("pass 1" in what for what, _, _ in done) == (largest == 300)
