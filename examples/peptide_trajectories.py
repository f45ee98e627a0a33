"""Molecular dynamics of Ac-(Aib)n-NHMe with MMFF94: data to train generators of conformers on.

Aib is achiral: its helices of both hands weigh the same. All trajectories begin with one structure, so that the two
methyl groups of each residue keep their labels. Needs the extra ``conformers`` (RDKit).
"""

import argparse
from pathlib import Path

import numpy as np
from ase import units
from ase.io import write
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta

from molcalc.conformers.force_field import MMFF94
from molcalc.conformers.rdkit_molecules import embed, molecule_of_smiles

HERE = Path(__file__).parent

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--residues", type=int, default=3)
parser.add_argument("--trajectories", type=int, default=4)
parser.add_argument("--frames", type=int, default=500, help="of each trajectory")
parser.add_argument("--interval", type=int, default=200, help="fs between frames")
parser.add_argument("--temperature", type=float, default=600.0, help="K")
parser.add_argument("--heavy", action="store_true", help="write heavy atoms only")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--output", type=Path, default=HERE / "output" / "aib.xyz.gz")
args = parser.parse_args()
args.output.parent.mkdir(parents=True, exist_ok=True)

molecule = molecule_of_smiles("CC(=O)" + "NC(C)(C)C(=O)" * args.residues + "NC", f"Aib{args.residues}")
(start,) = embed(molecule, 1, args.seed)
# φ of each residue: C N CA C, along the chain that the SMILES writes.
turning = [[6 * k + 1, 6 * k + 3, 6 * k + 4, 6 * k + 7] for k in range(args.residues)]
kept = [k for k, z in enumerate(molecule.numbers) if z != 1 or not args.heavy]

frames = []
for trajectory in range(args.trajectories):
    atoms, rng = start.copy(), np.random.default_rng([args.seed, trajectory])
    atoms.calc = MMFF94(molecule)
    thermalize_momenta(atoms, temperature_K=args.temperature, rng=rng)
    dynamics = Langevin(
        atoms, units.fs, temperature_K=args.temperature, friction=0.002 / units.fs, fixcm=False, rng=rng
    )
    signs = []
    for frame in range(args.frames):
        dynamics.run(args.interval)
        signs.append(np.sign([atoms.get_dihedral(*four, mic=False) - 180.0 for four in turning]))
        image = atoms[kept]
        image.info = {"trajectory": trajectory, "frame": frame, "energy_mmff94": atoms.get_potential_energy()}
        image.positions = np.round(image.positions - image.positions.mean(axis=0), 3)
        frames.append(image)
    right, left = (np.mean(np.all(np.array(signs) == sign, axis=1)) for sign in (1.0, -1.0))
    turns = np.count_nonzero(np.diff(signs, axis=0), axis=0)
    print(
        f"trajectory {trajectory}: all φ < 0 {right:.3f}, all φ > 0 {left:.3f}, changes of sign {turns.tolist()}",
        flush=True,
    )
write(args.output, frames, columns=["symbols", "positions"])
print(f"{len(frames)} frames of {len(kept)} atoms: {args.output}")
