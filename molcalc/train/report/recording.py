"""The course of a run while it goes on: a progress bar, pictures, TensorBoard or Weights & Biases (extra ``track``)."""

from __future__ import annotations

import logging
import os
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Protocol

from molcalc.errors import ConfigError, short
from molcalc.io.files import write_atomic
from molcalc.io.schema import Choice, Count, check_fields
from molcalc.progress import progress_bar
from molcalc.properties import LABELS
from molcalc.train.loop.trainer import Trainer

log = logging.getLogger(__name__)

_CURES = {
    "tensorboard": "correct track_options, or leave out track",
    "wandb": "correct track_options, record without a network (mode: offline), or leave out track",
}
INSTALL_TRACK = "pip install 'molcalc[track]'"
PROJECT = "molcalc"
WANDB_ID = "wandb_id"
_ERROR = re.compile(rf"(.+_)?({'|'.join(LABELS)})_(mae|rmse)")
TRACKERS = ("tensorboard", "wandb")
BAR_ERRORS = {"energy_mae": ("E", 1e3, "meV"), "forces_mae": ("F", 1e3, "meV/Å"), "dipole_mae": ("D", 1e3, "me·Å"),
         "esp_rmse": ("ESP", 1e3, "mV"), "charges_mae": ("q", 1e3, "me")}  # fmt: skip
"""Errors of the last validation: label, factor and unit."""


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """Pictures and records of a run.

    Attributes
    ----------
    plots : draw pictures of errors at the end of the run; needs matplotlib (extra ``plot``).
    plot_every : validations between two updates of the plots; None draws them at the end only.
    track : "tensorboard" or "wandb": also log every validation there.
    track_options : of the tracker: of ``wandb.init`` (project, entity, name, id, tags, mode, …) or of TensorBoard's
        ``SummaryWriter`` (log_dir, comment, …).
    """

    plots: bool = True
    plot_every: Count | None = None
    track: Annotated[str, Choice(TRACKERS)] | None = None
    track_options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_fields(self)
        if self.track_options and self.track is None:
            raise ValueError(f"track_options are for a tracker: give track as well ({' or '.join(TRACKERS)})")


class UpdatedReport(Protocol):
    """Report of a run, which may be asked for before the end."""

    def update(self) -> None:
        """Write the report of the present averaged weights."""


class Recording:
    """Recording of a run, to be called with the trainer after every validation, in every process; the first one writes.

    A failure (a network that is gone, a disk that is full) is reported and ends the recording, not the run.

    Parameters
    ----------
    report : of the same run, which is updated when it is time.
    options : of the run, as a tracker shows them.

    Raises
    ------
    ConfigError
        When what ``track`` asks for is not installed.
    """

    def __init__(
        self, config: ReportConfig, trainer: Trainer[Any], report: UpdatedReport, options: Mapping[str, Any]
    ) -> None:
        track = config.track if trainer.processes.first else None
        settings = config.track_options
        self._tracker = open_tracker(track, trainer.folder.path, trainer.progress.step, options, settings)
        self._plot_every, self._report = config.plot_every, report
        self._failed = False

    def __enter__(self) -> Recording:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._attempt(self._tracker.close)

    def __call__(self, trainer: Trainer[Any]) -> None:
        """Log the last row of the history; update report and pictures when it is time."""
        if self._failed or not trainer.processes.first:
            return
        self._attempt(lambda: self._tracker.log(trainer.history[-1]))
        if self._plot_every is not None and len(trainer.history) % self._plot_every == 0:
            self._attempt(self._report.update)

    def _attempt(self, action: Callable[[], object]) -> None:
        try:
            action()
        except Exception as error:  # trackers raise classes of their own and of what they are made of
            self._failed = True
            log.warning("recording the run stops here, training goes on: %s: %s", type(error).__name__, error)


