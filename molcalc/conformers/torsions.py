"""Torsions of structures."""

from __future__ import annotations

import numpy as np


def torsion_angles(positions: np.ndarray, torsions: np.ndarray) -> np.ndarray:
    """Torsions along bonds i–j–k–l.

    Parameters
    ----------
    positions : (n_structures, n_atoms, 3) Å.
    torsions : (n_torsions, 4) atoms.

    Returns
    -------
    (n_structures, n_torsions) rad, from −π to π
    """
    first, second, third, fourth = (positions[:, torsions[:, k]] for k in range(4))
    axis, one, two = third - second, second - first, fourth - third
    before, behind = np.cross(one, axis), np.cross(axis, two)
    sines = np.linalg.norm(axis, axis=2) * (one * behind).sum(2)
    return np.asarray(np.arctan2(sines, (before * behind).sum(2)))
