"""Terms of the comparison of predictions with labels, for training, validation and evaluation.

Points of an electrostatic potential do not count where they are inside molecules or their potential is too large.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from molcalc.batch import AtomicBatch
from molcalc.errors import DatasetError
from molcalc.io.schema import Choice, Positive, Range, check_fields
from molcalc.train.data.dataset import Dataset
from molcalc.units import VDW_RADII

log = logging.getLogger(__name__)

DIPOLE_SOURCES = ("auto", "distributed", "charges")
TOLERANCE = 0.99
"""Points drawn on a surface at exactly the given factor stay in, whatever table of radii drew them."""
CHECKED_SYSTEMS, CHECKED_AT_ONCE = 200, 20
LEAST_DISTANCE = 0.5
"""Å from a nucleus, where distributed charges may be."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Points of the electrostatic potential that count, and charges that make the dipole.

    Attributes
    ----------
    esp_radius_factor : points closer to an atom than this many van der Waals radii are left out; 0 keeps all.
    esp_max : V; points with a larger absolute potential are left out. None keeps all.
    dipole_source : which charges' dipole is compared with labels: "distributed", "charges", or "auto" as the calculator
        returns it.
    """

    esp_radius_factor: Annotated[float, Range(0, 100)] = 1.4
    esp_max: Positive | None = None
    dipole_source: Annotated[str, Choice(DIPOLE_SOURCES)] = "auto"

    def __post_init__(self) -> None:
        check_fields(self)


USUAL = Comparison()
"""The comparison unless a user says otherwise."""


def check_points(data: Dataset, comparison: Comparison) -> None:
    """Refuse points that cannot be learned from, before a run begins.

    Parameters
    ----------
    data : up to 200 of its systems are looked at.
    comparison : says which points count.

    Raises
    ------
    DatasetError
        When every point is left out, or one that counts is on an atom.
    """
    systems = np.flatnonzero(data.has("esp"))
    if not len(systems):
        return
    chosen = systems[np.unique(np.linspace(0, len(systems) - 1, CHECKED_SYSTEMS).astype(np.int64))]
    given = kept = 0
    for part in np.array_split(chosen, -(-len(chosen) // CHECKED_AT_ONCE)):
        batch = data.batch(part, cutoff=0.0, labels=("esp",))
        counts = torch.isfinite(without_masked_points(batch, comparison).labels["esp"])
        given, kept = given + int(torch.isfinite(batch.labels["esp"]).sum()), kept + int(counts.sum())
        assert batch.esp_points is not None
        assert batch.esp_system_idx is not None
        spheres = torch.full_like(batch.positions[:, 0], LEAST_DISTANCE)
        close = counts & ~_outside(batch, batch.esp_points, batch.esp_system_idx, spheres)
        if close.any():
            system = int(part[int(batch.esp_system_idx[close][0])])
            raise DatasetError(
                f"{data.row_name(system)} has {int(close.sum())} ESP points less than {LEAST_DISTANCE} Å from an atom, "
                "where point charges are: leave them out with esp_radius_factor=1.4 (now "
                f"{comparison.esp_radius_factor:g})"
            )
    if not kept:
        limits = f"esp_radius_factor={comparison.esp_radius_factor:g}"
        limits += "" if comparison.esp_max is None else f" and esp_max={comparison.esp_max:g} V"
        raise DatasetError(
            f"all {given} ESP points are left out by {limits}: lower the factor, raise the limit, or leave the ESP out "
            "with loss.weights.esp=0"
        )
    if kept < given / 2:
        log.warning("%d of %d ESP points count; the others are masked", kept, given)


def without_masked_points(batch: AtomicBatch, comparison: Comparison) -> AtomicBatch:
    """The batch with potentials inside molecules, and those that are too large, marked as missing.

    Parameters
    ----------
    comparison : says how close and how large is too much.

    Returns
    -------
    the same batch with NaN in ``labels["esp"]`` at points that do not count.
    """
    values = batch.labels["esp"]
    if batch.esp_points is None or batch.esp_system_idx is None or not len(values):
        return batch
    keep = torch.ones(len(values), dtype=torch.bool, device=values.device)
    if comparison.esp_radius_factor > 0:
        radii = TOLERANCE * comparison.esp_radius_factor * torch.as_tensor(VDW_RADII, device=batch.numbers.device)
        keep &= _outside(batch, batch.esp_points, batch.esp_system_idx, radii.index_select(0, batch.numbers))
    if comparison.esp_max is not None:
        keep &= values.abs() <= comparison.esp_max
    return replace(batch, labels={**batch.labels, "esp": torch.where(keep, values, torch.nan)})


def _outside(batch: AtomicBatch, points: Tensor, system_idx: Tensor, radii: Tensor) -> Tensor:
    """(n_points,) bool: outside of the sphere of every atom of their system; (n_atoms,) radii in Å."""
    counts = batch.atoms_per_system()
    first = torch.cumsum(counts, 0) - counts
    outside = torch.ones(len(points), dtype=torch.bool, device=points.device)
    for k in range(int(counts.max())):  # the k-th atom of every system at once
        has = counts.index_select(0, system_idx) > k
        atom = torch.where(has, first.index_select(0, system_idx) + k, 0)
        distance2 = (points - batch.positions.index_select(0, atom)).square().sum(dim=1)
        outside &= ~has | (distance2 >= radii.index_select(0, atom).square())
    return outside
