"""What happens after every validation beside saving: logging elsewhere, and pictures now and then."""

from __future__ import annotations

import logging
from types import TracebackType

from molcalc.train.loop.tracking import open_tracker
from molcalc.train.loop.trainer import Trainer
from molcalc.train.report.summary import update_plots

log = logging.getLogger(__name__)


class Observers:
    """To be called with the trainer after every validation, in every process; does its work in the first.

    A failure (a network that is gone, a disk that is full) is reported and ends the recording, not the run.

    Raises
    ------
    ConfigError
        When what ``track`` asks for is not installed.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._tracker = open_tracker(trainer)
        self._failed = False

    def __enter__(self) -> Observers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tracker.close()

    def __call__(self, trainer: Trainer) -> None:
        """Log the last row of the history; update report and pictures when it is time."""
        if self._failed or not trainer.processes.first:
            return
        every = trainer.config.plot_every
        try:
            self._tracker.log(trainer.history[-1])
            if every is not None and len(trainer.history) % every == 0:
                update_plots(trainer)
        except Exception as error:
            self._failed = True
            log.warning("recording the run stops here, training goes on: %s: %s", type(error).__name__, error)
