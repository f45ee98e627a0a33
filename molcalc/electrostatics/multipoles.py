"""Multipole moments of point charges, and the potential and field they make.

Charges distributed around the atoms are point charges too: flatten ``dcm_positions`` and ``dcm_charges`` and repeat
each atom's ``system_idx``.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from molcalc.electrostatics.point_potential import pairs_in_chunks, point_potential
from molcalc.nn.segments import segment_sum
from molcalc.units import COULOMB


def center_of_mass(
    positions: Float[Tensor, "n_atoms 3"],
    masses: Float[Tensor, " n_atoms"],
    system_idx: Int[Tensor, " n_atoms"],
    n_systems: int,
) -> Float[Tensor, "{n_systems} 3"]:
    """(n_systems, 3) centers in Å of atoms at (n_atoms, 3) Å with (n_atoms,) masses."""
    weighted = segment_sum(masses[:, None] * positions, system_idx, n_systems)
    return weighted / segment_sum(masses, system_idx, n_systems)[:, None]


def dipole(
    positions: Float[Tensor, "n_atoms 3"],
    charges: Float[Tensor, " n_atoms"],
    masses: Float[Tensor, " n_atoms"],
    system_idx: Int[Tensor, " n_atoms"],
    n_systems: int,
) -> Float[Tensor, "{n_systems} 3"]:
    """Dipole moment about the center of mass.

    Parameters
    ----------
    positions : (n_atoms, 3) Å.
    charges : (n_atoms,) e.
    masses : (n_atoms,) u.
    system_idx : (n_atoms,) int64.

    Returns
    -------
    (n_systems, 3) e·Å
    """
    center = center_of_mass(positions, masses, system_idx, n_systems)
    return moment_about(center, positions, charges, system_idx)


def moment_about(
    center: Float[Tensor, "n_systems 3"],
    positions: Float[Tensor, "n_charges 3"],
    charges: Float[Tensor, " n_charges"],
    system_idx: Int[Tensor, " n_charges"],
) -> Float[Tensor, "n_systems 3"]:
    """Dipole moment about any point per system; for charges that do not sit on atoms.

    Parameters
    ----------
    center : (n_systems, 3) Å.
    positions : (n_charges, 3) Å.
    charges : (n_charges,) e.

    Returns
    -------
    (n_systems, 3) e·Å
    """
    arms = positions - center.index_select(0, system_idx)
    return segment_sum(charges[:, None] * arms, system_idx, len(center))


def quadrupole(
    center: Float[Tensor, "n_systems 3"],
    positions: Float[Tensor, "n_charges 3"],
    charges: Float[Tensor, " n_charges"],
    system_idx: Int[Tensor, " n_charges"],
) -> Float[Tensor, "n_systems 6"]:
    r"""Second moment about a point per system without its trace, as AIMNet2 files hold it.

    .. math:: Q_{ab} = \sum_i q_i \left(r_a r_b - \tfrac{1}{3} r^2 δ_{ab}\right)

    Parameters
    ----------
    center : (n_systems, 3) Å, for example :func:`center_of_mass`.
    positions : (n_charges, 3) Å.
    charges : (n_charges,) e.

    Returns
    -------
    (n_systems, 6) e·Å², in the order xx, yy, zz, xy, yz, zx
    """
    arms = positions - center.index_select(0, system_idx)
    squares = arms * arms
    squares = squares - squares.mean(dim=1, keepdim=True)
    products = arms * arms.roll(-1, dims=1)
    return segment_sum(charges[:, None] * torch.cat([squares, products], dim=1), system_idx, len(center))


def buckingham_quadrupole(
    center: Float[Tensor, "n_systems 3"],
    positions: Float[Tensor, "n_charges 3"],
    charges: Float[Tensor, " n_charges"],
    system_idx: Int[Tensor, " n_charges"],
) -> Float[Tensor, "n_systems 3 3"]:
    r"""Traceless quadrupole moment in the convention of spectroscopy.

    .. math:: Θ_{ab} = \tfrac{1}{2} \sum_i q_i \left(3 r_a r_b - r^2 δ_{ab}\right)

    Parameters are those of :func:`quadrupole`.

    Returns
    -------
    (n_systems, 3, 3) e·Å²

    References
    ----------
    Buckingham, Q. Rev. Chem. Soc. 13, 183 (1959).
    """
    xx, yy, zz, xy, yz, zx = (1.5 * quadrupole(center, positions, charges, system_idx)).unbind(dim=1)
    rows = [torch.stack(row, dim=1) for row in ((xx, xy, zx), (xy, yy, yz), (zx, yz, zz))]
    return torch.stack(rows, dim=1)


def electrostatic_potential(
    points: Float[Tensor, "n_points 3"],
    positions: Float[Tensor, "n_charges 3"],
    charges: Float[Tensor, " n_charges"],
    point_system_idx: Int[Tensor, " n_points"],
    system_idx: Int[Tensor, " n_charges"],
) -> Float64[Tensor, " n_points"]:
    r"""Potential of each system's charges at its points; infinite at a charge.

    .. math:: V(g) = k_e \sum_i \frac{q_i}{|g - r_i|}

    Parameters
    ----------
    points : (n_points, 3) Å.
    positions : (n_charges, 3) Å.
    charges : (n_charges,) e.
    point_system_idx : (n_points,) int64, any order.
    system_idx : (n_charges,) int64, sorted.

    Returns
    -------
    (n_points,) V, float64
    """
    points, positions, charges = (tensor.to(torch.float64) for tensor in (points, positions, charges))
    return COULOMB * point_potential(points, positions, charges, point_system_idx, system_idx)


def electric_field(
    points: Float[Tensor, "n_points 3"],
    positions: Float[Tensor, "n_charges 3"],
    charges: Float[Tensor, " n_charges"],
    point_system_idx: Int[Tensor, " n_points"],
    system_idx: Int[Tensor, " n_charges"],
) -> Float64[Tensor, "n_points 3"]:
    r"""Field of each system's charges at its points, −∇V.

    .. math:: E(g) = k_e \sum_i q_i \frac{g - r_i}{|g - r_i|^3}

    Parameters are those of :func:`electrostatic_potential`.

    Returns
    -------
    (n_points, 3) V/Å, float64
    """
    points, positions, charges = (tensor.to(torch.float64) for tensor in (points, positions, charges))
    parts = [points.new_empty(0, 3)]
    for chunk, point, site in pairs_in_chunks(point_system_idx, system_idx):
        arms = points[chunk].index_select(0, point) - positions.index_select(0, site)
        scale = charges.index_select(0, site) / arms.norm(dim=1) ** 3
        parts.append(segment_sum(scale[:, None] * arms, point, len(points[chunk])))
    return COULOMB * torch.cat(parts)
