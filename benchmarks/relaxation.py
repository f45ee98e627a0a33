"""Relaxation of many molecules at once, beside ASE's BFGS one by one with the same calculator.

    python benchmarks/relaxation.py [--molecules 64] [--fmax 0.02] [--member 0] [--dtype float32] [--peers 8]

Molecules of 9 to 33 atoms from ETKDG (RDKit), on one thread. The peer relaxes every so many-th of them; times are per
molecule. "from ETKDG" are the starts as they are; "near" are the minima of the batch, rattled by 0.05 Å.
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np
import torch
from ase import Atoms
from ase.optimize import BFGS
from rdkit import Chem
from rdkit.Chem import AllChem

import molcalc
from molcalc.calculators.base import MolCalculator
from molcalc.simulate import Relaxation, RelaxationSettings, relax_all

SMILES = (
    "CC(C)Cc1ccc(cc1)C(C)C(=O)O", "CC(=O)N[C@@H](C)C(=O)NC", "CC(=O)Oc1ccccc1C(=O)O", "c1ccccc1O", "CCO", "CC(C)=O",
    "NCC(=O)O", "OCC1OC(O)C(O)C(O)C1O", "c1ccc2ccccc2c1", "CCCCCCC", "CN1C=NC2=C1C(=O)N(C(=O)N2C)C", "CC(N)C(=O)O",
    "CC(=O)NC1=CC=C(O)C=C1", "C1CCCCC1", "CSCCC(N)C(=O)O", "OC(=O)CC(O)(CC(O)=O)C(O)=O",
)  # fmt: skip


def starts(n_molecules: int) -> list[Atoms]:
    """Structures of ETKDG, one after another of each molecule."""
    found = []
    for k in range(n_molecules):
        molecule = Chem.AddHs(Chem.MolFromSmiles(SMILES[k % len(SMILES)]))
        AllChem.EmbedMolecule(molecule, randomSeed=k + 1)
        positions = molecule.GetConformer().GetPositions()
        found.append(Atoms([atom.GetSymbol() for atom in molecule.GetAtoms()], positions))
    return found


def one_by_one(
    images: list[Atoms], calculator: MolCalculator, fmax: float
) -> tuple[list[float], list[int], list[float]]:
    """Seconds, evaluations and energy of each molecule."""
    seconds, evaluations, energies = [], [], []
    for image in images:
        atoms = image.copy()
        atoms.calc = calculator
        begin = time.perf_counter()
        optimizer = BFGS(atoms, logfile=None)
        optimizer.run(fmax=fmax, steps=500)
        seconds.append(time.perf_counter() - begin)
        evaluations.append(optimizer.nsteps + 1)
        energies.append(atoms.get_potential_energy())
    return seconds, evaluations, energies


def compare(title: str, images: list[Atoms], calculator: MolCalculator, fmax: float, every: int) -> list[Atoms]:
    """Print one line; the relaxed structures."""
    begin = time.perf_counter()
    outcomes = relax_all(images, calculator, RelaxationSettings(fmax=fmax))
    ours = (time.perf_counter() - begin) / len(images)
    done = [outcome for outcome in outcomes if isinstance(outcome, Relaxation)]
    chosen = range(0, len(images), every)
    seconds, evaluations, energies = one_by_one([images[k] for k in chosen], calculator, fmax)
    differences = np.array([done[k].atoms.get_potential_energy() for k in chosen]) - energies
    # The batch has no time of one molecule: its share is that of its atoms and steps.
    work = np.array([len(outcome.atoms) * (outcome.last.step + 1) for outcome in done], dtype=float)
    shares = ours * len(images) * work / work.sum()
    ratio = np.exp(np.mean(np.log(np.array(seconds) / shares[list(chosen)])))
    print(
        f"{title}: {ours:.3f} s each, {np.mean([each.last.step + 1 for each in done]):.1f} evaluations, "
        f"{sum(each.converged for each in done)} of {len(images)} converged\n"
        f"  BFGS one by one: {np.mean(seconds):.3f} s each, {np.mean(evaluations):.1f} evaluations\n"
        f"  ratio {ratio:.1f} (geometric mean of {len(chosen)}); energies within 2 meV: "
        f"{np.mean(np.abs(differences) < 2e-3):.0%}",
        flush=True,
    )
    return [outcome.atoms for outcome in done]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--molecules", type=int, default=64)
    parser.add_argument("--fmax", type=float, default=0.02)
    parser.add_argument("--member", type=int, default=0)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--peers", type=int, default=8, help="the peer relaxes every so many-th molecule")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    calculator = molcalc.AIMNet2("wb97m-d3", member=options.member, dtype=options.dtype)
    images = starts(options.molecules)
    sizes = [len(image) for image in images]
    print(f"{min(sizes)} to {max(sizes)} atoms, mean {np.mean(sizes):.1f}; {options.dtype}, fmax {options.fmax} eV/Å")
    relax_all(images[:2], calculator, RelaxationSettings(steps=2))  # compiles
    minima = compare("from ETKDG", images, calculator, options.fmax, options.peers)
    for k, atoms in enumerate(minima):
        atoms.rattle(0.05, seed=k)
    compare("near", minima, calculator, options.fmax, options.peers)


if __name__ == "__main__":
    main()
