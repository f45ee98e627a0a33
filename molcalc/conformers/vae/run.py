"""A run that trains a generator: its data, options, folder, report."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
import torch
from ase import Atoms

from molcalc._version import __version__
from molcalc.conformers.vae.config import VAE_OPTIONS, VAEConfig, vae_config
from molcalc.conformers.vae.latent_advice import advice_on_latents
from molcalc.conformers.vae.losses import ObjectiveConfig
from molcalc.conformers.vae.model_files import (
    GeneratorParts,
    declaration,
    load_generator,
    molecule_arrays,
    new_network,
    parts_of,
    save_generator,
)
from molcalc.conformers.vae.network import VAENetworkConfig
from molcalc.conformers.vae.prior import GaussianMixture
from molcalc.conformers.vae.reference import ReferenceStructure
from molcalc.conformers.vae.report import MEANINGS, VAEReport
from molcalc.conformers.vae.training import VAETask, encoded, reconstruction_errors
from molcalc.errors import CheckpointMismatchError, ConfigError, DatasetError
from molcalc.io.checkpoint import Checkpoint
from molcalc.notebook_tables import rows_table
from molcalc.registry import GENERATOR
from molcalc.train.continuation import KEPT_BY_ALL, Kept, identity_of
from molcalc.train.data.dataset import Dataset
from molcalc.train.data.kept_parts import KeptParts, write_parts
from molcalc.train.data.opening import open_dataset
from molcalc.train.data.parts import Parts, divided
from molcalc.train.execution import Prepared, carry_out
from molcalc.train.loop.processes import Processes
from molcalc.train.loop.run_folder import OPTIONS_FILE, PARTS_FILE, RunFolder
from molcalc.train.loop.sampler import Sampler
from molcalc.train.loop.trainer import Trainer
from molcalc.train.optimize.optimizers import optimizer_for, resolved
from molcalc.train.optimize.schedules import Schedule
from molcalc.train.option_parts import merged
from molcalc.train.report.display import three_digits
from molcalc.train.run_data import described, separated

log = logging.getLogger(__name__)

KEPT_BY_GENERATORS = Kept(
    {**KEPT_BY_ALL, **{key.name: "the network follows from it" for key in fields(VAENetworkConfig)}},
    "undo the change, or choose another output",
    frozenset(key.name for key in fields(ObjectiveConfig)),
)
NAME_THEM = "name structures to compare with (--reference)"
LEAST_TRAINED = 2
"""Structures to learn from."""


@dataclass(frozen=True)
class VAEFitResult:
    """Outcome of a run: its folder, errors and history.

    Attributes
    ----------
    output : folder of the run, which is a model folder; empty where nothing was kept.
    metrics : by part ("valid", "test"), as :func:`molcalc.conformers.vae.training.reconstruction_errors` names them.
    history : one dict for every validation.
    """

    output: str
    metrics: dict[str, dict[str, float]]
    history: list[dict[str, Any]]

    def __repr__(self) -> str:
        part = "test" if "test" in self.metrics else "valid"
        errors = (f"{name} {three_digits(value)}" for name, value in self.metrics.get(part, {}).items())
        where = self.output or "not kept"
        return f"<VAEFitResult {where}: {', '.join(errors) or 'nothing held out'} ({part} part)>"

    def _repr_html_(self) -> str:
        caption = f"VAEFitResult {self.output or '(not kept)'}: reconstructions"
        rows = [
            (part, MEANINGS[name], three_digits(value))
            for part, errors in self.metrics.items()
            for name, value in errors.items()
        ]
        return rows_table(caption, ("part", "error", "value"), rows)


def fit_generator(
    reference: ReferenceStructure | None,
    named: Mapping[str, Any],
    options: Mapping[str, Any],
    own: Mapping[str, Any],
    *,
    output: str | os.PathLike[str],
    resume: bool | Literal["auto"],
    progress: bool,
) -> tuple[VAEFitResult, GeneratorParts]:
    """Train a generator.

    Parameters
    ----------
    reference : molecule that it is for; None takes that of a run that goes on, or the first structure of the data.
    named : arguments that name data.
    options : that the user gave with the call.
    own : that the user gave with the molecule.
    output : folder of the run.

    Returns
    -------
    outcome, and the best model

    Raises
    ------
    ConfigError, InputError, DatasetError, CheckpointError, NonFiniteResultError, KeyboardInterrupt
        As :meth:`ConformerVAE.fit <molcalc.conformers.vae.vae.ConformerVAE.fit>`.
    """
    folder = RunFolder(output)
    going_on = folder.goes_on(resume)
    its_files, its_options = separated({name: value for name, value in named.items() if value is not None})
    said = merged(own, VAE_OPTIONS.flat({**options, **its_options}))
    files = its_files
    if going_on and (folder.path / OPTIONS_FILE).is_file():
        recorded_files, recorded = VAE_OPTIONS.read(folder.path / OPTIONS_FILE)
        files, said = {**recorded_files, **its_files}, merged(recorded, said)
    if "data" not in files:
        raise ConfigError("no structures to train on: name an ASE database, a trajectory, or any file of structures")
    config = vae_config(said)

    def prepared(
        processes: Processes, device: torch.device, begun: Checkpoint | None
    ) -> Prepared[tuple[VAEFitResult, GeneratorParts]]:
        parts = _open_parts(files, config, KeptParts.read(folder.path / PARTS_FILE) if going_on else None)
        return _prepared(reference, parts, files, config, "epochs" in said, folder, processes, device, begun)

    return carry_out(folder, going_on, config.loop, prepared, progress=progress)


def structures_of_run(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Structures that a generator was trained on, and those that were held out.

    Parameters
    ----------
    path : folder of the run, whose data are still where they were.

    Returns
    -------
    by part ("train", "valid", "test"), (n_structures, n_atoms, 3) Å each, labels in order

    Raises
    ------
    ConfigError
        When the folder is that of a saved model, which knows no data, or the data were in memory.
    MissingFileError, CheckpointError, DatasetError, InputError
        When the model or the data are not there, damaged, or have changed.
    """
    reference, folder = load_generator(path).reference, RunFolder(path)
    record = folder.path / OPTIONS_FILE
    if not record.is_file():
        raise ConfigError(f"{folder.path} holds a model, and not the run that made it: {NAME_THEM}")
    files, options = VAE_OPTIONS.read(record)
    if files.get("data") is None:
        raise ConfigError(f"the generator in {folder.path} was trained on structures in memory: {NAME_THEM}")
    parts = _open_parts(files, vae_config(options), KeptParts.read(folder.path / PARTS_FILE))
    return {name: reference.frames_in(part) for name, part in {"train": parts.train, **parts.held_out}.items()}


