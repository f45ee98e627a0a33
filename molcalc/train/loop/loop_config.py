"""Options of the loop of training: batches, steps, validation, checkpoints, and the machine it runs on."""

from __future__ import annotations

from dataclasses import dataclass

from molcalc.io.schema import check_choices, check_least
from molcalc.train.loop.sampler import MODES

PRECISIONS = ("float32", "bf16", "float64")
DEVICES = ("auto", "cpu", "cuda")
VALIDATIONS = 200
"""About so many validations are made in a run that does not say how often."""


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """Options of the loop: batches, steps, averages, validation, checkpoints, device.

    Attributes
    ----------
    epochs : passes over the training set (or of ``batches_per_epoch``).
    batch_size, batch_mode : molecules or atoms in a batch.
    batches_per_epoch : None for one pass.
    accumulate : parts in which a batch is worked through, to save memory.
    fidelity_weights : how often each fidelity is drawn, and how much it counts in validation. None draws every system
        equally often, and lets every fidelity count equally in validation.
    esp_points : random points per system and step; None takes all.
    rotation_augmentation : turn every system randomly at every step.
    grad_clip : largest norm of the gradient; 0 or less is off.
    ema : decay of the average of weights, which is what is validated and kept; 0 is off.
    precision : arithmetic of the network: "float32", "bf16" (matrix products) or "float64".
    device : "auto", "cpu" or "cuda".
    threads : of the processor; None leaves torch's choice.
    validate_every : epochs; None makes about 200 validations.
    patience : validations (not epochs) without a new best model after which the run ends; None goes on. The best is
        that with the smallest geometric mean of the errors (MAE) on the validation part: every property counts alike.
    keep_top : further models kept beside the best, in ``top/``.
    checkpoint_minutes : longest time between two checkpoints.
    dist_timeout : seconds after which a process that does not answer ends the run.
    """

    epochs: int = 200
    batch_size: int = 32
    batch_mode: str = "molecules"
    batches_per_epoch: int | None = None
    accumulate: int = 1
    fidelity_weights: dict[str, float] | None = None
    esp_points: int | None = 512
    rotation_augmentation: bool = False
    grad_clip: float = 1.0
    ema: float = 0.999
    precision: str = "float32"
    device: str = "auto"
    threads: int | None = None
    validate_every: int | None = None
    patience: int | None = None
    keep_top: int = 0
    checkpoint_minutes: float = 10.0
    dist_timeout: float = 600.0

    def __post_init__(self) -> None:
        check_choices(self, precision=PRECISIONS, batch_mode=MODES, device=DEVICES)
        check_least(self, 1, "epochs", "batch_size", "accumulate", "validate_every", "patience", "threads",
                    "batches_per_epoch", "esp_points")  # fmt: skip
        check_least(self, 0, "keep_top")
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema={self.ema}; expected a number from 0 (off) to below 1")
        for name, value in (("checkpoint_minutes", self.checkpoint_minutes), ("dist_timeout", self.dist_timeout)):
            if not value > 0:
                raise ValueError(f"{name}={value}; expected a positive number")

    @property
    def epochs_per_validation(self) -> int:
        """Epochs from one validation to the next."""
        return self.validate_every or max(1, self.epochs // VALIDATIONS)
