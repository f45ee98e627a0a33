"""Molecular dynamics of Ac-(Aib)n-NHMe with MMFF94: data to train generators of conformers on.

Aib is achiral: its right- and left-handed helices weigh the same. Trajectories begin with one or the other in turn,
then some with extended chains. All are made of one structure by turning bonds, so that the two methyl groups of each
residue keep their labels. Needs RDKit.
"""

import argparse
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.io import write
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from rdkit.Chem import Conformer, rdMolTransforms

from molcalc.conformers.force_field import MMFF94
from molcalc.conformers.rdkit_molecules import embed, molecule_of_smiles
from molcalc.simulate.quasi_newton import QuasiNewton

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--residues", type=int, default=3)
parser.add_argument("--helices", type=int, default=8, help="trajectories that begin with helices")
parser.add_argument("--extended", type=int, default=4, help="trajectories that begin with extended chains")
parser.add_argument("--frames", type=int, default=250, help="of each trajectory")
parser.add_argument("--interval", type=int, default=60, help="fs between frames")
parser.add_argument("--temperature", type=float, default=600.0, help="K")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--heavy", action="store_true", help="write heavy atoms only")
parser.add_argument("--output", type=Path, required=True, help="file, such as aib.xyz.gz")
args = parser.parse_args()

molecule = molecule_of_smiles("CC(=O)" + "NC(C)(C)C(=O)" * args.residues + "NC", f"Aib{args.residues}")
(start,) = embed(molecule, 1, args.seed)
# C, N, Cα, C, N along the chain that the SMILES writes: φ is about the second bond, ψ about the third.
chain = [(6 * k + 1, 6 * k + 3, 6 * k + 4, 6 * k + 7, 6 * k + 9) for k in range(args.residues)]
kept = [k for k, z in enumerate(molecule.numbers) if z != 1 or not args.heavy]


def helix(sign: int) -> Atoms:
    """Helix, right-handed for a sign of -1."""
    turned = Conformer(len(start))
    turned.SetPositions(start.positions)
    molecule.template.RemoveAllConformers()
    turned = molecule.template.GetConformer(molecule.template.AddConformer(turned))
    for c, n, alpha, carbonyl, last in chain:
        rdMolTransforms.SetDihedralDeg(turned, c, n, alpha, carbonyl, 57.0 * sign)
        rdMolTransforms.SetDihedralDeg(turned, n, alpha, carbonyl, last, 40.0 * sign)
    return molecule.structure(np.array(turned.GetPositions()))


frames, hands = [], []
for trajectory in range(args.helices + args.extended):
    atoms, rng = start.copy(), np.random.default_rng([args.seed, trajectory])
    if trajectory < args.helices:
        atoms = helix(1 if trajectory % 2 else -1)
    atoms.calc = MMFF94(molecule)
    QuasiNewton(atoms, logfile=None).run(fmax=0.1, steps=200)
    thermalize_momenta(atoms, temperature_K=args.temperature, rng=rng)
    thermostat = {"temperature_K": args.temperature, "friction": 0.002 / units.fs, "fixcm": False}
    dynamics = Langevin(atoms, units.fs, rng=rng, **thermostat)
    for frame in range(args.frames):
        dynamics.run(args.interval)
        phi = np.array([(atoms.get_dihedral(*each[:4]) + 180.0) % 360.0 - 180.0 for each in chain])
        hands.append(np.where((np.abs(phi) > 20.0) & (np.abs(phi) < 120.0), np.sign(phi), 0.0))  # else extended
        image = atoms[kept]
        image.info = {"trajectory": trajectory, "frame": frame, "energy_mmff94": atoms.get_potential_energy()}
        image.positions = np.round(image.positions - image.positions.mean(axis=0), 3)
        frames.append(image)
    right, left = (np.mean(np.array(hands[-args.frames :]) == sign, axis=0).round(3).tolist() for sign in (-1.0, 1.0))
    print(f"trajectory {trajectory}: residues right-handed {right}, left-handed {left}", flush=True)
write(args.output, frames, columns=["symbols", "positions"])
print(f"{len(frames)} frames of {len(kept)} atoms: {args.output}")
