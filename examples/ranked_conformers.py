"""
Conformers in the order of their energies
=========================================

Conformers of 2-aminoethanol from its SMILES: made, relaxed together, without duplicates, ranked. Needs the extra
``conformers`` (RDKit); an SDF or a file of structures will do as well.
"""

import argparse
from pathlib import Path

from molcalc import AIMNet2
from molcalc.analysis import draw_molecule
from molcalc.conformers import rank_conformers, write_sdf

parser = argparse.ArgumentParser()
parser.add_argument("--structures", type=int, default=50, help="made of the molecule")
parser.add_argument("--gibbs", action="store_true", help="rank by Gibbs energies")
parser.add_argument("--output", type=Path, default=Path(__file__).parent / "output", help="folder")
args = parser.parse_args()
args.output.mkdir(parents=True, exist_ok=True)

# %%
# One network of the ensemble is enough for a ranking, and takes a quarter of the time.

calc = AIMNet2("wb97m-d3", member=0)
ranked = rank_conformers("NCCO aminoethanol", calc, n_structures=args.structures, gibbs=args.gibbs)
(molecule,) = ranked.molecules
print(f"{molecule.n_structures} structures, dropped: {molecule.dropped_by_reason}")

# %%
# Mirror images are conformers of their own. Weights are those of Boltzmann at 298 K.

print("rank    energy/eV  kcal/mol  weight  found  O-H···N/Å  N-C-C-O")
for conformer in molecule.conformers:
    contact, torsion = conformer.atoms.get_distance(10, 0), conformer.atoms.get_dihedral(0, 1, 2, 3)
    print(
        f"{conformer.rank:4d} {conformer.energy:12.5f} {conformer.relative_kcal_mol:9.3f} {conformer.weight:7.3f} "
        f"{conformer.found:6d} {contact:10.2f}  {torsion:6.0f}°"
    )

# %%
# The most stable one has a hydrogen bond from oxygen to nitrogen. The SDF holds bonds, energies, ranks and weights.

figure = draw_molecule(molecule.conformers[0].atoms)
write_sdf(args.output / "conformers.sdf", ranked.molecules)
