"""Potential and field of the charges of a molecule at points that a user gives."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Float64, Int
from torch import Tensor

from molcalc.electrostatics.sites import ChargeSites
from molcalc.errors import InputError


def check_points(points: np.ndarray, atoms: Atoms) -> np.ndarray:
    """(n_points, 3) float64 points in Å; raises InputError for another shape and for a periodic structure."""
    where = np.asarray(points, dtype=np.float64)
    if where.ndim != 2 or where.shape[1] != 3 or len(where) == 0:
        raise InputError(f"points have shape {where.shape}; expected (n_points, 3) with n_points ≥ 1")
    if atoms.pbc.any():
        raise InputError("the potential of point charges needs a molecule; switch off pbc")
    return where


def atomic_sites(atoms: Atoms, charges: np.ndarray) -> ChargeSites:
    """Charges (n_atoms,) in e on the atoms."""
    return ChargeSites(
        positions=torch.as_tensor(np.array(atoms.positions)), charges=torch.as_tensor(charges), system_idx=_one(atoms)
    )


def distributed_sites(atoms: Atoms, extras: dict[str, np.ndarray]) -> ChargeSites:
    """Distributed charges, and quadrupoles if there are any, from the extras of a calculator."""
    charges, moments = extras["dcm_charges"], extras.get("atomic_quadrupoles")
    return ChargeSites(
        positions=torch.as_tensor(extras["dcm_positions"].reshape(-1, 3)),
        charges=torch.as_tensor(charges.reshape(-1)),
        system_idx=torch.zeros(charges.size, dtype=torch.int64),
        centers=None if moments is None else torch.as_tensor(np.array(atoms.positions)),
        quadrupoles=None if moments is None else torch.as_tensor(moments),
        center_idx=None if moments is None else _one(atoms),
    )


def values_at(
    points: Float64[np.ndarray, "n_points 3"],
    quantity: Callable[[Float64[Tensor, "n_points 3"], Int[Tensor, " n_points"]], Float64[Tensor, "n_points ..."]],
) -> Float64[np.ndarray, "n_points ..."]:
    """Potential or field at checked points; raises InputError where it is not finite."""
    values = quantity(torch.as_tensor(points), torch.zeros(len(points), dtype=torch.int64)).numpy()
    finite = np.isfinite(values).reshape(len(values), -1).all(axis=1)
    if not finite.all():
        point = int(np.flatnonzero(~finite)[0])
        raise InputError(f"point {point} at {points[point].tolist()} Å is on a charge or not finite")
    return values


def _one(atoms: Atoms) -> Tensor:
    return torch.zeros(len(atoms), dtype=torch.int64)
