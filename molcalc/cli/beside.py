"""The page of ``molcalc vib --beside``: several models and a reference on one molecule."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from molcalc.cli.options import DEFAULT_PUBLISHED, Arguments, make_calculator

if TYPE_CHECKING:
    from ase import Atoms

    from molcalc.analysis.models_beside import ModelOnMolecule
    from molcalc.calculators.base import MolCalculator
    from molcalc.calculators.normal_modes import NormalModes
    from molcalc.cli.input_structures import InputStructure
    from molcalc.simulate.relaxation_run import Relaxation
    from molcalc.train.report.document import DocumentPart

MOST_STEPS = 500
"""Of the relaxation of each model."""
NVE_STEPS, NVE_INTERVAL, NVE_TIMESTEP, NVE_TEMPERATURE, NVE_SEED = 1000, 10, 0.5, 300.0, 0
"""Of dynamics at constant energy: steps, steps between frames, fs, K, and of the velocities, which all models share."""


def models_beside(args: Arguments) -> list[tuple[str, MolCalculator]]:
    """Models of ``--beside``.

    Returns
    -------
    calculators with their names as they were given: a model, or MODEL@FIDELITY
    """
    found = []
    for name in args.beside:
        model, _, fidelity = name.partition("@")
        own = copy.copy(args)
        own.fidelity = fidelity or args.fidelity
        found.append((name, make_calculator(own, models=[model])))
    return found


def reference_name(args: Arguments) -> str:
    """What the page calls the model of ``--model``."""
    name = " + ".join(args.model or [DEFAULT_PUBLISHED])
    return name if args.fidelity is None else f"{name}@{args.fidelity}"


def write_beside(
    frame: InputStructure, atoms: Atoms, calculators: Sequence[tuple[str, MolCalculator]], targets: Mapping[str, Path],
    *, fmax: float, fwhm: float,
) -> None:  # fmt: skip
    """Compare models, the first of which is the reference, and write page and picture.

    Parameters
    ----------
    atoms : from which every model relaxes.
    targets : files of "page" and "page_plot".
    fmax : eV/Å to which they relax.
    fwhm : cm⁻¹ of the lines of spectra.
    """
    from molcalc.analysis.models_beside import draw_models_beside
    from molcalc.io.files import write_atomic
    from molcalc.train.report.document import as_html
    from molcalc.train.report.figures import save_figure

    models = _results(atoms, calculators, fmax, fwhm)
    save_figure(draw_models_beside(models), targets["page_plot"])
    write_atomic(targets["page"], as_html(_page(frame.label, models, targets["page_plot"])).encode())


def _results(
    atoms: Atoms, calculators: Sequence[tuple[str, MolCalculator]], fmax: float, fwhm: float
) -> list[ModelOnMolecule]:
    from molcalc.analysis.models_beside import along_mode, model_on_molecule, strongest_mode
    from molcalc.calculators.normal_modes import NormalModes
    from molcalc.errors import InputError, MolcalcError
    from molcalc.simulate.dynamics import md_all
    from molcalc.simulate.ensembles import DynamicsSettings

    settings = DynamicsSettings(
        ensemble="nve", temperature=NVE_TEMPERATURE, timestep=NVE_TIMESTEP, seed=NVE_SEED, interval=NVE_INTERVAL
    )
    relaxations = [_relaxed(atoms, name, calculator, fmax) for name, calculator in calculators]
    modes = NormalModes.of(calculators[0][1].get_vibrations(relaxations[0].atoms))
    if modes.geometry not in ("linear", "nonlinear"):
        raise InputError(f"--beside is about molecules that move freely, not about {modes.geometry} ones")
    path = along_mode(modes, strongest_mode(modes))
    models: list[ModelOnMolecule] = []
    for (name, calculator), relaxation in zip(calculators, relaxations):
        (dynamics,) = md_all([relaxation.atoms], calculator, settings, steps=NVE_STEPS)
        if isinstance(dynamics, MolcalcError):
            raise type(dynamics)(f"{name}: {dynamics}")
        models.append(
            model_on_molecule(
                name, relaxation.atoms, calculator, path, relaxation_steps=relaxation.last.step, times=dynamics.times,
                total_energies=dynamics.total_energies, fwhm=fwhm,
            )
        )  # fmt: skip
    return models


def _relaxed(atoms: Atoms, name: str, calculator: MolCalculator, fmax: float) -> Relaxation:
    """Minimum of a model; raises InputError where it finds none from these atoms, before anything long begins."""
    from molcalc.errors import InputError, MolcalcError
    from molcalc.simulate.relaxation import relax_all
    from molcalc.simulate.relaxation_run import RelaxationSettings

    (found,) = relax_all([atoms], calculator, RelaxationSettings(fmax=fmax, steps=MOST_STEPS))
    if isinstance(found, MolcalcError):
        raise type(found)(f"{name}: {found}")
    if not found.converged:
        raise InputError(
            f"{name}: no minimum after {found.last.step} steps (fmax {found.last.fmax:.4f} eV/Å): --beside compares "
            "minima; look at the structure, or relax it before (molcalc relax)"
        )
    return found


def _page(title: str, models: Sequence[ModelOnMolecule], picture: Path) -> list[DocumentPart]:
    import numpy as np

    from molcalc.analysis.models_beside import bond_lengths, deviation, strongest_mode
    from molcalc.train.report.document import Heading, Image, Table, Text

    reference, others = models[0], models[1:]
    mode = strongest_mode(reference.modes)
    against = [deviation(one, reference) for one in others]
    names = [one.name for one in models]
    numbers = [[str(k), *(_of_mode(one.modes, k) for one in models)] for k in range(len(reference.modes.wavenumbers))]
    dynamics = [
        [one.name, str(one.relaxation_steps), f"{bond_lengths(one.atoms, reference.atoms).mean():.4f}",
         f"{1e3 * one.total_energies.std():.4f}", f"{1e3 * np.polyfit(one.times, one.total_energies, 1)[0]:.4f}"]
        for one in models
    ]  # fmt: skip
    rows = [
        [one.name, f"{d.positions:.4f}", f"{d.bonds:.4f}", f"{d.wavenumbers:.1f}", f"{d.worst_wavenumber:.1f}",
         "-" if d.similarity is None else f"{d.similarity:.3f}", f"{1e3 * d.energies:.2f}",
         "-" if d.dipoles is None else f"{d.dipoles:.4f}"]
        for one, d in zip(others, against)
    ]  # fmt: skip
    return [
        Heading(f"{title}: models beside {reference.name}", 1),
        Text(
            f"{reference.atoms.get_chemical_formula()}; every model relaxes from the same start, vibrates about its "
            f"own minimum, and moves for {NVE_STEPS * NVE_TIMESTEP / 1000:g} ps at constant energy from velocities of "
            f"{NVE_TEMPERATURE:g} K. Energies and dipoles along a mode are at structures of {reference.name}: "
            f"mode {mode}, {reference.modes.wavenumbers[mode]:.0f} cm⁻¹, from its minimum to both sides."
        ),
        Heading(f"Differences from {reference.name}"),
        Table(
            ["model", "positions, RMS (Å)", "worst bond (Å)", "wavenumbers, MAE (cm⁻¹)", "worst (cm⁻¹)",
             "similarity of spectra", "energy along mode, RMS (meV)", "dipole along mode, RMS (e·Å)"], rows,
        ),
        Image(picture, "Spectra, energy and change of the dipole along the mode, and total energy in time."),
        Heading("Vibrations: cm⁻¹ (km/mol)"),
        Table(["mode", *names], numbers),
        Heading("Relaxation and dynamics"),
        Table(
            ["model", "steps to the minimum", "mean bond length (Å)", "fluctuation of energy (meV/atom)",
             "drift (meV/atom/ps)"], dynamics,
        ),
    ]  # fmt: skip


def _of_mode(modes: NormalModes, k: int) -> str:
    intensity = "-" if modes.intensities is None else f"{modes.intensities[k]:.1f}"
    return f"{modes.wavenumbers[k]:.1f} ({intensity})"
