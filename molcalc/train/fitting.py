"""Training in one call, from a database to a calculator."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from molcalc.assembly.opening import open_model
from molcalc.registry import calculator_class
from molcalc.train.config import FitConfig, flat_options, make_config
from molcalc.train.data.opening import Data
from molcalc.train.data.parts import Parts, check_parts, open_parts
from molcalc.train.loop.processes import chosen_device, joined
from molcalc.train.loop.run_folder import RunFolder
from molcalc.train.loop.trainer import Interruption, Trainer
from molcalc.train.preparation import prepare
from molcalc.train.rehearsal import rehearse
from molcalc.train.report.recording import Console, Recording
from molcalc.train.report.summary import RunReport

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FitResult:
    """Outcome of a run: its folder, errors and history.

    Attributes
    ----------
    output : folder of the run, which is a model directory.
    metrics : by part ("valid", "test"), by property: ``mae``, ``rmse`` and ``n`` in eV, eV/Å, e·Å, e, V.
    history : one dict for every validation.
    """

    output: str
    metrics: dict[str, dict[str, dict[str, float]]]
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


def fit(
    data: Data,
    model: str | None = None,
    *,
    output: str | os.PathLike[str],
    init: str | os.PathLike[str] | None = None,
    valid: float | Data | None = None,
    test: float | Data | None = None,
    resume: bool = False,
    units: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    skip_bad: bool = False,
    progress: bool = True,
    **options: Any,
) -> FitResult:
    """Train a potential.

    >>> result = fit("co2.db", "physnet-dcm", output="runs/co2")
    >>> atoms.calc = result.calculator()

    Parameters
    ----------
    data : an ASE database (or any file of structures), a list of them, or a dict fidelity name → file(s).
    model : "physnet-dcm" (unless given), "noneq-dcm" or "aimnet2".
    output : folder of the run.
    init : published name or model to start from.
    valid, test : share (< 1, 0.1 unless given) or number of systems held out; or files of their own.
    resume : go on with an interrupted run in ``output``.
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
        For an unknown option or a value out of range.
    DatasetError
        When the data cannot be used.
    CheckpointError
        When ``output`` holds another run, is in use, or cannot be resumed.
    NonFiniteResultError
        When a loss is not finite; the last good state is kept.
    KeyboardInterrupt
        When interrupted: the state was saved, ``resume=True`` goes on.
    """
    given: dict[str, Any] = {"model": model, "init": None if init is None else os.fspath(init)}
    files: dict[str, Data] = {}
    for name, part in (("valid", valid), ("test", test)):
        if part is None or isinstance(part, (int, float)):
            given[name] = part
        else:
            files[name] = part
    said = {**options, **{name: value for name, value in given.items() if value is not None}}
    config, asked = make_config(said), _asked_terms(said)
    device = chosen_device(config.loop.device)
    folder = RunFolder(output)
    if not resume:
        folder.check_new()
    with _threads(config.loop.threads), joined(device, config.loop.dist_timeout) as processes:
        parts = open_parts(
            data,
            config.split,
            seed=config.seed,
            valid=files.get("valid"),
            test=files.get("test"),
            units=units,
            labels=labels,
            skip_bad=skip_bad,
        )
        check_parts(parts, config.comparison if config.loss.weights.get("esp", 0.0) > 0 else None)
        config, trainer = prepare(config, asked, parts, folder, processes, device)
        rehearse(trainer, parts)
        with folder.owned() if processes.first else contextlib.nullcontext():
            if not resume and processes.first:
                folder.check_new()
            try:
                _begin(trainer, config, resume)
                return _run(trainer, parts, config, progress and processes.first)
            except Exception:
                if not resume and processes.first and not trainer.progress.step:
                    folder.withdraw()
                raise


def _asked_terms(options: Mapping[str, Any]) -> set[str]:
    """Loss terms that a user gave a weight."""
    loss = flat_options(options).get("loss", {})
    return set(loss.get("weights", {}) if isinstance(loss, Mapping) else loss.weights)


def _begin(trainer: Trainer, config: FitConfig, resume: bool) -> None:
    """Bring a trainer to the position where the last run stopped, or write down that a new one begins."""
    folder = trainer.folder
    if resume:
        model, state = folder.load_last()
        trainer.restore(model.weights, state)
        log.info("resumed at epoch %d, step %d", trainer.progress.epoch, trainer.progress.step)
    elif trainer.processes.first:
        folder.write_options(config.to_dict())
        trainer.save_last()  # shows before any work that the disk takes it


def _run(trainer: Trainer, parts: Parts, config: FitConfig, progress: bool) -> FitResult:
    """Train to the end, and report."""
    options, usual = config.flat(), make_config({"model": config.start.model}).flat()
    report = RunReport(trainer, parts, options=options, usual=usual)
    console = Console(trainer, progress)
    interruption = Interruption()
    with _signals(interruption) as received, console, Recording(config.report, trainer, report, options) as record:
        finished = trainer.run(interruption, console.update, record)
    if not finished:
        log.warning(
            "interrupted at epoch %d, step %d; saved. Go on with resume=True (--resume) and the same options",
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
    return FitResult(str(trainer.folder.path), {part: found.overall for part, found in errors.items()}, trainer.history)


@contextlib.contextmanager
def _threads(wanted: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    if wanted is not None:
        torch.set_num_threads(wanted)
    try:
        yield
    finally:
        torch.set_num_threads(before)


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