def _open_parts(files: Mapping[str, Any], config: VAEConfig, kept: KeptParts | None) -> Parts:
    """Structures of training, validation and test."""
    opened = {
        name: open_dataset(
            files[name], units=files.get("units"), skip_bad=files.get("skip_bad", False), structures_only=True
        )
        for name in ("data", "valid", "test")
        if name in files
    }
    whole = opened["data"]
    if len(whole) < LEAST_TRAINED + 1:
        raise DatasetError(
            f"{len(whole)} structure{'s' * (len(whole) != 1)} in the data: a generator learns from many, a thousand or "
            "more; at least three are needed"
        )
    parts = divided(whole, config.split, valid=opened.get("valid"), test=opened.get("test"), kept=kept)
    if len(parts.train) < LEAST_TRAINED:
        raise DatasetError(
            f"of {len(whole)} structures {len(parts.train)} is left for training: a generator learns what differs "
            "between structures; hold out fewer"
        )
    return parts


def _prepared(
    reference: ReferenceStructure | None,
    parts: Parts,
    files: Mapping[str, Any],
    config: VAEConfig,
    epochs_given: bool,
    folder: RunFolder,
    processes: Processes,
    device: torch.device,
    begun: Checkpoint | None,
) -> Prepared[tuple[VAEFitResult, GeneratorParts]]:
    """A run before its first step."""
    saved = None if begun is None else parts_of(begun, str(folder.last))
    reference = _same_molecule(reference, saved, folder) or _first_of(parts.train)
    frames = {name: reference.frames_in(part) for name, part in {"train": parts.train, **parts.held_out}.items()}
    torch.manual_seed(config.seed)
    network = new_network(reference, config.network) if saved is None else new_network(reference, saved.network_config)
    if config.loop.precision == "float64":
        network = network.double()
    if saved is None:
        of_train = torch.from_numpy(frames["train"]).to(network.least)
        network.learn_extent(torch.from_numpy(reference.positions).to(network.least), of_train)
    else:
        assert saved.network is not None
        network.load_state_dict(saved.network.state_dict())
    network = network.to(device)
    n_atoms = len(reference.positions)
    config = replace(
        config,
        optimize=resolved(
            config.optimize,
            n_systems=len(parts.train),
            n_features=config.network.n_features,
            n_atoms=n_atoms,
            fine_tuning=False,
        ),
    )
    sampler = Sampler(
        parts.train.n_atoms(),
        np.zeros(len(parts.train), dtype=np.int64),
        batch_size=config.loop.batch_size,
        batches_per_epoch=config.loop.batches_per_epoch,
        seed=config.seed,
        n_processes=processes.size,
    )
    config = config.with_epochs(sampler.batches_per_epoch, epochs_given)
    provenance = {
        "trained_on": ", ".join(f"{name} {len(each)}" for name, each in frames.items()),
        "data_hash": parts.train.hash,
        "split": parts.split_hash,
        "seed": str(config.seed),
    }
    untrained = GeneratorParts(reference, config.network, config.objective, provenance=provenance)
    task = VAETask(
        model_config=declaration(untrained),
        network=network,
        molecule=molecule_arrays(reference),
        objective=config.objective,
        train=frames["train"],
        valid=frames["valid"],
        rows=parts.train,
        seed=config.seed,
        accumulate=config.loop.accumulate,
        processes=processes,
        device=device,
    )
    options = config.flat()
    trainer = Trainer(
        config=config.loop,
        seed=config.seed,
        task=task,
        optimizer=optimizer_for(config.optimize, network),
        schedule=Schedule(config.optimize.schedule, config.loop.epochs * sampler.batches_per_epoch),
        sampler=sampler,
        folder=folder,
        processes=processes,
        device=device,
        validate_first=False,
        identity=identity_of(options, parts, processes),
    )
    report = VAEReport(trainer, reference, options=options, usual=vae_config({}).flat())

    def write_down() -> None:
        values = {"model": GENERATOR, **options}
        for name in ("valid", "test"):
            if name in files:
                del values[name]
        notes = [
            f"written by molcalc {__version__}; molcalc train --config {OPTIONS_FILE} --output FOLDER repeats this run"
        ]
        notes += [f"epoch {item['epoch']}, step {item['step']}: {item['what']}" for item in trainer.changes]
        folder.write_options({**described(files), **values}, notes)
        write_parts(folder.path / PARTS_FILE, {"train": parts.train, **parts.held_out})

    def conclude() -> tuple[VAEFitResult, GeneratorParts]:
        best = load_generator(folder.path)
        network = best.network
        assert network is not None
        as_tensors = {name: torch.from_numpy(each).to(network.least) for name, each in frames.items()}
        means, log_variances = encoded(network, as_tensors["train"])
        mixture = GaussianMixture.of_posteriors(means.double().numpy(), log_variances.double().numpy(), config.seed)
        best = replace(best, mixture=mixture, provenance=provenance)
        metrics = {
            name: reconstruction_errors(network, each, config.objective).metrics
            for name, each in as_tensors.items()
            if name != "train" and len(each)
        }
        advice = advice_on_latents(means, log_variances, config.objective)
        if processes.first:
            save_generator(folder.path, best)
            report.write(metrics, advice)
            if advice:
                log.warning(advice)
        return VAEFitResult(str(folder.path), metrics, trainer.history), best

    return Prepared(trainer, report, config.report, options, KEPT_BY_GENERATORS, write_down, conclude)


def _same_molecule(
    reference: ReferenceStructure | None, saved: GeneratorParts | None, folder: RunFolder
) -> ReferenceStructure | None:
    """The molecule of a run that goes on, which has to be that of the generator; else the latter, if there is one."""
    if saved is None:
        return reference
    if reference is not None:
        before, now = saved.reference, reference
        same = np.array_equal(before.molecule.numbers, now.molecule.numbers)
        same = same and before.molecule.graph.neighbors == now.molecule.graph.neighbors
        if not same or before.molecule.charge != now.molecule.charge:
            raise CheckpointMismatchError(
                f"{folder.path} holds a run of {before.molecule.formula} with other atoms, bonds or charge than "
                f"this generator of {now.molecule.formula}: choose another output"
            )
    return saved.reference


def _first_of(data: Dataset) -> ReferenceStructure:
    """The molecule of the first structure of some data."""
    own = slice(0, int(data.offsets[1]))
    info = {"charge": int(data.total_charge[0]), "multiplicity": int(data.multiplicity[0])}
    atoms = Atoms(data.numbers[own], data.positions[own], pbc=data.pbc[0], info=info)
    return ReferenceStructure.of(atoms, data.row_name(0))
