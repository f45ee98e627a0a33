"""Conformers of 2-aminoethanol from its SMILES: ranks, mirror images and what was dropped, as a table and an SDF.

The most stable one has a hydrogen bond from oxygen to nitrogen, and comes with its mirror image. Needs the extra
``conformers`` (RDKit); any SMILES, or a file of structures, will do.
"""

import argparse
from pathlib import Path

from molcalc import AIMNet2
from molcalc.conformers import rank_conformers, write_sdf

HERE = Path(__file__).parent

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("source", nargs="?", default="NCCO aminoethanol")
parser.add_argument("--structures", type=int, default=50, help="made of each molecule")
parser.add_argument("--gibbs", action="store_true", help="rank by Gibbs energies")
parser.add_argument("--output", type=Path, default=HERE / "output", help="folder")
args = parser.parse_args()
args.output.mkdir(parents=True, exist_ok=True)

calc = AIMNet2("wb97m-d3", member=0)  # one network of four; leave member out for the ensemble
ranked = rank_conformers(args.source, calc, n_structures=args.structures, gibbs=args.gibbs)

for molecule in ranked.molecules:
    print(f"{molecule.molecule.name}: {molecule.n_structures} structures, dropped: {molecule.dropped_by_reason}")
    print("rank    energy/eV  kcal/mol  weight  found  smallest distance of H to another N or O")
    for conformer in molecule.conformers:
        atoms = conformer.atoms
        distances = atoms.get_all_distances()
        contacts = [
            distances[i, j]
            for i, bonded in enumerate(molecule.molecule.graph.neighbors)
            for j in range(len(atoms))
            if atoms.numbers[i] == 1 and atoms.numbers[bonded[0]] in (7, 8) and atoms.numbers[j] in (7, 8)
            if j != bonded[0]
        ]
        print(
            f"{conformer.rank:4d} {conformer.energy:12.5f} {conformer.relative_kcal_mol:9.3f} {conformer.weight:7.3f} "
            f"{conformer.found:6d}  {min(contacts, default=float('nan')):.2f} Å"
        )

target = args.output / "conformers.sdf"
write_sdf(target, ranked.molecules)
print(f"\nstructures with bonds, energies, ranks and weights: {target}")
