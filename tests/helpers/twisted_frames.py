"""Structures for generators of conformers: H2O2 of either hand, and molecules that rattle."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.build import molecule

from tests.helpers.peroxides import peroxides


def twisted(n: int, seed: int = 0, torsion: float | None = None) -> list[Atoms]:
    """H2O2 as in the example, or with a torsion that is given, in degrees."""
    frames = peroxides(n, seed)
    for atoms in frames if torsion is not None else []:
        atoms.set_dihedral(2, 0, 1, 3, torsion)
    return frames


def rattled(name: str, n: int, seed: int = 0) -> list[Atoms]:
    """A molecule of ASE's collection with small random displacements."""
    rng = np.random.default_rng(seed)
    frames = [molecule(name) for _ in range(n)]
    for atoms in frames:
        atoms.positions += rng.normal(0.0, 0.03, atoms.positions.shape)
    return frames
