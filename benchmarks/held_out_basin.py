"""A generator trained without one basin: whether it finds it, and minima for calls beside jitter, ETKDG and dynamics.

Frames are heavy atoms of Ac-(Aib)n-NHMe (``peptide_trajectories.py``). Half of the trajectories are trained on, without
left-handed helices: the generator may see residues that turn left, never all of them. Hydrogen is added by RDKit, and
MMFF94 relaxes. With ``--all`` no basin is held out, and ``--force-calls 0`` searches nothing: are both hands generated
as often as they occur?
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import read

from molcalc.conformers import ConformerVAE
from molcalc.conformers.force_field import MMFF94
from molcalc.conformers.hydrogens import with_hydrogens
from molcalc.conformers.metrics import (
    ConformerSets,
    Embedded,
    FarApart,
    Generated,
    Jittered,
    Restarted,
    conformer_metrics,
    search_minima,
    write_conformer_report,
)
from molcalc.conformers.molecules import Ensemble
from molcalc.conformers.rdkit_molecules import embed, molecule_of_smiles
from molcalc.conformers.vae.config import VAE_OPTIONS

DATA = Path(__file__).parent.parent / "examples" / "data" / "aib3_heavy.xyz.gz"

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--data", type=Path, default=DATA)
parser.add_argument("--all", action="store_true", help="hold no basin out")
parser.add_argument("--epochs", type=int, default=18)
parser.add_argument("--force-calls", type=int, default=3000, help="of each search")
parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="options of the training")
parser.add_argument("--output", type=Path, required=True, help="folder")
args = parser.parse_args()


def hands(structures: Sequence[Atoms]) -> np.ndarray:
    """(n_structures, n_residues) 1 of residues in left-handed helices, -1 in right-handed ones, 0 of extended ones."""
    phi = np.array([[atoms.get_dihedral(*each) for each in PHI] for atoms in structures])
    phi = (phi + 180.0) % 360.0 - 180.0
    return np.where((np.abs(phi) > 20.0) & (np.abs(phi) < 120.0), np.sign(phi), 0.0)


def shares(structures: Sequence[Atoms]) -> str:
    """Shares of residues and of whole helices of either hand."""
    found = hands(structures)
    residues = [f"{np.mean(found == sign):.3f}" for sign in (-1.0, 1.0)]
    helices = [f"{np.mean(np.all(found == sign, axis=1)):.3f}" for sign in (-1.0, 1.0)]
    right = np.sum(found == -1.0) / max(1, np.sum(found != 0.0))
    return (
        f"right- and left-handed residues {', '.join(residues)}, right-handed among both {right:.3f}, "
        f"helices {', '.join(helices)}"
    )


def completed(heavy: Sequence[Atoms]) -> Sequence[Atoms]:
    """Structures with hydrogen."""
    return with_hydrogens(Ensemble(molecule=vae.reference.molecule, structures=heavy), SMILES).structures


frames = read(args.data, ":")
n_residues = (len(frames[0]) - 5) // 6
SMILES = "CC(=O)" + n_residues * "NC(C)(C)C(=O)" + "NC"
PHI = [(6 * k + 1, 6 * k + 3, 6 * k + 4, 6 * k + 7) for k in range(n_residues)]
molecule = molecule_of_smiles(SMILES, f"Aib{n_residues}")
(structure,), calc = embed(molecule, 1, 0), MMFF94(molecule)
skeleton = structure[structure.numbers > 1]
trajectories = np.array([atoms.info["trajectory"] for atoms in frames])
first = trajectories // 2 % 2 == 0  # of each kind of start
held_out = np.all(hands(frames) > 0.0, axis=1) & (not args.all)
places = np.array([atoms.info["frame"] for atoms in frames])
ends = places >= 0.95 * (places.max() + 1)  # of every trajectory: validation
for atoms in frames:
    atoms.info.clear()
train, valid = ([frames[k] for k in np.flatnonzero(first & ~held_out & part)] for part in (~ends, ends))
options = {key: value for text in args.set for key, value in VAE_OPTIONS.parse_setting(text).items()}
vae = ConformerVAE.for_molecule(skeleton)
print(f"{len(train)} frames: {shares(train)}")
print(vae.fit(train, epochs=args.epochs, valid=valid, output=args.output / "run", **options).metrics)
samples = vae.sample(1000, seed=10**6)
print(f"generated: {shares(samples)}")
print(f"generated, normal prior: {shares(vae.sample(1000, prior='normal', seed=10**6))}")
print(f"reconstructed: hands of {np.mean(hands(vae.decode(vae.encode(train)[0])) == hands(train)):.3f} right")

whole, seeds = completed(train), itertools.count()
generated, jittered = Generated(lambda n: completed(vae.sample(n, seed=next(seeds)))), Jittered(whole)
beyond = Generated(lambda n: completed(vae.sample(n, prior="normal", seed=next(seeds))), "generator, normal prior")
sources = (
    generated,
    beyond,
    jittered,
    Embedded(structure),
    Restarted(whole, calc),
    *(FarApart(source, structure) for source in (generated, beyond, jittered)),
)
searched = sources if args.force_calls else ()
searches = [search_minima(source, calc, structure, force_calls=args.force_calls) for source in searched]
for search in searches:
    relaxed = [molecule.structure(each) for each in search.relaxed]
    print(f"{search.source}: {search.per_thousand_calls:.1f} minima per 1,000 calls; relaxed: {shares(relaxed)}")
reference = [frames[k] for k in np.flatnonzero(~first)]
sets = ConformerSets.of(skeleton, samples, reference, train)
metrics = conformer_metrics(sets)
means = vae.encode(train)[0]
phi = np.array([atoms.get_dihedral(*PHI[1]) for atoms in train])
latents = (means, (phi + 180.0) % 360.0 - 180.0, "φ of the second residue")
write_conformer_report(args.output / "report", sets, metrics, searches=searches, latents=latents)
