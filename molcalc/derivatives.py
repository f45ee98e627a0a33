"""First derivatives of a potential: with :mod:`molcalc.second_derivatives` the only module that differentiates results.

Forces are −dE/dR and stress is (dE/dε)/V of everything in the energy. ε is a symmetric strain that acts on positions
and cell alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from molcalc.batch import AtomicBatch
from molcalc.electrostatics.sites import ChargeSites
from molcalc.electrostatics.whole_molecules import dipole_origins
from molcalc.energy_term import EnergyTerm, FirstDerivatives
from molcalc.errors import ConfigError
from molcalc.nn.segments import segment_sum
from molcalc.potential import Potential, PotentialOutput


def evaluate(
    potential: Potential, batch: AtomicBatch, properties: Iterable[str], create_graph: bool = False
) -> dict[str, Float[Tensor, " ..."]]:
    """Evaluate properties in one forward pass and one gradient.

    Parameters
    ----------
    batch : its positions are differentiated as they are when they require a gradient.
    properties : names from :data:`molcalc.properties.PROPERTIES`; energy, atomic energies and predictions
        are returned in any case, forces, stress and esp (at the points of the batch) when asked for. The stress of a
        structure that has none (see :meth:`~molcalc.batch.AtomicBatch.has_volume`) is NaN.
    create_graph : keep results differentiable (training, second derivatives).

    Returns
    -------
    dict of tensors by property name: energies, forces and stress in float64, charges in the dtype of the network.
    Ensembles return means, and standard deviations (n − 1) as ``energy_std``, ``forces_std``, ``charges_std``; their
    distributed charges are those of all members, each with its share; with dipoles on the atoms, charges are there too.
    Where there are distributed charges, the ``dipole`` is theirs if they turn with the molecule, and that of the atomic
    charges if they do not; ``dcm_dipole`` and ``charge_dipole`` are both. Dipoles of a periodic structure are sums over
    its molecules, see :func:`molcalc.electrostatics.whole_molecules.dipole_origins`, and NaN where there are none.
    """
    wanted = set(properties)
    leaves: dict[str, Tensor] = {}
    with torch.enable_grad() if wanted & {"forces", "stress"} or create_graph else torch.no_grad():
        if "forces" in wanted:
            if not batch.positions.requires_grad:
                batch = replace(batch, positions=batch.positions.detach().requires_grad_())
            leaves["positions"] = batch.positions
        if "stress" in wanted:
            leaves["strain"] = torch.zeros_like(batch.cell).requires_grad_()
            batch = _strained(batch, leaves["strain"])
        output = potential(batch)
        results = results_of_output(output, batch, wanted, potential.rotation_invariant)
        if leaves:
            results.update(results_of_gradients(*_gradients(output, leaves, create_graph), batch))
    return results if create_graph else {name: value.detach() for name, value in results.items()}


def results_of_output(
    output: PotentialOutput, batch: AtomicBatch, wanted: set[str], rotation_invariant: bool
) -> dict[str, Float[Tensor, " ..."]]:
    """Everything that :func:`evaluate` returns but derivatives, from the output of a potential."""
    results = _energies(output, batch)
    results.update(_mean_predictions(output))
    if "charges" in results:
        results.update(_electrostatics(results, batch, wanted, rotation_invariant))
    return results


def _strained(batch: AtomicBatch, strain: Tensor) -> AtomicBatch:
    """The batch deformed by 1 + ε, with ε made symmetric."""
    deformation = torch.eye(3, dtype=strain.dtype, device=strain.device) + 0.5 * (strain + strain.mT)
    per_atom = deformation.index_select(0, batch.system_idx)
    positions = torch.einsum("ni,nij->nj", batch.positions, per_atom)
    return replace(batch, positions=positions, cell=batch.cell @ deformation)


def _energies(output: PotentialOutput, batch: AtomicBatch) -> dict[str, Tensor]:
    atomic = _mean(output.member_energies)
    if output.shared_energies is not None:
        atomic = atomic + output.shared_energies
    results = {"atomic_energies": atomic, "energy": segment_sum(atomic, batch.system_idx, batch.n_systems)}
    if len(output.member_energies) > 1:
        members = [segment_sum(e, batch.system_idx, batch.n_systems) for e in output.member_energies]
        results["energy_std"] = torch.stack(members).std(dim=0)
    return results


def _mean_predictions(output: PotentialOutput) -> dict[str, Tensor]:
    members = output.predictions
    results = {name: _mean([prediction[name] for prediction in members]) for name in members[0]}
    if "charges" in results and len(members) > 1:
        results["charges_std"] = torch.stack([prediction["charges"] for prediction in members]).std(dim=0)
    if "dcm_charges" in results and "atomic_dipoles" not in results and len(members) > 1:
        results["dcm_charges"] = torch.cat([prediction["dcm_charges"] for prediction in members], dim=1) / len(members)
        results["dcm_positions"] = torch.cat([prediction["dcm_positions"] for prediction in members], dim=1)
    return results


def _electrostatics(
    results: dict[str, Tensor], batch: AtomicBatch, wanted: set[str], rotation_invariant: bool
) -> dict[str, Tensor]:
    """Dipoles, NaN where a structure has none, and the potential at the points of the batch."""
    origins = dipole_origins(batch)
    found = {"dipole": ChargeSites.of(batch, results, "charges").dipole(origins, batch.n_systems)}
    if "dcm_charges" in results:
        found["charge_dipole"] = found["dipole"]
        found["dcm_dipole"] = ChargeSites.of(batch, results).dipole(origins, batch.n_systems)
        if rotation_invariant:
            found["dipole"] = found["dcm_dipole"]
    if "esp" in wanted:
        if batch.esp_points is None or batch.esp_system_idx is None:
            raise ConfigError("esp was asked for, but the batch has no points: set esp_points and esp_system_idx")
        found["esp"] = ChargeSites.of(batch, results).potential(batch.esp_points, batch.esp_system_idx)
    return found


def _mean(tensors: list[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.stack(tensors).mean(dim=0)


Gradient = dict[str, Tensor]
"""Derivatives of an energy by "positions" (n_atoms, 3) in eV/Å and by "strain" (n_systems, 3, 3) in eV."""


def _gradients(
    output: PotentialOutput, leaves: dict[str, Tensor], create_graph: bool
) -> tuple[list[Gradient], Gradient | None]:
    """Gradients of each member's energy, and of the terms that all share; of one member with these terms in it."""
    names, tensors = list(leaves), list(leaves.values())
    parts = list(output.member_energies)
    if output.shared_energies is not None:
        if len(parts) == 1:
            parts[0] = parts[0] + output.shared_energies
        else:
            parts.append(output.shared_energies)
    gradients = [
        torch.autograd.grad(
            part.sum(),
            tensors,
            retain_graph=create_graph or k + 1 < len(parts),
            create_graph=create_graph,
            materialize_grads=True,
        )
        if part.requires_grad
        else [torch.zeros_like(tensor) for tensor in tensors]
        for k, part in enumerate(parts)
    ]
    found = [dict(zip(names, gradient)) for gradient in gradients]
    n_members = len(output.member_energies)
    return found[:n_members], found[n_members] if len(found) > n_members else None


