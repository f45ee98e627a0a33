"""Ranking of conformers: processor time and memory for a drug, and the lowest minima beside a search ten times as long.

    python benchmarks/conformers.py [--structures 200] [--member 0] [--smiles SMILES] [--small SMILES]

One thread. Processor time is stated, which other programs on the machine disturb less than the clock. The second part
ranks a smaller molecule from a tenth of the structures of a longer search, with other seeds, and counts which of its
minima are found.
"""

from __future__ import annotations

import argparse
import resource
import time
import warnings

import torch

import molcalc
from molcalc.calculators.base import MolCalculator
from molcalc.conformers import RankedMolecule, rank_conformers

IBUPROFEN = "CC(C)Cc1ccc(cc1)[C@@H](C)C(=O)O"
BUTANEDIOL = "OCCCCO"


def ranked(smiles: str, calculator: MolCalculator, n_structures: int, seed: int) -> tuple[RankedMolecule, float]:
    """Conformers and seconds of the processor."""
    begin = time.process_time()
    found = rank_conformers(smiles, calculator, n_structures=n_structures, seed=seed, progress=False)
    return found.molecules[0], time.process_time() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--structures", type=int, default=200)
    parser.add_argument("--member", type=int, help="one network of four (default: all)")
    parser.add_argument("--smiles", default=IBUPROFEN)
    parser.add_argument("--small", default=BUTANEDIOL)
    parser.add_argument("--more", type=int, default=400, help="structures of the longer search")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    calculator = molcalc.AIMNet2("wb97m-d3", member=options.member)
    ranked("CO", calculator, 2, 1)  # compiles
    drug, seconds = ranked(options.smiles, calculator, options.structures, 1)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{drug.molecule.name}, {len(drug.molecule.numbers)} atoms: {len(drug.conformers)} conformers of "
        f"{drug.n_structures} structures {drug.dropped_by_reason} in {seconds:.0f} s of the processor, {memory:.2f} GB",
        flush=True,
    )
    long, seconds = ranked(options.small, calculator, options.more, 1000)
    short, _ = ranked(options.small, calculator, options.more // 10, 1)
    energies = [each.energy for each in long.conformers]
    found = [any(abs(each.energy - energy) < 1e-3 for each in short.conformers) for energy in energies]
    n_lowest = found.index(False) if False in found else len(found)
    print(
        f"{long.molecule.name}: {len(energies)} minima of {options.more} structures ({seconds:.0f} s); of "
        f"{options.more // 10} other ones {sum(found)} of these, the lowest {n_lowest} among them; "
        f"lowest energies differ by {1e3 * (short.conformers[0].energy - energies[0]):.2f} meV"
    )


if __name__ == "__main__":
    main()
