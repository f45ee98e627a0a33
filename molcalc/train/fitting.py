"""Training in one call, from a database to a calculator."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from molcalc._version import __version__
from molcalc.assembly.opening import open_model
from molcalc.errors import ConfigError
from molcalc.pretrained.sources import read_model
from molcalc.registry import calculator_class
from molcalc.surroundings import own_settings
from molcalc.train.config import FitConfig, flat_options, join_options, make_config, read_options
from molcalc.train.continuation import OF_BATCHES, OF_SCORES, RECOMMENDED, changes_of, told_of, touches
from molcalc.train.data.kept_parts import KeptParts, write_parts
from molcalc.train.data.opening import Data
from molcalc.train.data.parts import Parts, check_parts, open_parts, recorded_division, warn_of_leaks
from molcalc.train.loop.losses import recorded_loss
from molcalc.train.loop.processes import chosen_device, joined
from molcalc.train.loop.run_folder import OPTIONS_FILE, PARTS_FILE, RunFolder
from molcalc.train.loop.state_upgrades import upgraded
from molcalc.train.loop.trainer import Interruption, Trainer
from molcalc.train.preparation import prepare
from molcalc.train.rehearsal import rehearse
from molcalc.train.report.recording import Console, Recording
from molcalc.train.report.summary import RunReport
from molcalc.train.run_data import absolute, described, separated

log = logging.getLogger(__name__)


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
    if resume not in (True, False, "auto"):
        raise ConfigError(f"resume={resume!r}; expected True, False or 'auto'")
    folder = RunFolder(output)
    going_on = folder.started if resume == "auto" else bool(resume)
    if going_on:
        folder.check_started()
    named = {"data": data, "valid": valid, "test": test, "units": units, "labels": labels, "skip_bad": skip_bad}
    named |= {"model": model, "init": None if init is None else os.fspath(init)}
    its_files, its_options = separated({name: value for name, value in named.items() if value is not None})
    said = {**flat_options({**options, **its_options}), **its_files}
    files, chosen = _completed(said, folder, going_on)
    config, asked = make_config(chosen), _asked_terms(chosen)
    device = chosen_device(config.loop.device)
    interruption = Interruption()
    with contextlib.ExitStack() as stack:
        stack.enter_context(_saving_signal(interruption))
        stack.enter_context(_process_settings(config.loop.threads))
        processes = stack.enter_context(joined(device, config.loop.dist_timeout))
        if processes.first:
            if going_on:
                stack.enter_context(folder.owned())
            else:
                folder.check_new()
        begun = folder.load_last() if going_on else None
        parts = open_parts(
            files["data"],
            config.split,
            valid=files.get("valid"),
            test=files.get("test"),
            units=files.get("units"),
            labels=files.get("labels"),
            skip_bad=files.get("skip_bad", False),
            kept=KeptParts.read(folder.path / PARTS_FILE) if going_on else None,
        )
        if config.start.init is not None:
            warn_of_leaks(parts, KeptParts.read(Path(config.start.init) / PARTS_FILE))
        check_parts(parts, config.comparison if config.loss.weights.get("esp", 0.0) > 0 else None)
        config, trainer = prepare(config, asked, parts, folder, processes, device, None if begun is None else begun[0])
        rehearse(trainer, parts)
        if processes.first and begun is None:
            stack.enter_context(folder.owned())
            folder.check_new()
        try:
            if begun is None:
                trainer.save_last()  # shows before any work that the disk takes it
            changed = begun is None or _go_on(trainer, begun[1])
            options, usual = config.flat(), make_config({"model": config.start.model}).flat()
            report = RunReport(trainer, parts, options=options, usual=usual)
            # A tracker may refuse its options: then the run keeps those that it was begun with.
            with Recording(config.report, trainer, report, options) as record:
                if processes.first and (changed or not folder.can_be_repeated):
                    _write_down(trainer, parts, files, config)
                return _run(trainer, report, record, interruption, progress and processes.first)
        except Exception:
            if begun is None and processes.first and not trainer.progress.step:
                folder.withdraw()
            raise


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


def _go_on(trainer: Trainer, saved: Mapping[str, Any]) -> bool:
    """Bring a trainer to the position where the last run stopped; returns whether something changed."""
    optimizer = trainer.optimizer
    state = upgraded(saved, optimizer.names(), [type(each).__name__ for each in optimizer.optimizers])
    changes = changes_of(state["identity"], trainer.identity, trainer.folder.path)
    told = told_of(changes)
    trainer.restore(state, told)
    log.info("resumed at epoch %d, step %d", trainer.progress.epoch, trainer.progress.step)
    for change in told:
        log.info("changed: %s", change)
    if touches(changes, OF_BATCHES):
        trainer.begin_epoch_anew()
    if touches(changes, OF_SCORES):
        trainer.judge_again()
    if trainer.progress.epoch >= trainer.config.epochs:
        log.warning(
            "the run has made %d epochs, and %d are asked for: nothing is left to train; give more epochs to go on",
            trainer.progress.epoch, trainer.config.epochs,
        )  # fmt: skip
    return bool(changes)


def _write_down(trainer: Trainer, parts: Parts, files: Mapping[str, Any], config: FitConfig) -> None:
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


def _run(
    trainer: Trainer, report: RunReport, record: Recording, interruption: Interruption, progress: bool
) -> FitResult:
    """Train to the end, and report."""
    console = Console(trainer, progress)
    with _signals(interruption) as received, console:
        finished = trainer.run(interruption, console.update, record)
    if not finished:
        log.warning(
            "interrupted at epoch %d, step %d; saved. Go on with resume=True (--resume)",
            trainer.progress.epoch, trainer.progress.step,
        )  # fmt: skip
        signal.raise_signal(received[0] if received else signal.SIGINT)
        raise KeyboardInterrupt
    best = min(trainer.history, key=lambda row: row["valid_score"], default=None)
    if best is not None and best["step"] == 0:
        log.warning(
            "no epoch was better on the validation part than the weights that the run started from: they are kept"
        )
    errors = report.write() if trainer.processes.first else {}
    return FitResult(
        str(trainer.folder.path),
        {part: found.overall for part, found in errors.items()},
        {part: found.groups["fidelity"] for part, found in errors.items() if "fidelity" in found.groups},
        trainer.history,
    )


@contextlib.contextmanager
def _process_settings(wanted: int | None) -> Iterator[None]:
    """Settings of the whole process while it trains: threads, and the dtype in which weights are drawn."""
    before, dtype = torch.get_num_threads(), torch.get_default_dtype()
    if wanted is not None:
        torch.set_num_threads(wanted)
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.set_default_dtype(dtype)


@contextlib.contextmanager
def _signals(interruption: Interruption) -> Iterator[list[int]]:
    """Ask for a stop at the first SIGINT or SIGTERM; the second one acts as before."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    before: dict[int, Any] = {}

    def handle(number: int, frame: Any) -> None:
        interruption.requested = True
        received.append(number)
        signal.signal(number, before[number])

    for number in (signal.SIGINT, signal.SIGTERM):
        before[int(number)] = signal.signal(number, handle)
    try:
        yield received
    finally:
        for previous, handler in before.items():
            signal.signal(previous, handler)


@contextlib.contextmanager
def _saving_signal(interruption: Interruption) -> Iterator[None]:
    """Ask for a save at SIGUSR1, which would end a process that does not expect it; before the first step it waits."""
    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: Any) -> None:
        interruption.saving = True

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)
