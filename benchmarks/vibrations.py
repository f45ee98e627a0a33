"""Vibrations of ten molecules with the published AIMNet2, beside central differences and ASE's.

    python benchmarks/vibrations.py [--member 0] [--repeats 2]

Frequencies beside those of converged central differences (four points, 0.01 Å) of forces in double precision,
intensities beside `ase.vibrations.Infrared`, processor time of both in turns, the fastest of the repeats. The last,
Ac-Ala-NHMe, is built with RDKit (extra `conformers`).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.vibrations import Infrared
from tqdm import tqdm

from molcalc import AIMNet2, relax
from molcalc.calculators.normal_modes import NormalModes
from molcalc.calculators.vibrations import InfraredVibrations
from molcalc.conformers.rdkit_molecules import embed, molecule_of_smiles

NAMES = ("H2O", "CO2", "H2CO", "NH3", "CH4", "C2H2", "HCOOH", "CH3CH2OH", "C6H6")
DIPEPTIDE = "CC(=O)N[C@@H](C)C(=O)NC"
STEP = 0.01
"""Å of the differences that frequencies are compared with."""
ASE_STEP = 0.002
"""Å of ASE's differences; with its usual 0.01 they miss some intensities by more than 1 %, and take as long."""
FAINT = 1.0
"""km/mol from which intensities are compared."""
DEGENERATE = 1.0
"""cm⁻¹ within which modes share their intensities in any way."""
KM_PER_MOL = 42.255
"""Intensity of ASE's unit, D²/(Å²·u)."""


def converged(atoms: Atoms, calc: AIMNet2) -> NormalModes:
    """Modes of differences of fourth order."""
    weights = {-2: 1 / 12, -1: -8 / 12, 1: 8 / 12, 2: -1 / 12}
    images = []
    for k in range(3 * len(atoms)):
        for side in weights:
            moved = atoms.copy()
            moved.positions.reshape(-1)[k] += side * STEP
            images.append(moved)
    forces = np.array([found["forces"].ravel() for found in calc.evaluate(images)]).reshape(
        -1, len(weights), 3 * len(atoms)
    )
    hessian = -np.einsum("ksj,s->kj", forces, list(weights.values())) / STEP
    return NormalModes.of(InfraredVibrations.from_2d(atoms, 0.5 * (hessian + hessian.T)))


def timed(function: Callable[[], Any]) -> tuple[Any, float]:
    """Result and processor time in s."""
    start = time.process_time()
    return function(), time.process_time() - start


def by_ase(atoms: Atoms, calc: AIMNet2) -> np.ndarray:
    """(3n,) km/mol of all modes, also those of rigid motion."""
    atoms = atoms.copy()
    atoms.calc = calc
    with tempfile.TemporaryDirectory() as folder:
        vibrations = Infrared(atoms, name=f"{folder}/ir", delta=ASE_STEP)
        vibrations.run()
        vibrations.read()
        return np.asarray(vibrations.intensities) * KM_PER_MOL


def worst_intensity(modes: NormalModes, other: np.ndarray) -> float:
    """Largest relative difference of intensities, of degenerate modes together."""
    other = other[-len(modes.wavenumbers) :]
    ends = [0, *(1 + np.flatnonzero(np.diff(modes.wavenumbers) > DEGENERATE)), len(other)]
    own = np.add.reduceat(modes.intensities, ends[:-1])
    theirs = np.add.reduceat(other, ends[:-1])
    seen = theirs > FAINT
    return float(np.abs(own[seen] / theirs[seen] - 1).max())


def row(atoms: Atoms, calc: AIMNet2, repeats: int) -> str:
    """Line of the table."""
    own, theirs = [], []
    for _ in range(repeats):
        vibrations, seconds = timed(partial(calc.get_vibrations, atoms))
        own.append(seconds)
        calc.reset()
        intensities, seconds = timed(partial(by_ase, atoms, calc))
        theirs.append(seconds)
    modes = NormalModes.of(vibrations)
    missed = np.abs(modes.wavenumbers - converged(atoms, calc).wavenumbers).max()
    cells = [
        atoms.get_chemical_formula(), str(len(atoms)), f"{missed:.4f}",
        f"{100 * worst_intensity(modes, intensities):.2f}", f"{1e3 * min(own):.0f}", f"{1e3 * min(theirs):.0f}",
        f"{min(theirs) / min(own):.1f}",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--member", type=int, choices=range(4), help="one network of the ensemble")
    parser.add_argument("--repeats", type=int, default=2)
    options = parser.parse_args()
    calc = AIMNet2("wb97m-d3", dtype="float64", member=options.member)
    starts = [molecule(name) for name in NAMES]
    starts += embed(molecule_of_smiles(DIPEPTIDE, "Ac-Ala-NHMe"), 1, seed=1)
    print("| molecule | atoms | frequencies, cm⁻¹ | intensities, % | ms | ASE, ms | ratio |")
    print("|---|---|---|---|---|---|---|")
    for atoms in tqdm(relax(starts, calc, fmax=1e-5, progress=False), disable=None):
        atoms.calc = None
        print(row(atoms, calc, options.repeats), flush=True)


if __name__ == "__main__":
    main()
