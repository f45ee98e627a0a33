"""Potential and field of the charges of a molecule at points that a user gives."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Float64, Int
from torch import Tensor

from molcalc.electrostatics.point_potential import point_potential
from molcalc.electrostatics.sites import ATOMIC_MOMENTS, ChargeSites
from molcalc.errors import InputError, short
from molcalc.prediction.results import Prediction

ON_NUCLEUS = 1e-4
"""Å."""


def potential_at(
    points: np.ndarray, atoms: Atoms, sites_of: Callable[[], ChargeSites]
) -> Float64[np.ndarray, " n_points"]:
    """Electrostatic potential of the charges of a molecule, (n_points,) float64 in V.

    Parameters
    ----------
    points : (n_points, 3) Å.
    sites_of : finds the charges; called when the points are found to be good.

    Returns
    -------
    (n_points,) float64, V

    Raises
    ------
    InputError
        For points of the wrong shape, on a charge or on a nucleus; for a periodic structure.
    """
    where = _checked(points, atoms)
    sites = sites_of()
    return _values_at(where, sites, sites.potential)


def field_at(
    points: np.ndarray, atoms: Atoms, sites_of: Callable[[], ChargeSites]
) -> Float64[np.ndarray, "n_points 3"]:
    """Electric field −∇V of the charges of a molecule, (n_points, 3) float64 in V/Å; see :func:`potential_at`."""
    where = _checked(points, atoms)
    sites = sites_of()
    return _values_at(where, sites, sites.field)


def charge_sites(atoms: Atoms, prediction: Prediction, source: str) -> ChargeSites:
    """Charges of one structure.

    Parameters
    ----------
    source : "charges" on the atoms; or "distributed" charges, with dipoles and quadrupoles on the atoms if there are
        any.

    Returns
    -------
    charges in e at positions in Å, float64
    """
    on_atoms = torch.zeros(len(atoms), dtype=torch.int64)
    positions = torch.as_tensor(np.array(atoms.positions))
    if source == "charges":
        charges = torch.as_tensor(prediction.results["charges"])
        return ChargeSites(positions=positions, charges=charges, system_idx=on_atoms)
    extras = prediction.extras
    dipoles, quadrupoles = (
        torch.as_tensor(extras[name]) if name in extras else None for name in ATOMIC_MOMENTS
    )  # fmt: skip
    return ChargeSites(
        positions=torch.as_tensor(extras["dcm_positions"].reshape(-1, 3)),
        charges=torch.as_tensor(extras["dcm_charges"].reshape(-1)),
        system_idx=torch.zeros(extras["dcm_charges"].size, dtype=torch.int64),
        centers=positions,
        center_idx=on_atoms,
        dipoles=dipoles,
        quadrupoles=quadrupoles,
    )


def checked_points(points: np.ndarray) -> Float64[np.ndarray, "n_points 3"]:
    """Points in Å, (n_points, 3) float64.

    Returns
    -------
    (n_points, 3) float64, Å

    Raises
    ------
    InputError
        For anything of another shape, or that are no numbers.
    """
    try:
        found = np.asarray(points)
    except ValueError as error:
        raise InputError(f"points={short(points)} are no numbers; expected (n_points, 3) in Å") from error
    if found.dtype.kind not in "iuf":
        raise InputError(f"points={short(points)} are no real numbers, but {found.dtype}; expected (n_points, 3) in Å")
    where = found.astype(np.float64, copy=False)
    if where.ndim != 2 or where.shape[1] != 3 or len(where) == 0:
        raise InputError(f"points have shape {where.shape}; expected (n_points, 3) with n_points ≥ 1")
    return where


def _checked(points: np.ndarray, atoms: Atoms) -> Float64[np.ndarray, "n_points 3"]:
    """Points at which the charges of a molecule have a potential."""
    where = checked_points(points)
    if atoms.pbc.any():
        raise InputError("the potential of point charges needs a molecule; switch off pbc")
    return where


def _values_at(
    points: Float64[np.ndarray, "n_points 3"],
    sites: ChargeSites,
    quantity: Callable[[Float64[Tensor, "n_points 3"], Int[Tensor, " n_points"]], Float64[Tensor, "n_points ..."]],
) -> Float64[np.ndarray, "n_points ..."]:
    """Potential or field at checked points; raises InputError where it is not finite, and on nuclei."""
    where, of_points = torch.as_tensor(points), torch.zeros(len(points), dtype=torch.int64)
    values = quantity(where, of_points).numpy()
    good = np.isfinite(values).reshape(len(values), -1).all(axis=1)
    if (
        sites.centers is not None and sites.center_idx is not None
    ):  # charges around nuclei have a finite potential there
        ones = sites.centers.new_ones(len(sites.centers))
        inverse = point_potential(where, sites.centers, ones, of_points, sites.center_idx)
        good &= inverse.numpy() < 1.0 / ON_NUCLEUS
    if not good.all():
        point = int(np.flatnonzero(~good)[0])
        raise InputError(
            f"point {point} at {points[point].tolist()} Å is on a charge or a nucleus, or not finite: move it"
        )
    return values
