"""Random rotations of whole systems, for models that do not turn with the molecule."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from molcalc.batch import AtomicBatch
from molcalc.properties import LABELS, Property, from_voigt, to_voigt


def random_rotations(n: int, rng: np.random.Generator) -> Float64[Tensor, "{n} 3 3"]:
    """(n, 3, 3) float64 rotation matrices, uniform over all rotations (random unit quaternions)."""
    q = rng.normal(size=(n, 4))
    w, x, y, z = (q / np.linalg.norm(q, axis=1, keepdims=True)).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.as_tensor(np.array(rows).transpose(2, 0, 1).copy())


def rotated(batch: AtomicBatch, rng: np.random.Generator) -> AtomicBatch:
    """Turn every system about its first atom, with its labels and its ESP points.

    Vectors (forces, dipoles) and tensors (quadrupoles, stress) turn along; energies, charges and potentials stay.

    Returns
    -------
    new batch; the given one stays as it is
    """
    rotations = random_rotations(batch.n_systems, rng).to(batch.positions.device)
    first = torch.cumsum(batch.atoms_per_system(), 0) - batch.atoms_per_system()
    origin = batch.positions.index_select(0, first)

    def turn(vectors: Tensor, system_idx: Tensor) -> Tensor:
        return torch.einsum("nij,nj->ni", rotations.index_select(0, system_idx), vectors)

    def about_origin(positions: Tensor, system_idx: Tensor) -> Tensor:
        center = origin.index_select(0, system_idx)
        return center + turn(positions - center, system_idx)

    each = torch.arange(batch.n_systems, device=rotations.device)
    rows = {"system": each, "atom": batch.system_idx}

    def turned(label: Property, values: Tensor) -> Tensor:
        if label.rank == 0:
            return values
        if label.rank == 1:
            return turn(values, rows[label.kind])
        tensors = values if label.components is None else from_voigt(values, label.components)
        matrices = rotations.index_select(0, rows[label.kind])
        tensors = matrices @ tensors @ matrices.mT
        return tensors if label.components is None else to_voigt(tensors, label.components)

    points = batch.esp_points
    if points is not None and batch.esp_system_idx is not None:
        points = about_origin(points, batch.esp_system_idx)
    return replace(
        batch,
        positions=about_origin(batch.positions, batch.system_idx),
        cell=torch.einsum("nij,nkj->nki", rotations, batch.cell),
        esp_points=points,
        labels={
            name: turned(LABELS[name], values) if name in LABELS else values for name, values in batch.labels.items()
        },
    )
