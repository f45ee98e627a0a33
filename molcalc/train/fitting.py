"""Training in one call, from a database to a calculator."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from molcalc._version import __version__
from molcalc.assembly.opening import open_model
from molcalc.errors import ConfigError
from molcalc.io.checkpoint import Checkpoint
from molcalc.notebook_tables import facts_table, rows_table
from molcalc.pretrained.sources import read_model
from molcalc.registry import calculator_class
from molcalc.surroundings import own_settings
from molcalc.train.config import FitConfig, flat_options, join_options, make_config, read_options
from molcalc.train.continuation import FIXED, RECOMMENDED
from molcalc.train.data.kept_parts import KeptParts, write_parts
from molcalc.train.data.opening import Data
from molcalc.train.data.parts import Parts, check_parts, open_parts, recorded_division, warn_of_leaks
from molcalc.train.execution import Prepared, carry_out
from molcalc.train.loop.losses import recorded_loss
from molcalc.train.loop.potential_task import PotentialTask
from molcalc.train.loop.processes import Processes
from molcalc.train.loop.run_folder import OPTIONS_FILE, PARTS_FILE, RunFolder
from molcalc.train.loop.trainer import Trainer
from molcalc.train.preparation import prepare
from molcalc.train.rehearsal import rehearse
from molcalc.train.report.display import ERROR_HEADER, error_rows, with_unit
from molcalc.train.report.summary import RunReport
from molcalc.train.run_data import absolute, described, separated


@dataclass(frozen=True)
class FitResult:
    """Outcome of a run: its folder, errors and history.

    Attributes
    ----------
    output : folder of the run, which is a model directory.
    metrics : by part ("valid", "test"), by property: ``mae``, ``rmse``, ``r2`` and ``n`` in eV, eV/Å, e·Å, e, V.
    by_fidelity : the same by part, by fidelity, by property, where there are several fidelities.
    history : one dict for every validation.
    """

    output: str
    metrics: dict[str, dict[str, dict[str, float]]]
    by_fidelity: dict[str, dict[str, dict[str, dict[str, float]]]]
    history: list[dict[str, Any]]

    def __repr__(self) -> str:
        part = "test" if "test" in self.metrics else "valid"
        errors = (f"{name} {with_unit(name, found['mae'])}" for name, found in self.metrics.get(part, {}).items())
        return f"<FitResult {self.output}: {', '.join(errors) or 'nothing held out'} (MAE of the {part} part)>"

    def _repr_html_(self) -> str:
        caption, tables = f"FitResult {self.output}", []
        for part, fidelity, errors in self.errors():
            at = "" if fidelity is None else f" at {fidelity}"
            tables.append(rows_table(f"{caption}: errors on the {part} part{at}", ERROR_HEADER, error_rows(errors)))
        return "".join(tables) or facts_table(caption, {"errors": "nothing held out"})

    def errors(self) -> Iterator[tuple[str, str | None, dict[str, dict[str, float]]]]:
        """Errors of every part as a whole, and then at each of its fidelities.

        Returns
        -------
        part, fidelity (None for the whole), and ``mae``, ``rmse``, ``r2`` and ``n`` by property
        """
        for part, errors in self.metrics.items():
            yield part, None, errors
            for fidelity, its_errors in self.by_fidelity.get(part, {}).items():
                if its_errors:
                    yield part, fidelity, its_errors

    def calculator(self, **options: Any) -> Any:
        """The ASE calculator for this kind of model, with the best weights.

        Parameters
        ----------
        options : those of its class, such as ``dtype`` and ``device``.

        Returns
        -------
        calculator of :mod:`molcalc.calculators`
        """
        model = open_model(self.output)
        return calculator_class(model.config.kind)(model, **options)


@own_settings()
def fit(
    data: Data | None = None,
    model: str | None = None,
    *,
    output: str | os.PathLike[str],
    init: str | os.PathLike[str] | None = None,
    valid: float | Data | None = None,
    test: float | Data | None = None,
    resume: bool | Literal["auto"] = False,
    units: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    skip_bad: bool | None = None,
    progress: bool = True,
    **options: Any,
) -> FitResult:
    """Train a potential.

    >>> result = fit("co2.db", "physnet-dcm", output="runs/co2")
    >>> atoms.calc = result.calculator()

    Parameters
    ----------
    data : an ASE database (or any file of structures), a list of them, or a dict fidelity name → file(s).
        ``a.db@energy<0,converged`` and ``a.xyz@:100`` take some rows, ``*.db`` several files; a list of Atoms with
        results stands for a file. A run that goes on knows its own.
    model : "physnet-dcm" (unless given), "noneq-dcm", "aimnet2", "aimnet2-dcm" or "aimnet2-noneq-dcm"; the kind of
        ``init`` where that is given. The latter two put a head on an AIMNet2 given as ``init``.
    output : folder of the run.
    init : published name or model to start from.
    valid, test : share (< 1, 0.1 unless given) or number of systems held out; or files of their own.
    resume : go on with the run in ``output``, with its own data and options where none are given; "auto" begins it
        where there is none, for jobs that are started again. What changed (more epochs, another rate or batch size,
        added data) is written into history and ``training.yaml``; network, seed and parts stay.
    units : of labels that are not in eV, Å, e and declared nowhere, by label.
    labels : names that labels have in the files, by label: ``{"energy": "REF_energy", "forces": "REF_forces"}``.
    skip_bad : leave out rows that cannot be used, with a warning, instead of raising.
    progress : show a progress bar on stderr.
    options : of :class:`molcalc.train.config.FitConfig`, each in its part or without it.

    Returns
    -------
    folder of the run, errors of the best model and history

    Raises
    ------
    ConfigError
        For an unknown option or a value out of range, or when nothing names data.
    DatasetError
        When the data cannot be used.
    CheckpointError
        When ``output`` holds another run, is in use, or cannot be resumed.
    NonFiniteResultError
        When a loss is not finite; the last good state is kept.
    KeyboardInterrupt
        When interrupted: the state was saved, ``resume=True`` goes on.
    """
    folder = RunFolder(output)
    going_on = folder.goes_on(resume)
    named = {"data": data, "valid": valid, "test": test, "units": units, "labels": labels, "skip_bad": skip_bad}
    named |= {"model": model, "init": None if init is None else os.fspath(init)}
    its_files, its_options = separated({name: value for name, value in named.items() if value is not None})
    said = {**flat_options({**options, **its_options}), **its_files}
    files, chosen = _completed(said, folder, going_on)
    config, asked = make_config(chosen), _asked_terms(chosen)

    def prepared(processes: Processes, device: torch.device, begun: Checkpoint | None) -> Prepared[FitResult]:
        kept = KeptParts.read(folder.path / PARTS_FILE) if going_on else None
        parts = open_parts(config=config.split, kept=kept, **files)
        if config.start.init is not None:
            warn_of_leaks(parts, KeptParts.read(Path(config.start.init) / PARTS_FILE))
        check_parts(parts, config.comparison if config.loss.weights.get("esp", 0.0) > 0 else None)
        completed, trainer = prepare(config, asked, parts, folder, processes, device, begun)
        rehearse(trainer, parts)
        values, usual = completed.flat(), make_config({"model": completed.start.model}).flat()
        report = RunReport(trainer, parts, options=values, usual=usual)
        return Prepared(
            trainer,
            report,
            completed.report,
            values,
            FIXED,
            write_down=lambda: _write_down(trainer, parts, files, completed),
            conclude=lambda: _result(trainer, report),
        )

    return carry_out(folder, going_on, config.loop, prepared, progress=progress)


def _completed(said: Mapping[str, Any], folder: RunFolder, going_on: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments that name data, and options, with what a run that goes on was begun with and the kind of ``init``."""
    files, options = separated(said)
    if options.get("init") is not None and os.path.exists(options["init"]):
        options["init"] = absolute(options["init"])
    recorded = folder.path / OPTIONS_FILE
    if going_on and recorded.is_file():
        its_files, its_options = separated(read_options(recorded))
        its_options |= {**recorded_division(its_options), **recorded_loss(its_options)}
        its_init = its_options.get("init")
        if its_init is not None and absolute(options.get("init", its_init)) == absolute(its_init):
            options["init"] = its_init  # the same path, perhaps in other words
        if options.get("optimizer", its_options.get("optimizer")) != its_options.get("optimizer"):
            its_options = {key: value for key, value in its_options.items() if key not in RECOMMENDED}
        files, options = {**its_files, **files}, join_options(its_options, options)
    if "data" not in files:
        known = f"; {recorded} names none, since they were in memory" if going_on else ""
        raise ConfigError(f"no data to train on{known}: name an ASE database, or any file of structures")
    if options.get("model") is None and options.get("init") is not None:
        options["model"] = read_model(options["init"]).config.kind
    return files, options


