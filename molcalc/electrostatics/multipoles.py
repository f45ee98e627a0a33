"""Multipole moments of point charges."""

from __future__ import annotations

from torch import Tensor

from molcalc.nn.segments import segment_sum


def dipole(positions: Tensor, charges: Tensor, masses: Tensor, system_idx: Tensor, n_systems: int) -> Tensor:
    """Dipole moment about the center of mass.

    Parameters
    ----------
    positions : (n_atoms, 3) Å.
    charges : (n_atoms,) e.
    masses : (n_atoms,) u.

    Returns
    -------
    (n_systems, 3) e·Å
    """
    weighted = segment_sum(masses[:, None] * positions, system_idx, n_systems)
    center = weighted / segment_sum(masses, system_idx, n_systems)[:, None]
    return segment_sum(charges[:, None] * (positions - center.index_select(0, system_idx)), system_idx, n_systems)
