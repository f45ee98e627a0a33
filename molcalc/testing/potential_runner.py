"""The table of checks of potentials, and the function that runs them."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from typing import Any

import torch
from ase import Atoms

from molcalc.assembly.opening import open_model
from molcalc.assembly.potentials import bare_potential, potential_of
from molcalc.io.checkpoint import Checkpoint
from molcalc.potential import Potential
from molcalc.registry import MODELS, entry_of
from molcalc.testing import potential_batches as batches
from molcalc.testing import potential_physics as physics
from molcalc.testing.check_report import Report
from molcalc.testing.potential_subject import PotentialSubject
from molcalc.testing.runner import refuse_unknown_checks, run_checks

ELEMENTS = (1, 6, 7, 8)
"""Of networks with random weights."""
NOISE = 0.05
"""Standard deviation of what is added to fresh weights: many of them are drawn as zero or one, which hides mistakes."""

POTENTIAL_CHECKS: dict[str, Callable[[PotentialSubject], None]] = {
    "predictions": batches.predictions,
    "reference_energies": batches.reference_energies,
    "initialization": batches.initialization,
    "forces": physics.forces,
    "forces_in_crystal": physics.forces_in_crystal,
    "stress": physics.stress,
    "second_derivatives": physics.curvature,
    "gradient_mode": physics.gradient_mode,
    "smoothness": physics.smoothness,
    "one_atom": physics.one_atom,
    "no_edges": physics.no_edges,
    "longer_edges": batches.longer_edges,
    "translation": physics.translation,
    "rotation": physics.rotation,
    "reflection": physics.reflection,
    "permutation": physics.permutation,
    "lattice": physics.lattice,
    "supercell": physics.supercell,
    "locality": physics.locality,
    "extensivity": physics.extensivity,
    "batch": batches.batch,
    "batch_of_crystals": batches.batch_of_crystals,
    "leak": batches.leak,
    "charge_conservation": batches.charge_conservation,
    "charge_per_system": batches.charge_per_system,
    "multiplicity_per_system": batches.multiplicity_per_system,
    "fidelity_per_system": batches.fidelity_per_system,
    "repeatable": batches.repeatable,
    "copies": batches.copies,
    "double_precision": batches.double_precision,
    "single_precision": batches.single_precision,
}


def check_potential(
    model: Potential | Checkpoint | str | os.PathLike[str],
    quiet: bool = False,
    *,
    atoms: Atoms | None = None,
    skip: Collection[str] = (),
) -> Report:
    """Check that a potential is a differentiable function of structures that keeps the contract of networks.

    Every check is independent: one that fails or raises does not keep the others from running.

    Parameters
    ----------
    model : a potential; or a checkpoint, published name or model directory, with the terms that complete it; or a kind
        of network in :data:`molcalc.registry.MODELS`, which is tried with random weights and without terms.
    quiet : do not print the report.
    atoms : molecule to test with, best a small one without symmetry; by default methanol and others, or chains of
        atoms, of elements that the model knows.
    skip : names of checks that are not run (``molcalc.testing.POTENTIAL_CHECKS`` holds all).

    Returns
    -------
    Report with ``ok``, ``failures``, ``skipped`` and ``passed``.

    Raises
    ------
    ConfigError
        When ``skip`` holds a name that is not a check, or ``atoms`` do not fit the model.
    FileNotFoundError, CheckpointError
        When the model cannot be found or used.
    """
    refuse_unknown_checks(skip, POTENTIAL_CHECKS)
    subject = PotentialSubject(_potential(model), atoms)
    report = Report(type(subject.network).__name__, subject.sample.atoms.get_chemical_formula())
    run_checks(report, POTENTIAL_CHECKS, subject, skip)
    if not quiet:
        print(report)
    return report


def _potential(model: Potential | Checkpoint | str | os.PathLike[str]) -> Potential:
    if isinstance(model, Potential):
        return model
    if isinstance(model, str) and model in MODELS:
        return random_potential(model)
    opened = open_model(model)
    return potential_of(opened, opened.config.fidelities[0].name)


def random_potential(kind: str, seed: int = 0, **arguments: Any) -> Potential:
    """Potential of a network whose random weights all differ, without energy terms.

    Parameters
    ----------
    kind : key of :data:`molcalc.registry.MODELS`.
    arguments : fields of its configuration that differ from the defaults.

    Returns
    -------
    the potential in double precision

    Raises
    ------
    UnsafeCheckpointError
        For an unknown kind.
    """
    entry = entry_of(kind)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        network = entry.network(entry.config(**{"elements": ELEMENTS, **arguments})).initialize().double()
        for parameter in network.parameters():
            parameter.add_(NOISE * torch.randn_like(parameter))
    return bare_potential([network])
