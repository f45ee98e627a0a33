"""Which points of an electrostatic potential count."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from molcalc.batch import AtomicBatch
from molcalc.units import VDW_RADII

TOLERANCE = 0.99
"""Points drawn on a surface at exactly the given factor stay in, whatever table of radii drew them."""


def without_masked_points(batch: AtomicBatch, radius_factor: float, largest: float | None) -> AtomicBatch:
    """Mark potentials inside molecules, or too large, as missing.

    Parameters
    ----------
    radius_factor : points closer to an atom than this many van der Waals radii are left out; 0 keeps all.
    largest : V; points with a larger absolute potential are left out.
    """
    values = batch.labels["esp"]
    if batch.esp_points is None or batch.esp_system_idx is None or not len(values):
        return batch
    keep = torch.ones(len(values), dtype=torch.bool, device=values.device)
    if radius_factor > 0:
        keep &= _outside(batch, batch.esp_points, batch.esp_system_idx, TOLERANCE * radius_factor)
    if largest is not None:
        keep &= values.abs() <= largest
    return replace(batch, labels={**batch.labels, "esp": torch.where(keep, values, torch.nan)})


def _outside(batch: AtomicBatch, points: Tensor, system_idx: Tensor, factor: float) -> Tensor:
    """(n_points,) bool: farther from every atom than ``factor`` van der Waals radii."""
    counts = batch.atoms_per_system()
    first = torch.cumsum(counts, 0) - counts
    radii = factor * torch.as_tensor(VDW_RADII, device=points.device).index_select(0, batch.numbers)
    outside = torch.ones(len(points), dtype=torch.bool, device=points.device)
    for k in range(int(counts.max())):  # the k-th atom of every system at once
        has = counts.index_select(0, system_idx) > k
        atom = torch.where(has, first.index_select(0, system_idx) + k, 0)
        distance2 = (points - batch.positions.index_select(0, atom)).square().sum(dim=1)
        outside &= ~has | (distance2 >= radii.index_select(0, atom).square())
    return outside
