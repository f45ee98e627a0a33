"""All derivatives of a potential: the only module that differentiates.

Forces are −dE/dR and stress is (dE/dε)/V of everything in the energy. ε is a symmetric strain that acts on positions
and cell alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from molcalc.batch import AtomicBatch, collate
from molcalc.electrostatics.sites import ChargeSites
from molcalc.electrostatics.whole_molecules import dipole_origins
from molcalc.errors import ConfigError
from molcalc.nn.segments import segment_sum
from molcalc.potential import Potential, PotentialOutput

HESSIAN_ATOMS = 1500
"""Atoms (over all replicas) evaluated at once for second derivatives."""


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
    distributed charges are those of all members, each with its share.
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
        results = _energies(output, batch)
        results.update(_mean_predictions(output))
        if "charges" in results:
            results.update(_electrostatics(results, batch, wanted, potential.rotation_invariant))
        if leaves:
            results.update(_gradients(output, batch, leaves, create_graph))
    return results if create_graph else {name: value.detach() for name, value in results.items()}


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
    if "dcm_charges" in results and len(members) > 1:
        results["dcm_charges"] = torch.cat([prediction["dcm_charges"] for prediction in members], dim=1) / len(members)
        results["dcm_positions"] = torch.cat([prediction["dcm_positions"] for prediction in members], dim=1)
    return results


def _electrostatics(
    results: dict[str, Tensor], batch: AtomicBatch, wanted: set[str], rotation_invariant: bool
) -> dict[str, Tensor]:
    """Dipoles, NaN where a structure has none, and the potential at the points of the batch."""
    origins = dipole_origins(batch)
    found = {"dipole": ChargeSites.of(batch, results, "charges").dipole(origins, batch.n_systems)}
    sites = ChargeSites.of(batch, results)
    if "dcm_charges" in results:
        found["charge_dipole"], found["dcm_dipole"] = found["dipole"], sites.dipole(origins, batch.n_systems)
        if rotation_invariant:
            found["dipole"] = found["dcm_dipole"]
    if "esp" in wanted:
        if batch.esp_points is None or batch.esp_system_idx is None:
            raise ConfigError("esp was asked for, but the batch has no points: set esp_points and esp_system_idx")
        found["esp"] = sites.potential(batch.esp_points, batch.esp_system_idx)
    return found


def _mean(tensors: list[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.stack(tensors).mean(dim=0)


def _gradients(
    output: PotentialOutput, batch: AtomicBatch, leaves: dict[str, Tensor], create_graph: bool
) -> dict[str, Tensor]:
    """Forces and stress: gradients of each member's energy, and of the shared terms once."""
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
    members = gradients[: len(output.member_energies)]
    total = {name: _mean([member[k] for member in members]) for k, name in enumerate(names)}
    for shared in gradients[len(members) :]:
        total = {name: total[name] + shared[k] for k, name in enumerate(names)}
    results = {}
    if "positions" in total:
        results["forces"] = -total["positions"]
        if len(members) > 1:
            results["forces_std"] = torch.stack([member[names.index("positions")] for member in members]).std(dim=0)
    if "strain" in total:
        defined = batch.has_volume()
        volume = torch.where(defined, torch.linalg.det(batch.cell.detach()).abs(), 1.0)[:, None, None]
        stress = total["strain"] / volume
        results["stress"] = torch.where(defined[:, None, None], stress, torch.nan)
    return results


def hessian(potential: Potential, batch: AtomicBatch) -> Float64[Tensor, "n_atoms 3 n_atoms 3"]:
    """Second derivatives of the energy of one structure.

    Returns
    -------
    (n_atoms, 3, n_atoms, 3) float64, eV/Å², symmetric.
    """
    if batch.periodic:  # sums over a lattice are long: replicas of a crystal would repeat all their pairs
        rows = _jacobian(batch, 3 * batch.n_atoms, lambda replicas: _own_gradient(potential, replicas))
        rows += _shared_hessian(potential, batch)
    else:
        rows = _jacobian(
            batch, 3 * batch.n_atoms,
            lambda replicas: -evaluate(potential, replicas, ("forces",), create_graph=True)["forces"],
        )  # fmt: skip
    n = batch.n_atoms
    matrix = rows.reshape(3 * n, 3 * n)
    return (0.5 * (matrix + matrix.T)).reshape(n, 3, n, 3)


def _own_gradient(potential: Potential, batch: AtomicBatch) -> Tensor:
    """(n_atoms, 3) gradient of the energies that depend on predictions."""
    output = potential.of_members(batch)
    return -_gradients(output, batch, {"positions": batch.positions}, create_graph=True)["forces"]


def _shared_hessian(potential: Potential, batch: AtomicBatch) -> Tensor:
    """(3·n_atoms, n_atoms, 3) second derivatives of the terms that need no prediction, row by row from one graph."""
    result = batch.positions.new_zeros(3 * batch.n_atoms, batch.n_atoms, 3)
    positions = batch.positions.detach().requires_grad_()
    energies = potential.shared_energies(replace(batch, positions=positions))
    if energies is None:
        return result
    (gradient,) = torch.autograd.grad(energies.sum(), positions, create_graph=True)
    for row, component in zip(result, gradient.flatten()):
        (row[:],) = torch.autograd.grad(component, positions, retain_graph=True)
    return result


def dipole_derivatives(potential: Potential, batch: AtomicBatch) -> Float64[Tensor, "3 n_atoms 3"]:
    """(3, n_atoms, 3) float64 derivatives of the dipole of one structure by positions, in e."""
    return _jacobian(
        batch, 3, lambda replicas: evaluate(potential, replicas, (), create_graph=True)["dipole"]
    )  # fmt: skip


def charge_derivatives(potential: Potential, batch: AtomicBatch) -> Float64[Tensor, "n_atoms n_atoms 3"]:
    """(n_atoms, n_atoms, 3) float64 derivatives of the charges of one structure by positions, in e/Å."""
    return _jacobian(
        batch, batch.n_atoms, lambda replicas: evaluate(potential, replicas, (), create_graph=True)["charges"]
    )  # fmt: skip


def _jacobian(batch: AtomicBatch, n_rows: int, function: Callable[[AtomicBatch], Tensor]) -> Tensor:
    """Derivative of a function's ``n_rows`` values by the positions of one structure.

    Row k is the vector–Jacobian product with the k-th unit vector. Several rows are computed at once: each on its own
    replica of the structure in one batch, where the products cannot mix.

    Returns
    -------
    (n_rows, n_atoms, 3) float64
    """
    n = batch.n_atoms
    chunk = max(1, min(n_rows, HESSIAN_ATOMS // n))
    result = batch.positions.new_zeros(n_rows, n, 3)
    for start in range(0, n_rows, chunk):
        rows = torch.arange(start, min(start + chunk, n_rows), device=batch.positions.device)
        replicas = collate([batch] * len(rows))
        positions = replicas.positions.detach().requires_grad_()
        values = function(replace(replicas, positions=positions)).reshape(len(rows), n_rows)
        picked = values.gather(1, rows[:, None]).sum()
        if picked.requires_grad:
            (gradient,) = torch.autograd.grad(picked, positions)
            result[rows] = gradient.reshape(len(rows), n, 3)
    return result
