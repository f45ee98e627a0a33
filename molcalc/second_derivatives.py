"""Second derivatives of a potential, and those of its dipole: of molecules at once, or row by row of a graph.

They are in double precision throughout. Molecules of AIMNet2 have both by
:class:`molcalc.models.aimnet2_hessian.DisplacedAIMNet2`, everything else by the graph of torch, which is the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import cast

import torch
from jaxtyping import Float64
from torch import Tensor

from molcalc.batch import AtomicBatch, collate
from molcalc.derivatives import evaluate, results_of_output, term_derivatives
from molcalc.energy_term import EnergyTerm
from molcalc.models.aimnet2 import AIMNet2Network
from molcalc.models.aimnet2_hessian import Displaced, DisplacedAIMNet2
from molcalc.potential import Potential, PotentialOutput
from molcalc.progress import SECONDS_BEFORE, progress_bar

HESSIAN_ATOMS = 1500
"""Atoms (over all replicas) evaluated at once by the graph."""
MOST_DISPLACED_ATOMS = 300
"""Atoms of a molecule up to which the derivatives of all features by all coordinates are kept (2 GB)."""

SecondDerivatives = tuple[Float64[Tensor, "n_atoms 3 n_atoms 3"], Float64[Tensor, "3 n_atoms 3"] | None]


def second_derivatives(potential: Potential, batch: AtomicBatch) -> SecondDerivatives:
    """Second derivatives of the energy of one structure, and derivatives of its dipole.

    Returns
    -------
    hessian : (n_atoms, 3, n_atoms, 3) float64, eV/Å², symmetric.
    dipole_derivatives : (3, n_atoms, 3) float64, e; None of a potential without charges.
    """
    reads = {name for term in potential.energy_terms for name in term.requires}
    known = all(isinstance(each, AIMNet2Network) and not each.config.charge_heads for each in potential.networks)
    if known and reads <= {"charges"} and not batch.periodic and 1 < batch.n_atoms <= MOST_DISPLACED_ATOMS:
        return _by_displacements(potential.in_double_precision(), batch)
    slopes = dipole_derivatives(potential, batch) if "charges" in potential.predicts else None
    return hessian(potential, batch), slopes


# -- all displacements at once -------------------------------------------------------------------


def _by_displacements(potential: Potential, batch: AtomicBatch) -> SecondDerivatives:
    """Both of one molecule, of AIMNet2 networks and terms that read charges at most."""
    n = batch.n_atoms
    terms = [term for term in potential.energy_terms if term.requires]
    members = [
        _of_member(network, terms, batch, potential.rotation_invariant)
        for network in cast("list[AIMNet2Network]", potential.networks)
    ]
    matrices, slopes = zip(*members)
    matrix = torch.stack(matrices).mean(dim=0)
    if shared := [term for term in potential.energy_terms if not term.requires]:
        matrix += _hessian_of_terms(shared, batch, None)
    return (0.5 * (matrix + matrix.T)).reshape(n, 3, n, 3), torch.stack(slopes).mean(dim=0).reshape(3, n, 3)


def _of_member(
    network: AIMNet2Network, terms: Sequence[EnergyTerm], batch: AtomicBatch, rotation_invariant: bool
) -> tuple[Float64[Tensor, "n_coordinates n_coordinates"], Float64[Tensor, "3 n_coordinates"]]:
    """Second derivatives of the energy of a network and the terms that read its charges, and first of its dipole."""
    member = DisplacedAIMNet2(network, batch)
    charges = member.charges.sum(dim=1)
    by_charges, added = torch.zeros_like(charges), None
    if terms:
        first = [cast(Tensor, term_derivatives(term, batch, {"charges": charges}).by_charges) for term in terms]
        by_charges, added = torch.stack(first).sum(dim=0), _hessian_of_terms(terms, batch, charges)
    found = member.derivatives(by_charges)
    slopes = _slopes_of_dipole(network, batch, member, found, rotation_invariant)
    if added is None:
        return found.hessian, slopes
    n, moves = 3 * batch.n_atoms, found.charges.sum(dim=2)
    mixed = added[:n, n:] @ moves.T
    return found.hessian + added[:n, :n] + mixed + mixed.T + moves @ added[n:, n:] @ moves.T, slopes


def _hessian_of_terms(
    terms: Sequence[EnergyTerm], batch: AtomicBatch, charges: Float64[Tensor, " n_atoms"] | None
) -> Float64[Tensor, "n_variables n_variables"]:
    """Second derivatives of the energy of terms by all coordinates and, if there are any, charges."""
    n_rows = batch.n_atoms * (3 if charges is None else 4)
    predictions = {} if charges is None else {"charges": charges}

    def gradient(replicas: AtomicBatch, others: dict[str, Tensor]) -> Tensor:
        energies = torch.stack([term(replicas, others) for term in terms]).sum()
        found = torch.autograd.grad(
            energies, [replicas.positions, *others.values()], create_graph=True, materialize_grads=True
        )
        return torch.cat([each.reshape(replicas.n_systems, -1) for each in found], dim=1)

    return _jacobian(batch, n_rows, gradient, predictions)


def _slopes_of_dipole(
    network: AIMNet2Network, batch: AtomicBatch, member: DisplacedAIMNet2, found: Displaced, rotation_invariant: bool
) -> Float64[Tensor, "3 n_coordinates"]:
    """Derivatives of the dipole by all coordinates: as they stand, by charges and by features."""
    with torch.enable_grad():
        leaves = [each.detach().requires_grad_() for each in (batch.positions, member.charges, member.features)]
        batch = replace(batch, positions=leaves[0])
        output = PotentialOutput([batch.positions[:, 0]], None, [network.predictions(batch, *leaves[1:])])
        (dipole,) = results_of_output(output, batch, set(), rotation_invariant)["dipole"]
    rows = []
    for component in dipole:
        by_positions, by_charges, by_features = torch.autograd.grad(
            component, leaves, retain_graph=True, materialize_grads=True
        )
        moved = found.charges.flatten(1) @ by_charges.flatten() + found.features.flatten(1) @ by_features.flatten()
        rows.append(by_positions.flatten() + moved)
    return torch.stack(rows)


# -- row by row of a graph -----------------------------------------------------------------------


def hessian(potential: Potential, batch: AtomicBatch) -> Float64[Tensor, "n_atoms 3 n_atoms 3"]:
    """Second derivatives of the energy of one structure, from a graph.

    Returns
    -------
    (n_atoms, 3, n_atoms, 3) float64, eV/Å², symmetric.
    """
    potential, n = potential.in_double_precision(), batch.n_atoms
    if batch.periodic:  # sums over a lattice are long: replicas of a crystal would repeat all their pairs
        rows = _jacobian(batch, 3 * n, lambda replicas, _: _own_gradient(potential, replicas))
        rows += _shared_hessian(potential, batch)
    else:
        rows = _jacobian(
            batch, 3 * n,
            lambda replicas, _: -evaluate(potential, replicas, ("forces",), create_graph=True)["forces"],
        )  # fmt: skip
    return (0.5 * (rows + rows.T)).reshape(n, 3, n, 3)


def _own_gradient(potential: Potential, batch: AtomicBatch) -> Tensor:
    """(n_atoms, 3) gradient of the energies that depend on predictions."""
    energies = torch.stack(potential.of_members(batch).member_energies).mean(dim=0)
    if not energies.requires_grad:
        return torch.zeros_like(batch.positions)
    (gradient,) = torch.autograd.grad(energies.sum(), batch.positions, create_graph=True)
    return gradient


def _shared_hessian(potential: Potential, batch: AtomicBatch) -> Tensor:
    """(3·n_atoms, 3·n_atoms) second derivatives of the terms that need no prediction, row by row from one graph."""
    result = batch.positions.new_zeros(3 * batch.n_atoms, batch.n_atoms, 3)
    positions = batch.positions.detach().requires_grad_()
    energies = potential.shared_energies(replace(batch, positions=positions))
    if energies is not None:
        (gradient,) = torch.autograd.grad(energies.sum(), positions, create_graph=True)
        components = progress_bar(
            iterable=gradient.flatten(),
            desc="second derivatives of pairs",
            unit="row",
            leave=False,
            delay=SECONDS_BEFORE,
        )
        for row, component in zip(result, components):
            (row[:],) = torch.autograd.grad(component, positions, retain_graph=True)
    return result.flatten(1)


def dipole_derivatives(potential: Potential, batch: AtomicBatch) -> Float64[Tensor, "3 n_atoms 3"]:
    """(3, n_atoms, 3) float64 derivatives of the dipole of one structure by positions, in e, from a graph."""
    potential = potential.in_double_precision()
    rows = _jacobian(
        batch, 3, lambda replicas, _: evaluate(potential, replicas, (), create_graph=True)["dipole"]
    )  # fmt: skip
    return rows.reshape(3, batch.n_atoms, 3)


def _jacobian(
    batch: AtomicBatch,
    n_rows: int,
    function: Callable[[AtomicBatch, dict[str, Tensor]], Tensor],
    predictions: Mapping[str, Float64[Tensor, " n_atoms"]] = MappingProxyType({}),
) -> Float64[Tensor, "n_rows n_variables"]:
    """Derivatives of a function's ``n_rows`` values by the positions of one structure, and by predictions for it.

    Row k is the vector–Jacobian product with the k-th unit vector. Several rows are computed at once: each on its own
    replica of the structure in one batch, where the products cannot mix.

    Parameters
    ----------
    function : of replicas and their predictions; its values are ``n_rows`` of each replica.
    predictions : (n_atoms,) each, which it reads besides.

    Returns
    -------
    (n_rows, 3·n_atoms and n_atoms for each prediction)
    """
    n = batch.n_atoms
    chunk = max(1, min(n_rows, HESSIAN_ATOMS // n))
    result = batch.positions.new_zeros(n_rows, n * (3 + len(predictions)))
    with progress_bar(total=n_rows, desc="second derivatives", unit="row", leave=False, delay=SECONDS_BEFORE) as bar:
        for start in range(0, n_rows, chunk):
            rows = torch.arange(start, min(start + chunk, n_rows), device=batch.positions.device)
            replicas = collate([batch] * len(rows))
            positions = replicas.positions.detach().requires_grad_()
            others = {name: value.detach().repeat(len(rows)).requires_grad_() for name, value in predictions.items()}
            with torch.enable_grad():
                values = function(replace(replicas, positions=positions), others).reshape(len(rows), n_rows)
                picked = values.gather(1, rows[:, None]).sum()
            if picked.requires_grad:
                found = torch.autograd.grad(picked, [positions, *others.values()], materialize_grads=True)
                result[rows] = torch.cat([each.reshape(len(rows), -1) for each in found], dim=1)
            bar.update(len(rows))
    return result
