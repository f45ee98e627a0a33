"""Calculators of the small networks."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.optimize import BFGS

from molcalc.calculators.base import MolCalculator
from molcalc.dispersion.d3 import D3Dispersion
from molcalc.energy_term import EnergyTerm
from molcalc.io.checkpoint import Checkpoint
from molcalc.potential import Potential
from molcalc.prediction.options import PredictorOptions
from molcalc.predictor import Predictor
from molcalc.registry import build_members, calculator_class


def tiny_calculator(checkpoint: Checkpoint, dtype: str = "float64", **options: Any) -> Any:
    """Calculator of the network's kind, for molecules."""
    return calculator_class(checkpoint.config.kind)(checkpoint, dtype=dtype, **options)


def periodic_calculator(
    checkpoint: Checkpoint, terms: tuple[EnergyTerm, ...] | None = None, dtype: str = "float64"
) -> MolCalculator:
    """Calculator of a random network with terms that are defined for crystals (by default smoothly cut D3)."""
    if terms is None:
        terms = (D3Dispersion("pbe0", cutoff=9.0, cn_cutoff=7.0, switch_width=2.0),)
    potential = Potential(build_members(checkpoint), terms)
    options = PredictorOptions(dtype=dtype)
    return MolCalculator(Predictor(potential, options, model="tiny", model_hash=checkpoint.hash))


def results_of(calc: MolCalculator, atoms: Atoms) -> dict[str, np.ndarray]:
    """All results of a structure, which keeps its own calculator."""
    atoms = atoms.copy()
    calc.calculate(atoms)
    return {name: np.array(value) for name, value in calc.results.items()}


def trembling(calc: MolCalculator) -> Atoms:
    """Methanol near a minimum of a calculator's potential, with small velocities."""
    atoms = molecule("CH3OH")
    atoms.calc = calc
    BFGS(atoms, logfile=None).run(fmax=0.02, steps=200)
    atoms.set_velocities(np.random.default_rng(0).normal(scale=0.004, size=(len(atoms), 3)))
    return atoms
