"""Checks that every energy term has to pass, exact differences, and the state of the process."""

import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from ase import Atoms

from molcalc.batch import collate, from_atoms
from tests.helpers.structures import random_rotation

IDENTITY = torch.eye(3, dtype=torch.float64)


def random_charges(n_atoms, seed=0, total=0.0):
    charges = torch.tensor(np.random.default_rng(seed).normal(0.0, 0.4, n_atoms), dtype=torch.float64)
    return charges - (charges.sum() - total) / n_atoms


def batch_of(*structures, pair_cutoff=np.inf):
    return collate([from_atoms(atoms, cutoff=3.0, pair_cutoff=pair_cutoff) for atoms in structures])


def strained(batch, positions, strain):
    """The batch with its atoms at given positions, which a strain moves together with all cells."""
    deformation = IDENTITY + strain
    return replace(batch, positions=positions @ deformation, cell=batch.cell @ deformation)


def energies_of(term, batch, charges, positions=None, strain=None):
    """Atomic energies with given charges, at given positions, and under a strain of all systems."""
    positions = batch.positions if positions is None else positions
    strain = torch.zeros_like(IDENTITY) if strain is None else strain
    return term(strained(batch, positions, strain), {"charges": charges})


def total_energy(term, batch, charges):
    return float(energies_of(term, batch, charges).sum())


def assert_gradients_exact(function, inputs, second=True, atol=1e-7):
    """Compare first, and second, derivatives of any tensors with differences along one direction of all inputs.

    One number follows from every entry of a Jacobian, so that a wrong one shows as it does where each is found by
    itself, in a small part of the time. Of many numbers in a sum each is a small part: the tolerance is narrow.
    """
    assert torch.autograd.gradcheck(function, inputs, atol=atol, rtol=1e-6, fast_mode=True)
    if second:
        assert torch.autograd.gradgradcheck(function, inputs, atol=10 * atol, rtol=1e-5, fast_mode=True)


def assert_derivatives_exact(term, batch, charges, second=True, atol=1e-7):
    """Compare first and second derivatives by positions, charges and strain with finite differences."""
    inputs = tuple(
        tensor.detach().clone().requires_grad_()
        for tensor in (charges, batch.positions, torch.zeros(3, 3, dtype=torch.float64))
    )

    def function(charges, positions, strain):
        return energies_of(term, batch, charges, positions, strain)

    assert_gradients_exact(function, inputs, second=second, atol=atol)


def assert_batch_equals_single(term, structures, charges, pair_cutoff=np.inf, atol=1e-11):
    """Energies in one batch equal energies alone, and no energy depends on another system's atoms."""
    batch = batch_of(*structures, pair_cutoff=pair_cutoff)
    positions = batch.positions.clone().requires_grad_()
    energies = energies_of(term, batch, torch.cat(charges), positions)
    start = 0
    for atoms, q in zip(structures, charges):
        alone = energies_of(term, batch_of(atoms, pair_cutoff=pair_cutoff), q)
        mine = energies[start : start + len(atoms)]
        torch.testing.assert_close(mine.detach(), alone, rtol=0, atol=atol)
        (gradient,) = torch.autograd.grad(mine.sum(), positions, retain_graph=True)
        others = torch.ones(len(positions), dtype=torch.bool)
        others[start : start + len(atoms)] = False
        assert bool((gradient[others] == 0).all())
        start += len(atoms)


def assert_invariant(term, atoms, charges, pair_cutoff=np.inf, atol=1e-10):
    """Energy unchanged and forces turned under rotation, reflection, translation and permutation."""
    turn = random_rotation(5)
    order = np.random.default_rng(5).permutation(len(atoms))
    forces, energy = _forces(term, atoms, charges, pair_cutoff)
    for matrix in (turn, -turn):
        moved = atoms.copy()
        moved.set_cell(np.asarray(atoms.cell) @ matrix)
        moved.set_positions((atoms.positions @ matrix + [3.0, -2.0, 7.0])[order])
        turned_forces, turned_energy = _forces(term, moved, charges[order], pair_cutoff)
        assert abs(turned_energy - energy) < atol
        np.testing.assert_allclose(turned_forces, (forces @ matrix)[order], rtol=0, atol=10 * atol)


def _forces(term, atoms, charges, pair_cutoff):
    batch = batch_of(atoms, pair_cutoff=pair_cutoff)
    positions = batch.positions.clone().requires_grad_()
    energy = energies_of(term, batch, charges, positions).sum()
    (gradient,) = torch.autograd.grad(energy, positions)
    return -gradient.numpy(), float(energy.detach())


def assert_smooth_at(term, radius, pair_cutoff=np.inf, width=0.05, closest=1.0):
    """Energy and force are continuous when a pair, or a third body's pair, crosses a radius."""
    charges = torch.tensor([0.6, -0.8, 0.5], dtype=torch.float64)

    def scan(distances, n_atoms):
        places = [[[0.0, 0, 0], [d, 0, 0], [0.3, 1.1, 0]][:n_atoms] for d in distances]
        batch = batch_of(*(Atoms("HOH"[:n_atoms], place) for place in places), pair_cutoff=pair_cutoff)
        positions = batch.positions.clone().requires_grad_()
        energies = energies_of(term, batch, charges[:n_atoms].repeat(len(distances)), positions)
        (gradient,) = torch.autograd.grad(energies.sum(), positions)
        return energies.detach().reshape(-1, n_atoms).sum(dim=1).numpy(), -gradient[1::n_atoms, 0].numpy()

    edge, force_there = scan([radius - 1e-13, radius + 1e-13], 2)
    assert abs(edge[1] - edge[0]) < 1e-12 + 4e-13 * abs(force_there[0])
    for n_atoms in (2, 3):
        _, force = scan(np.linspace(radius - width, radius + width, 401), n_atoms)
        everywhere = np.abs(scan(np.linspace(closest, radius, 40), n_atoms)[1]).max()
        assert np.abs(np.diff(force)).max() <= 1e-3 * everywhere


def assert_nan_stays_in_its_system(term, structures, charges, pair_cutoff=np.inf):
    """A position that is not a number spoils the energies of its own system and leaves the others alone."""
    batch = batch_of(*structures, pair_cutoff=pair_cutoff)
    whole = energies_of(term, batch, torch.cat(charges))
    positions = batch.positions.clone()
    positions[0, 0] = torch.nan
    spoilt = energies_of(term, batch, torch.cat(charges), positions)
    first = len(structures[0])
    assert bool(spoilt[:first].isnan().any())
    assert bool((spoilt[first:] == whole[first:]).all())


def fourth_order(differences: Callable[[float], np.ndarray], step: float = 1e-4) -> np.ndarray:
    """Central differences of a step, without their error of second order; random networks are steep."""
    return (4.0 * differences(step) - differences(2.0 * step)) / 3.0


def state_of_process() -> tuple[object, ...]:
    """What a calculation must leave as it was: settings of torch, and generators of random numbers."""
    return (
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        torch.get_num_threads(),
        torch.get_float32_matmul_precision(),
        torch.are_deterministic_algorithms_enabled(),
        torch.random.get_rng_state().tolist(),
        str(np.random.get_state()),  # noqa: NPY002
        random.getstate(),
    )
