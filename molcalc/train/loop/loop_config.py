"""Options of the loop of training: batches, steps, validation, checkpoints, and the machine it runs on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from molcalc.io.schema import Choice, Count, NotNegative, Positive, Range, check_fields
from molcalc.train.loop.sampler import MODES

PRECISIONS = ("float32", "bf16", "float64")
DEVICES = ("auto", "cpu", "cuda")
MOST_THREADS, MOST_KEPT = 1024, 10_000
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
    grad_clip : largest norm of the gradient; 0 is off.
    grad_clip_value : largest absolute value of each element of the gradient, before ``grad_clip``; 0 is off.
    ema : decay of the average of weights, which is what is validated and kept; 0 is off.
    precision : arithmetic of the network: "float32", "bf16" (matrix products) or "float64".
    device : "auto", "cpu" or "cuda".
    threads : of the processor; None leaves torch's choice.
    validate_every : epochs from one validation to the next; None makes about 200 validations.
    validate_steps : steps from one validation to the next, instead of ``validate_every``.
    patience : validations (not epochs) without a new best model after which the run ends; None goes on. The best is
        that with the smallest geometric mean of the errors (MAE) on the validation part: every property counts alike.
    terminate_on_low_lr : learning rate below which the run ends, at the next validation; None goes on. A rate that has
        not been above it yet, in a warm-up, ends nothing.
    keep_top : further models kept beside the best, in ``top/``.
    checkpoint_minutes : longest time between two checkpoints.
    dist_timeout : seconds after which a process that does not answer ends the run.
    """

    epochs: Count = 200
    batch_size: Count = 32
    batch_mode: Annotated[str, Choice(MODES)] = "molecules"
    batches_per_epoch: Count | None = None
    accumulate: Count = 1
    fidelity_weights: dict[str, NotNegative] | None = None
    esp_points: Count | None = 512
    rotation_augmentation: bool = False
    grad_clip: NotNegative = 1.0
    grad_clip_value: NotNegative = 0.0
    ema: Annotated[float, Range(0, 1, below=True)] = 0.999
    precision: Annotated[str, Choice(PRECISIONS)] = "float32"
    device: Annotated[str, Choice(DEVICES)] = "auto"
    threads: Annotated[int, Range(1, MOST_THREADS)] | None = None
    validate_every: Count | None = None
    validate_steps: Count | None = None
    patience: Count | None = None
    terminate_on_low_lr: Positive | None = None
    keep_top: Annotated[int, Range(0, MOST_KEPT)] = 0
    checkpoint_minutes: Annotated[float, Range(0, 1e6, above=True)] = 10.0
    dist_timeout: Annotated[float, Range(0, 1e6, above=True)] = 600.0

    def __post_init__(self) -> None:
        check_fields(self)
        if self.validate_every is not None and self.validate_steps is not None:
            raise ValueError(
                f"validate_every={self.validate_every} and validate_steps={self.validate_steps}; give one of them"
            )

    @property
    def epochs_per_validation(self) -> int:
        """Epochs from one validation to the next."""
        return self.validate_every or max(1, self.epochs // VALIDATIONS)