class Console:
    """Progress bar over all steps of a run.

    Parameters
    ----------
    visible : whether to show anything.
    """

    def __init__(self, trainer: Trainer[Any], visible: bool) -> None:
        self._trainer, self._visible = trainer, visible
        self._shown = len(trainer.history)

    def __enter__(self) -> Console:
        self._bar = progress_bar(
            visible=self._visible,
            in_files=True,
            total=self._trainer.schedule.total_steps,
            initial=self._trainer.position,
            unit="step",
            dynamic_ncols=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    @property
    def update(self) -> Callable[[Trainer[Any]], None]:
        """Show the position of a run; to be called after every step."""
        return self._update

    def _update(self, trainer: Trainer[Any]) -> None:
        self._bar.update(1)
        if len(trainer.history) == self._shown:
            return
        self._shown = len(trainer.history)
        row = trainer.history[-1]
        errors = [
            f"{label} {row[name] * factor:.3g} {unit}"
            for name, (label, factor, unit) in BAR_ERRORS.items()
            if name in row
        ]
        self._bar.set_description_str(f"epoch {row['epoch']}")
        self._bar.set_postfix_str(", ".join(errors), refresh=False)


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


def open_tracker(
    kind: str | None, folder: Path, step: int, options: Mapping[str, Any], settings: Mapping[str, Any]
) -> Tracker:
    """Records of a run, as ``track`` asks for them.

    Parameters
    ----------
    kind : one of :data:`TRACKERS`, or None.
    folder : of the run.
    step : present position of the run; older records are continued from there.
    options : of the run, as they are shown beside the records.
    settings : of the tracker.

    Returns
    -------
    a tracker; one that records nothing without ``kind``.

    Raises
    ------
    ConfigError
        When the package is not installed, does not have a setting, or cannot begin.
    """
    if kind is None:
        return NoTracker()
    try:
        if kind == "tensorboard":
            return TensorBoard(folder, settings, resumed_at=step or None)
        return WandB(folder, options, settings)
    except ConfigError:
        raise
    except Exception as error:  # trackers raise classes of their own and of what they are made of
        given = f" with track_options {short(dict(settings))}" if settings else ""
        raise ConfigError(f"track={kind!r} cannot begin{given}: {short(str(error))}; {_CURES[kind]}") from error


class TensorBoard:
    """Event files in ``RUN/tensorboard``; look with ``tensorboard --logdir RUN``.

    Parameters
    ----------
    settings : of ``SummaryWriter``, over those chosen here.
    resumed_at : step from which on older records are replaced.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], resumed_at: int | None = None) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise _missing("tensorboard", error) from error
        self._writer: Any = SummaryWriter(
            **{"log_dir": str(folder / "tensorboard"), "purge_step": resumed_at, **settings}
        )

    def log(self, row: Mapping[str, Any]) -> None:
        for name, value in _numbers(row).items():
            self._writer.add_scalar(_group(name), value, int(row["step"]))
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class WandB:
    """A run of Weights & Biases named after the folder; offline unless WANDB_MODE or a login says otherwise.

    One that cannot begin online, because there is no network, is recorded offline, with a warning.

    Its id is drawn when the run begins and lies in the folder, so that copies and moved folders go on as they should.

    Parameters
    ----------
    options : of the run, as they are shown there.
    settings : of ``wandb.init``, over those chosen here.
    """

    def __init__(self, folder: Path, options: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
        try:
            import wandb
        except ImportError as error:
            raise _missing("wandb", error) from error
        logged_in = bool(os.environ.get("WANDB_API_KEY") or wandb.api.api_key)
        chosen = {
            "project": os.environ.get("WANDB_PROJECT", PROJECT),
            "name": folder.name,
            "resume": "allow",
            "dir": str(folder),
            "config": dict(options),
            "mode": os.environ.get("WANDB_MODE") or ("online" if logged_in else "offline"),
            **settings,
        }
        if "id" not in chosen:
            chosen["id"] = _kept_id(folder / WANDB_ID)
        try:
            self._run: Any = wandb.init(**chosen)
        except Exception as error:  # it raises classes of its own and of what it is made of
            if chosen["mode"] != "online":
                raise
            self._run = wandb.init(**{**chosen, "mode": "offline"})
            log.warning(
                "track='wandb' cannot begin online (%s): the run is recorded in %s; wandb sync sends it later",
                short(str(error)), folder / "wandb",
            )  # fmt: skip

    def log(self, row: Mapping[str, Any]) -> None:
        self._run.log({_group(name): value for name, value in _numbers(row).items()}, step=int(row["step"]))

    def close(self) -> None:
        self._run.finish()


def _kept_id(path: Path) -> str:
    """Random name of a run, drawn once and kept in a file."""
    if not path.is_file():
        write_atomic(path, secrets.token_hex(8).encode())
    return path.read_text(encoding="utf-8").strip()


def _missing(package: str, error: ImportError) -> ConfigError:
    return ConfigError(
        f"track={package!r} needs the package {package}, which cannot be imported ({error}): {INSTALL_TRACK}"
    )


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    """What can be drawn of a row; errors in their second unit too, such as kcal/mol."""
    found = {name: float(value) for name, value in row.items() if isinstance(value, (int, float)) and name != "step"}
    for name, value in list(found.items()):
        match = _ERROR.fullmatch(name)
        if match and len(shown := LABELS[match[2]].shown) > 1:
            unit, factor = shown[1]
            found[f"{name}_{re.sub('[^A-Za-z]+', '_', unit)}"] = value * factor
    return found


def _group(name: str) -> str:
    """Losses and errors in groups of their own: "loss/train_loss", "validation/energy_mae"."""
    if name.endswith("loss") or name.startswith("train_"):
        return f"loss/{name}"
    return f"validation/{name}" if _ERROR.match(name) or name.endswith("_r2") else f"run/{name}"
