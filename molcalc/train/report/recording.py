"""Recording of a run after every validation: rows for a tracker, and pictures now and then."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from molcalc.io.schema import check_choices, check_least
from molcalc.train.loop.trainer import Trainer
from molcalc.train.report.summary import RunReport
from molcalc.train.report.tracking import TRACKERS, open_tracker

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """Pictures and records of a run.

    Attributes
    ----------
    plots : draw pictures of errors at the end of the run; needs matplotlib (extra ``plot``).
    plot_every : validations between two updates of the plots; None draws them at the end only.
    track : "tensorboard" or "wandb": also log every validation there.
    """

    plots: bool = True
    plot_every: int | None = None
    track: str | None = None

    def __post_init__(self) -> None:
        check_choices(self, track=(None, *TRACKERS))
        check_least(self, 1, "plot_every")


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

    def __init__(self, config: ReportConfig, trainer: Trainer, report: RunReport, options: Mapping[str, Any]) -> None:
        track = config.track if trainer.processes.first else None
        self._tracker = open_tracker(track, trainer.folder.path, trainer.progress.step, options)
        self._plot_every, self._report = config.plot_every, report
        self._failed = False

    def __enter__(self) -> Recording:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tracker.close()

    def __call__(self, trainer: Trainer) -> None:
        """Log the last row of the history; update report and pictures when it is time."""
        if self._failed or not trainer.processes.first:
            return
        try:
            self._tracker.log(trainer.history[-1])
            if self._plot_every is not None and len(trainer.history) % self._plot_every == 0:
                self._report.update()
        except Exception as error:
            self._failed = True
            log.warning("recording the run stops here, training goes on: %s: %s", type(error).__name__, error)