def results_of_gradients(
    members: list[Gradient], shared: Gradient | None, batch: AtomicBatch
) -> dict[str, Float[Tensor, " ..."]]:
    """Forces and stress, and how far the forces of an ensemble spread.

    Parameters
    ----------
    members : gradients of each member's energy.
    shared : gradient of the terms that need no prediction.

    Returns
    -------
    "forces" (n_atoms, 3), "forces_std" of several members, "stress" (n_systems, 3, 3), as far as they are known
    """
    total = {name: _mean([member[name] for member in members]) for name in members[0]}
    if shared is not None:
        total = {name: value + shared[name] for name, value in total.items()}
    results = {}
    if "positions" in total:
        results["forces"] = -total["positions"]
        if len(members) > 1:
            results["forces_std"] = torch.stack([member["positions"] for member in members]).std(dim=0)
    if "strain" in total:
        defined = batch.has_volume()
        volume = torch.where(defined, torch.linalg.det(batch.cell.detach()).abs(), 1.0)[:, None, None]
        stress = total["strain"] / volume
        results["stress"] = torch.where(defined[:, None, None], stress, torch.nan)
    return results


def term_derivatives(
    term: EnergyTerm, batch: AtomicBatch, predictions: Mapping[str, Float[Tensor, "n_atoms ..."]]
) -> FirstDerivatives:
    """Energies of a term and the derivatives of their sum, by its own loops or by autograd.

    Parameters
    ----------
    predictions : those that the term requires, which are charges or nothing.

    Returns
    -------
    energies and derivatives; by the charges as far as it requires them
    """
    found = term.first_derivatives(batch, predictions)
    if found is not None:
        return found
    with torch.enable_grad():
        leaves = {name: value.detach().requires_grad_() for name, value in predictions.items() if name in term.requires}
        positions, cell = batch.positions.detach().requires_grad_(), batch.cell.detach().requires_grad_()
        energies = term(replace(batch, positions=positions, cell=cell), leaves)
        by_positions, by_cell, *by_charges = torch.autograd.grad(
            energies.sum(), [positions, cell, *leaves.values()], materialize_grads=True
        )
    return FirstDerivatives(energies.detach(), by_positions, by_cell, *by_charges)
