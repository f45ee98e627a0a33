"""A run of training in its folder, whatever is learned: begun or gone on with, watched, interrupted, recorded."""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch

from molcalc.io.checkpoint import Checkpoint
from molcalc.train.continuation import OF_BATCHES, OF_SCORES, Kept, changes_of, told_of, touches
from molcalc.train.loop.loop_config import LoopConfig
from molcalc.train.loop.processes import Processes, chosen_device, joined
from molcalc.train.loop.run_folder import RunFolder
from molcalc.train.loop.state_upgrades import upgraded
from molcalc.train.loop.trainer import Interruption, Trainer
from molcalc.train.report.recording import Console, Recording, ReportConfig, UpdatedReport

ResultT = TypeVar("ResultT")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared(Generic[ResultT]):
    """A run before its first step.

    Attributes
    ----------
    trainer : of the run.
    report : updated while it goes on, where its configuration says so.
    recording : pictures and records.
    options : of the run by key, as a tracker shows them.
    kept : what does not change when the run goes on.
    write_down : writes what is needed to repeat the run into its folder.
    conclude : what is done at the end, in every process, while the folder is still owned; gives the result.
    """

    trainer: Trainer[Any]
    report: UpdatedReport
    recording: ReportConfig
    options: Mapping[str, Any]
    kept: Kept
    write_down: Callable[[], None]
    conclude: Callable[[], ResultT]


def carry_out(
    folder: RunFolder,
    going_on: bool,
    loop: LoopConfig,
    prepare: Callable[[Processes, torch.device, Checkpoint | None], Prepared[ResultT]],
    *,
    progress: bool,
) -> ResultT:
    """Make or continue a run, to its end.

    Parameters
    ----------
    going_on : whether the folder has a run that goes on.
    prepare : makes the trainer for the processes and the device; with the present weights of a run that goes on.
    progress : show a bar on stderr.

    Returns
    -------
    result of the run

    Raises
    ------
    CheckpointError
        When the folder holds another run, is in use, or cannot be resumed.
    NonFiniteResultError
        When a loss is not finite; the last good state is kept.
    KeyboardInterrupt
        When interrupted: the state was saved.
    """
    device = chosen_device(loop.device)
    interruption = Interruption()
    with contextlib.ExitStack() as stack:
        stack.enter_context(_saving_signal(interruption))
        stack.enter_context(_process_settings(loop.threads))
        processes = stack.enter_context(joined(device, loop.dist_timeout))
        if processes.first:
            if going_on:
                stack.enter_context(folder.owned())
            else:
                folder.check_new()
        begun = folder.load_last() if going_on else None
        prepared = prepare(processes, device, None if begun is None else begun[0])
        trainer = prepared.trainer
        if processes.first and begun is None:
            stack.enter_context(folder.owned())
            folder.check_new()
        try:
            if begun is None:
                trainer.save_last()  # shows before any work that the disk takes it
            changed = begun is None or _go_on(trainer, begun[1], prepared.kept)
            # A tracker may refuse its options: then the run keeps those that it was begun with.
            with Recording(prepared.recording, trainer, prepared.report, prepared.options) as record:
                if processes.first and (changed or not folder.can_be_repeated):
                    prepared.write_down()
                _train(trainer, record, interruption, progress and processes.first)
                return prepared.conclude()
        except Exception:
            if begun is None and processes.first and not trainer.progress.step:
                folder.withdraw()
            raise


def _go_on(trainer: Trainer[Any], saved: Mapping[str, Any], kept: Kept) -> bool:
    """Bring a trainer to the position where the last run stopped; returns whether something changed."""
    optimizer = trainer.optimizer
    state = upgraded(saved, optimizer.names(), [type(each).__name__ for each in optimizer.optimizers])
    changes = changes_of(state["identity"], trainer.identity, trainer.folder.path, kept)
    told = told_of(changes)
    trainer.restore(state, told)
    log.info("resumed at epoch %d, step %d", trainer.progress.epoch, trainer.progress.step)
    for change in told:
        log.info("changed: %s", change)
    if touches(changes, OF_BATCHES):
        trainer.begin_epoch_anew()
    if touches(changes, OF_SCORES | kept.of_scores):
        trainer.judge_again()
    if trainer.progress.epoch >= trainer.config.epochs:
        log.warning(
            "the run has made %d epochs, and %d are asked for: nothing is left to train; give more epochs to go on",
            trainer.progress.epoch, trainer.config.epochs,
        )  # fmt: skip
    return bool(changes)


def _train(trainer: Trainer[Any], record: Recording, interruption: Interruption, progress: bool) -> None:
    """Train to the end."""
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
