"""A run that is looked at again, as it would go on: nothing is trained or written unless it is told to."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from pathlib import Path

from molcalc.errors import MissingFileError
from molcalc.train.config import make_config, read_options
from molcalc.train.data.kept_parts import KeptParts
from molcalc.train.data.parts import open_parts
from molcalc.train.loop.feeding import fed
from molcalc.train.loop.potential_task import PotentialTask
from molcalc.train.loop.processes import Processes, chosen_device
from molcalc.train.loop.run_folder import OPTIONS_FILE, PARTS_FILE, RunFolder
from molcalc.train.loop.trainer import Trainer
from molcalc.train.preparation import prepare
from molcalc.train.run_data import separated

READY_BATCHES = 8
"""Batches that are made ready for :func:`training_step`."""


def reopened(path: Path) -> Trainer[PotentialTask]:
    """The trainer of a run, with its present weights, data and options.

    Parameters
    ----------
    path : folder of the run.

    Returns
    -------
    trainer; its optimizer remembers nothing

    Raises
    ------
    MissingFileError
        When the folder holds no run that could go on.
    DatasetError, ConfigError, CheckpointError
        When its data, options or weights cannot be used any more.
    """
    folder = RunFolder(path)
    if not folder.started or not folder.can_be_repeated:
        raise MissingFileError(
            f"{path} holds no run, which would have {folder.last.name}, {OPTIONS_FILE}, {PARTS_FILE}"
        )
    files, options = separated(read_options(path / OPTIONS_FILE))
    if "data" not in files:
        raise MissingFileError(f"{path / OPTIONS_FILE} names no data: they were in memory")
    config = make_config(options)
    parts = open_parts(config=config.split, kept=KeptParts.read(path / PARTS_FILE), **files)
    device = chosen_device(config.loop.device)
    return prepare(config, set(), parts, folder, Processes(), device, folder.load_last()[0])[1]


def training_step(path: Path) -> Callable[[], None]:
    """One update of the weights of a run, in memory: batches are ready, and come one after the other.

    Parameters
    ----------
    path : folder of the run.

    Returns
    -------
    function that makes the next update

    Raises
    ------
    MissingFileError, DatasetError, ConfigError, CheckpointError
        As :func:`reopened` tells.
    """
    trainer = reopened(path)
    batches = trainer.sampler.epoch(0)
    chosen = batches[:READY_BATCHES]
    ready = cycle([(chosen[k], parts) for k, parts in fed(trainer.task.parts, chosen, epoch=0, start=0)])

    def step() -> None:
        trainer.step(*next(ready))

    return step
