"""Hot molecules, and labels for them, for the tutorial on active learning.

The level of theory is a small model that comes with the package, in the place of calculations of yours.
"""

import numpy as np
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator

from molcalc import AIMNet2, md, relax

FIRST = "H2O CH4 NH3 C2H6 CH3OH C2H4 H2CO CH3Cl CH3SH H2CF2"
OTHERS = """CH3CHO HCOOH C2H2 CO H3CNH2 CH3CH2OH CH3CN CH3ONO H2CCHCN CH3COOH CS2 N2H4 CH3OCH3 CH3NO2 C3H4_D2d N2O HCN
OCS N2 ClNO H2CCO COF2 CH2SCH2 NCCN"""
SIMPLE, NAMES = len(FIRST.split()), np.array([*FIRST.split(), *OTHERS.split()])
LEVEL = AIMNet2("small-species", fidelity="pbe0")
RELAXED = relax([molecule(name) for name in NAMES], LEVEL, progress=False)


def hot(images, calc, seed):
    """Two frames of each structure, one of each and then the others: 30 fs after velocities of 1500 K."""
    return md(images * 2, calc, 30, timestep=1.0, temperature=1500, friction=0.02, seed=seed, progress=False)


def labelled(frames):
    """Copies of frames with energies and forces of the level of theory."""
    frames = [atoms.copy() for atoms in frames]
    for atoms, labels in zip(frames, LEVEL.evaluate(frames, ["energy", "forces"])):
        atoms.calc = SinglePointCalculator(atoms, **labels)
    return frames


def judged(calc, frames):
    """Error and disagreement of the forces, root mean square over both frames of each molecule, eV/Å."""
    found = calc.evaluate(frames, ["forces", "forces_std"])
    pairs = [(one["forces"] - atoms.get_forces(), one["forces_std"]) for one, atoms in zip(found, frames)]
    return np.sqrt(np.reshape([[np.mean(part**2) for part in pair] for pair in pairs], (2, -1, 2)).mean(axis=0)).T
