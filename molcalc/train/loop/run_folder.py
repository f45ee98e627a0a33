"""The folder of a run: the best model itself, and what is needed to go on.

``config.json``, ``weights.safetensors``
    the best model so far, averaged weights: the folder is a model directory.
``last/``
    the present weights, averaged weights and the whole state of training.
``top/``
    further good models, when asked for.
``training.yaml``, ``parts.csv``
    files and options, and which row is in which part: what is needed to repeat the run.
``history.csv``, ``history.jsonl``
    one row for every validation.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
import yaml

from molcalc.errors import (
    CheckpointCorruptError,
    CheckpointMismatchError,
    ConfigError,
    InputError,
    MissingFileError,
    ResourceError,
)
from molcalc.io import checkpoint
from molcalc.io.checkpoint import Checkpoint
from molcalc.io.files import write_atomic
from molcalc.io.locks import only_writer
from molcalc.io.targets import check_not_file
from molcalc.train.loop.state_upgrades import OLDEST_STATE, STATE_VERSION

STATE = "training_state.pt"
OPTIONS_FILE, PARTS_FILE = "training.yaml", "parts.csv"
HISTORY = ("history.csv", "history.jsonl")
WRITTEN = (
    OPTIONS_FILE,
    PARTS_FILE,
    *HISTORY,
    checkpoint.WEIGHTS,
    "report.md",
    "report.html",
    "wandb_id",
    "plots",
    "tensorboard",
    "last",
    "top",
)
"""Files and folders that a run writes, beside its configuration; a new one replaces none of something else."""
LOCK = ".lock"


class RunFolder:
    """Folder of one run: reads and writes its files."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if not os.fspath(path):
            raise ConfigError("output='' names no folder; '.' is the present one")
        self.path = Path(path)
        self.last, self.top = self.path / "last", self.path / "top"

    @property
    def started(self) -> bool:
        """Whether a run can be resumed here."""
        return self.last.is_dir() and any(self.last.glob(checkpoint.CONFIG + "*"))

    @property
    def can_be_repeated(self) -> bool:
        """Whether options and parts are written down; not of a run that was killed before."""
        return all((self.path / name).is_file() for name in (OPTIONS_FILE, PARTS_FILE))

    @contextlib.contextmanager
    def owned(self) -> Iterator[None]:
        """Keep other runs out, and clear up what a killed one left; the lock ends with the process, however it dies.

        Raises
        ------
        InUseError
            When another process trains in this folder.
        ResourceError
            When the folder cannot be written: before any work is done.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ResourceError(
                f"cannot write to {self.path}: {error.strerror or error}; choose another output"
            ) from error
        with only_writer(self.path, lock=self.path / LOCK):
            for folder in (self.path, self.last):
                if folder.is_dir():
                    checkpoint.tidy(folder)
            yield

    def check_new(self) -> None:
        """Refuse to train over something else; a run that never made a step is begun anew.

        Raises
        ------
        InputError
        """
        check_not_file(self.path, "a run")
        if self.started and self.load_last()[1]["progress"]["step"] == 0:
            return
        if self.started or (self.path / checkpoint.CONFIG).exists():
            raise InputError(
                f"{self.path} holds a run already: resume it (resume=True, --resume), or choose another output"
            )
        found = [name for name in WRITTEN if (self.path / name).exists()]
        if found == [self.last.name] and self._never_saved():
            return
        if found:
            raise InputError(
                f"{self.path} holds {', '.join(found)} of something else, which the run would write over: move "
                f"{'it' if len(found) == 1 else 'them'} away, or choose another output"
            )

    def _never_saved(self) -> bool:
        """Whether there is only what the first save of a run leaves when it is killed."""
        return self.last.is_dir() and all(checkpoint.is_unfinished(name) for name in os.listdir(self.last))

    def goes_on(self, resume: bool | Literal["auto"]) -> bool:
        """Whether a run with this argument goes on with the one in the folder.

        Parameters
        ----------
        resume : "auto" goes on where there is a run.

        Returns
        -------
        whether it goes on, or begins

        Raises
        ------
        ConfigError
            For another argument.
        MissingFileError
            When there is nothing to go on with.
        """
        if resume not in (True, False, "auto"):
            raise ConfigError(f"resume={resume!r}; expected True, False or 'auto'")
        if resume == "auto":
            return self.started
        if resume:
            self.check_started()
        return bool(resume)

    def check_started(self) -> None:
        """Refuse to go on where there is nothing to go on with.

        Raises
        ------
        MissingFileError
        """
        if not self.started:
            raise MissingFileError(f"{self.path} holds no run to resume: {self.last} is missing; start without resume")

    def withdraw(self) -> None:
        """Remove what a run wrote that never took a step, so that the corrected one may begin here."""
        shutil.rmtree(self.last, ignore_errors=True)
        for name in (OPTIONS_FILE, PARTS_FILE, *HISTORY, checkpoint.CONFIG, checkpoint.WEIGHTS, LOCK):
            (self.path / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # there is something of others in it
            self.path.rmdir()

    def save_last(self, model: Checkpoint, state: Mapping[str, Any]) -> None:
        """Replace the resumable state in one step."""
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        checkpoint.save(self.last, model, extra={STATE: buffer.getvalue()})

    def load_last(self) -> tuple[Checkpoint, dict[str, Any]]:
        """The resumable state.

        Returns
        -------
        model : configuration and weights.
        state : everything beside them, as :meth:`molcalc.train.loop.trainer.Trainer.state` gives it.

        Raises
        ------
        FileNotFoundError
            When there is none.
        CheckpointCorruptError, CheckpointMismatchError
            When it is damaged or of another version.
        """
        self.check_started()
        model, files = checkpoint.load_with(self.last, (STATE,))
        try:
            state = torch.load(io.BytesIO(files[STATE]), map_location="cpu", weights_only=True)
        except Exception as error:
            raise CheckpointCorruptError(f"{self.last / STATE} cannot be read: {error}") from error
        if not isinstance(state, dict) or not OLDEST_STATE <= state.get("version", 0) <= STATE_VERSION:
            raise CheckpointMismatchError(
                f"{self.last / STATE} was written by another version of molcalc, and its run cannot go on: start a new "
                f"run with init={str(self.path)!r}, which holds its best model"
            )
        return model, state

    def save_best(self, model: Checkpoint) -> None:
        """Replace the model that calculators open."""
        checkpoint.save(self.path, model)

    def save_top(self, model: Checkpoint, name: str) -> None:
        """Add one of the further good models."""
        checkpoint.save(self.top / name, model)

    def drop_top(self, name: str) -> None:
        """Delete one of the further good models of this run, if a killed process has not done so before."""
        if (self.top / name).is_dir():
            shutil.rmtree(self.top / name)

    def write_options(self, options: Mapping[str, Any], notes: Sequence[str]) -> None:
        """Write files and options of the run as YAML.

        Parameters
        ----------
        notes : lines of comment above them.
        """
        text = yaml.safe_dump(_plain(options), sort_keys=False, allow_unicode=True)
        comments = "".join(f"# {' '.join(note.split())}\n" for note in notes)
        write_atomic(self.path / OPTIONS_FILE, (comments + text).encode())

    def read_history(self) -> list[dict[str, Any]]:
        """What :meth:`write_history` wrote; nothing of a folder that is no run."""
        file = self.path / HISTORY[1]
        if not file.is_file():
            return []
        try:
            return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        except ValueError as error:
            raise CheckpointCorruptError(f"{file} is damaged: {error}") from error

    def write_history(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write all validations as CSV and as one JSON object per line."""
        names: dict[str, None] = {}
        for row in rows:
            names.update(dict.fromkeys(row))
        table = io.StringIO()
        writer = csv.DictWriter(table, list(names), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_atomic(self.path / HISTORY[0], table.getvalue().encode())
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_atomic(self.path / HISTORY[1], lines.encode())


def _plain(value: Any) -> Any:
    """Tuples as lists, for YAML."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
