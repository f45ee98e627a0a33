"""Progress bar of a run, with the time left and the present errors."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from molcalc.train.loop.trainer import Trainer

BAR_ERRORS = {"energy_mae": ("E", 1e3, "meV"), "forces_mae": ("F", 1e3, "meV/Å"), "dipole_mae": ("D", 1e3, "me·Å"),
         "esp_rmse": ("ESP", 1e3, "mV"), "charges_mae": ("q", 1e3, "me")}  # fmt: skip
"""Errors of the last validation: label, factor and unit."""


class Console:
    """Progress bar over all steps of a run.

    Parameters
    ----------
    visible : whether to show anything.
    """

    def __init__(self, trainer: Trainer, visible: bool) -> None:
        self._trainer, self._visible = trainer, visible
        self._shown = len(trainer.history)

    def __enter__(self) -> Console:
        from tqdm import tqdm

        self._bar = tqdm(
            total=self._trainer.schedule.total_steps,
            initial=self._trainer.progress.step,
            disable=not self._visible,
            unit="step",
            dynamic_ncols=True,
            mininterval=0.5,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    @property
    def update(self) -> Callable[[Trainer], None]:
        """Show the position of a run; to be called after every step."""
        return self._update

    def _update(self, trainer: Trainer) -> None:
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