def _asked_terms(options: Mapping[str, Any]) -> set[str]:
    """Loss terms that a user gave a weight."""
    loss = options.get("loss", {})
    return set(loss.get("weights", {}) if isinstance(loss, Mapping) else loss.weights)


def _write_down(trainer: Trainer[PotentialTask], parts: Parts, files: Mapping[str, Any], config: FitConfig) -> None:
    """Write what is needed to repeat the run: its files, options and parts, and what changed while it went on."""
    options = config.to_dict()
    for name in ("valid", "test"):
        if name in files:
            del options["split"][name]
    notes = [
        f"written by molcalc {__version__}; molcalc train --config {OPTIONS_FILE} --output FOLDER repeats this run"
    ]
    notes += [f"epoch {item['epoch']}, step {item['step']}: {item['what']}" for item in trainer.changes]
    trainer.folder.write_options({**described(files), **options}, notes)
    write_parts(trainer.folder.path / PARTS_FILE, {"train": parts.train, **parts.held_out})


def _result(trainer: Trainer[PotentialTask], report: RunReport) -> FitResult:
    """Outcome of a run that has ended; the first process reports."""
    errors = report.write() if trainer.processes.first else {}
    return FitResult(
        str(trainer.folder.path),
        {part: found.overall for part, found in errors.items()},
        {part: found.groups["fidelity"] for part, found in errors.items() if "fidelity" in found.groups},
        trainer.history,
    )
