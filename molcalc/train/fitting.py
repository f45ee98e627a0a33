"""Training from a database to a calculator, in one call."""

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
from molcalc.errors import ConfigError
from molcalc.io import checkpoint
from molcalc.registry import calculator_class
from molcalc.train.config import FitConfig, make_config
from molcalc.train.data.contradictions import check_charges, warn_of_doubtful_derivatives
from molcalc.train.data.opening import Data
from molcalc.train.loop.console import Console
from molcalc.train.loop.esp_mask import check_points
from molcalc.train.loop.observers import Observers
from molcalc.train.loop.processes import Processes, joined
from molcalc.train.loop.run_folder import RunFolder
from molcalc.train.loop.trainer import Interruption, Trainer
from molcalc.train.report.evaluation import evaluate_part
from molcalc.train.report.summary import write_summary
from molcalc.train.start.preparation import Parts, make_trainer, open_parts

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FitResult:
    """What a run ended with.

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
        """
        model = open_model(self.output)
        return calculator_class(model.config.kind)(model, **options)


def fit(
    data: Data,
    model: str = "physnet-dcm",
    *,
    output: str | os.PathLike[str],
    init: str | os.PathLike[str] | None = None,
    valid: float | Data = 0.1,
    test: float | Data = 0.1,
    resume: bool = False,
    units: Mapping[str, str] | None = None,
    skip_bad: bool = False,
    progress: bool = True,
    **config: Any,
) -> FitResult:
    """Train a potential.

    >>> result = fit("co2.db", "physnet-dcm", output="runs/co2")
    >>> atoms.calc = result.calculator()

    Parameters
    ----------
    data : an ASE database (or any file of structures), a list of them, or a dict fidelity name → file(s).
    model : "physnet-dcm", "noneq-dcm" or "aimnet2".
    output : folder of the run.
    init : published name or model to start from.
    valid, test : share (< 1) or number of systems held out; or files of their own.
    resume : go on with an interrupted run in ``output``.
    units : of labels that are not in eV, Å, e and declared nowhere, by label.
    skip_bad : leave out rows that cannot be used, with a warning, instead of raising.
    progress : show a progress bar on stderr.
    config : options of :class:`molcalc.train.config.FitConfig`.

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
    options: dict[str, Any] = {**config, "model": model}
    if init is not None:
        options["init"] = os.fspath(init)
    held_out: dict[str, Data] = {}
    for name, value in (("valid", valid), ("test", test)):
        if isinstance(value, (int, float)):
            options[name] = float(value)
        else:
            held_out[name] = value
    typed = make_config(options)
    asked = set(dict(config.get("loss") or {}).get("weights") or {})
    device = _device(typed)
    with _threads(typed.threads), joined(device, typed.dist_timeout) as processes:
        parts = open_parts(data, typed, held_out.get("valid"), held_out.get("test"), units or {}, skip_bad)
        _check(parts, typed)
        folder = RunFolder(output)
        with folder.owned() if processes.first else contextlib.nullcontext():
            trainer = _prepared(typed, asked, parts, folder, processes, device, resume)
            return _run(trainer, parts, progress and processes.first)


def _check(parts: Parts, config: FitConfig) -> None:
    """Refuse labels that contradict each other, and points that cannot be learned from."""
    for part in (parts.train, parts.valid, parts.test):
        check_charges(part)
    warn_of_doubtful_derivatives(parts.train)
    if config.loss.weights.get("esp", 0.0) > 0:
        check_points(parts.train, config.esp_radius_factor, config.esp_max)


def _prepared(
    config: FitConfig,
    asked: set[str],
    parts: Parts,
    folder: RunFolder,
    processes: Processes,
    device: torch.device,
    resume: bool,
) -> Trainer:
    """A trainer at its first step, or where the last run stopped."""
    if not resume and processes.first:
        folder.check_new()
    trainer = make_trainer(config, asked, parts, folder, processes, device)
    if resume:
        model, state = folder.load_last()
        trainer.restore(model.weights, state)
        log.info("resumed at epoch %d, step %d", trainer.progress.epoch, trainer.progress.step)
    elif processes.first:
        folder.write_options(trainer.config.to_dict())
        trainer.save_last()  # shows before any work that the disk takes it
    return trainer


def _run(trainer: Trainer, parts: Parts, progress: bool) -> FitResult:
    console = Console(trainer, progress)
    interruption = Interruption()
    with _signals(interruption) as received, console, Observers(trainer) as observe:
        finished = trainer.run(interruption, console.update, observe)
    if not finished:
        log.warning(
            "interrupted at epoch %d, step %d; saved. Go on with resume=True (--resume) and the same options",
            trainer.progress.epoch, trainer.progress.step,
        )  # fmt: skip
        signal.raise_signal(received[0] if received else signal.SIGINT)
        raise KeyboardInterrupt
    metrics = {}
    if trainer.processes.first:
        best = checkpoint.load(trainer.folder.path)
        for name, part in (("valid", parts.valid), ("test", parts.test)):
            if len(part):
                metrics[name] = evaluate_part(best, part, trainer.config)
        write_summary(trainer, parts, metrics)
    tables = {name: table.overall for name, table in metrics.items()}
    return FitResult(str(trainer.folder.path), tables, trainer.history)


def _device(config: FitConfig) -> torch.device:
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device='cuda', but torch finds no GPU: use 'cpu' or 'auto'")
    name = config.device if config.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


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
