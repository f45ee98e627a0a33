"""The course of a run in TensorBoard or Weights & Biases (extra ``track``)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from molcalc.errors import ConfigError

INSTALL_TRACK = "pip install 'molcalc[track]'"
PROJECT = "molcalc"
TRACKERS = ("tensorboard", "wandb")


class Tracker(Protocol):
    """Tracker of a run, which takes every validation's row of the history."""

    def log(self, row: Mapping[str, Any]) -> None:
        """Record one row; its ``step`` is the horizontal axis."""

    def close(self) -> None:
        """Write everything to disk."""


class NoTracker:
    """Tracker that records nothing."""

    def log(self, row: Mapping[str, Any]) -> None:
        pass

    def close(self) -> None:
        pass


def open_tracker(kind: str | None, folder: Path, step: int, options: Mapping[str, Any]) -> Tracker:
    """Records of a run, as ``track`` asks for them.

    Parameters
    ----------
    kind : one of :data:`TRACKERS`, or None.
    folder : of the run.
    step : present position of the run; older records are continued from there.
    options : of the run, as they are shown beside the records.

    Returns
    -------
    a tracker; one that records nothing without ``kind``.

    Raises
    ------
    ConfigError
        When the package is not installed.
    """
    if kind is None:
        return NoTracker()
    if kind == "tensorboard":
        return TensorBoard(folder, resumed_at=step or None)
    return WandB(folder, options)


class TensorBoard:
    """Event files in ``RUN/tensorboard``; look with ``tensorboard --logdir RUN``.

    Parameters
    ----------
    resumed_at : step from which on older records are replaced.
    """

    def __init__(self, folder: Path, resumed_at: int | None = None) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise _missing("tensorboard", error) from error
        self._writer: Any = SummaryWriter(str(folder / "tensorboard"), purge_step=resumed_at)

    def log(self, row: Mapping[str, Any]) -> None:
        for name, value in _numbers(row).items():
            self._writer.add_scalar(_group(name), value, int(row["step"]))
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class WandB:
    """A run of Weights & Biases named after the folder; offline unless WANDB_MODE or a login says otherwise.

    Parameters
    ----------
    options : of the run, as they are shown there.
    """

    def __init__(self, folder: Path, options: Mapping[str, Any]) -> None:
        try:
            import wandb
        except ImportError as error:
            raise _missing("wandb", error) from error
        logged_in = bool(os.environ.get("WANDB_API_KEY") or wandb.api.api_key)
        self._run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=folder.name,
            id=hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16],
            resume="allow",
            dir=str(folder),
            config=dict(options),
            mode=os.environ.get("WANDB_MODE") or ("online" if logged_in else "offline"),
        )

    def log(self, row: Mapping[str, Any]) -> None:
        self._run.log({_group(name): value for name, value in _numbers(row).items()}, step=int(row["step"]))

    def close(self) -> None:
        self._run.finish()


def _missing(package: str, error: ImportError) -> ConfigError:
    return ConfigError(
        f"track={package!r} needs the package {package}, which cannot be imported ({error}): {INSTALL_TRACK}"
    )


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    """What can be drawn of a row."""
    return {name: float(value) for name, value in row.items() if isinstance(value, (int, float)) and name != "step"}


def _group(name: str) -> str:
    """Losses and errors in groups of their own: "loss/train_loss", "validation/energy_mae"."""
    if name.endswith("loss") or name.startswith("train_"):
        return f"loss/{name}"
    return f"validation/{name}" if name.endswith(("_mae", "_rmse")) else f"run/{name}"
