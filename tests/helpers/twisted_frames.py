"""Structures for generators of conformers: H2O2 of either hand, and molecules that rattle."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.build import molecule


def twisted(n: int, seed: int = 0, torsion: float | None = None) -> list[Atoms]:
    """H2O2 with torsions of ±115 ± 15°, or one that is given, in degrees, and with bonds and angles that vibrate."""
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(n):
        phi = np.radians(rng.choice([-1, 1]) * rng.normal(115, 15) if torsion is None else torsion)
        oo, (one, two), (first, second) = rng.normal(1.45, 0.03), rng.normal(0.97, 0.03, 2), rng.normal(102, 4, 2)
        a, b = np.radians(first), np.radians(second)
        hydrogens = [
            [one * np.sin(a), 0.0, one * np.cos(a)],
            [two * np.sin(b) * np.cos(phi), two * np.sin(b) * np.sin(phi), oo - two * np.cos(b)],
        ]
        frames.append(Atoms("O2H2", [[0, 0, 0], [0, 0, oo], *hydrogens]))
    return frames


def rattled(name: str, n: int, seed: int = 0) -> list[Atoms]:
    """A molecule of ASE's collection with small random displacements."""
    rng = np.random.default_rng(seed)
    frames = [molecule(name) for _ in range(n)]
    for atoms in frames:
        atoms.positions += rng.normal(0.0, 0.03, atoms.positions.shape)
    return frames
