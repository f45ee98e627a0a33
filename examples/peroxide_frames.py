"""Frames of H2O2 that no calculator has seen: torsions ±115 ± 15°, stretched and bent a little, turned at random.

Both signs come equally often. Frames can only be told from their mirror images by the torsion: a test of generators of
conformers, which learn distances easily and handedness not.
"""

import argparse
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.io import write
from scipy.spatial.transform import Rotation

HERE = Path(__file__).parent


def peroxides(n: int, seed: int = 0, positive: float = 0.5) -> list[Atoms]:
    """Frames whose torsion is positive with a probability."""
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(n):
        atoms = molecule("H2O2")
        torsion = rng.normal(115.0, 15.0) * (1.0 if rng.random() < positive else -1.0)
        atoms.set_dihedral(2, 0, 1, 3, torsion)
        for oxygen, hydrogen, other in ((0, 2, 1), (1, 3, 0)):
            atoms.set_angle(other, oxygen, hydrogen, rng.normal(100.0, 3.0))
            atoms.set_distance(oxygen, hydrogen, rng.normal(0.97, 0.02), fix=0)
        atoms.positions = atoms.positions @ Rotation.random(None, rng).as_matrix().T
        frames.append(atoms)
    return frames


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=HERE / "output" / "peroxides.xyz")
    args = parser.parse_args()
    args.output.parent.mkdir(parents=True, exist_ok=True)
    frames = peroxides(args.frames, args.seed)
    write(args.output, frames)
    torsions = np.array([atoms.get_dihedral(2, 0, 1, 3) for atoms in frames])
    print(f"{len(frames)} frames, {np.mean(torsions < 180.0):.3f} of them with a positive torsion: {args.output}")
