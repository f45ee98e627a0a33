"""Loop of training: batches, gradients, steps, validation, checkpoints."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch

from molcalc.errors import NonFiniteResultError, memory_named
from molcalc.io import checkpoint
from molcalc.io.checkpoint import Checkpoint
from molcalc.train.loop.ema import WeightAverage
from molcalc.train.loop.feeding import fed
from molcalc.train.loop.loop_config import LoopConfig
from molcalc.train.loop.processes import Processes
from molcalc.train.loop.run_folder import RunFolder
from molcalc.train.loop.running_losses import RunningLosses
from molcalc.train.loop.sampler import Sampler
from molcalc.train.loop.state_upgrades import STATE_VERSION
from molcalc.train.loop.task import Judgement, Task, names_of
from molcalc.train.optimize.optimizers import OptimizerSet
from molcalc.train.optimize.schedules import Schedule

TaskT = TypeVar("TaskT", bound=Task[Any])


@dataclass
class Progress:
    """Position of a run: epoch, batch, step; the best score so far, and the time spent.

    Attributes
    ----------
    batch : of the epoch, the next one.
    step : updates of the weights so far.
    best : smallest score of a validation; waited : validations since then.
    seconds : of steps.
    ended : before the last epoch, for want of patience or of a learning rate.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    best: float = math.inf
    waited: int = 0
    seconds: float = 0.0
    ended: bool = False


@dataclass
class Interruption:
    """Wishes of a user while a run goes on, set by signal handlers and looked at between steps.

    Attributes
    ----------
    requested : save and stop.
    saving : save and go on.
    """

    requested: bool = False
    saving: bool = False


class Trainer(Generic[TaskT]):
    """A run of training: its task, optimizer, position and history.

    Parameters
    ----------
    config : epochs, averages, validation, checkpoints.
    seed : of the run, for its records.
    task : what is learned.
    validate_first : validate the weights that the run starts from, as epoch 0, so that the best model is never worse.
    identity : data and options that decide the course of the run, by name.
    """

    def __init__(
        self,
        *,
        config: LoopConfig,
        seed: int,
        task: TaskT,
        optimizer: OptimizerSet,
        schedule: Schedule,
        sampler: Sampler,
        folder: RunFolder,
        processes: Processes,
        device: torch.device,
        validate_first: bool,
        identity: dict[str, str],
    ) -> None:
        self.config, self.seed, self.task = config, seed, task
        self.optimizer, self.schedule, self.sampler = optimizer, schedule, sampler
        self.folder, self.processes, self.device, self.identity = folder, processes, device, identity
        self._validate_first = validate_first
        self.average = WeightAverage(optimizer.named_parameters, config.ema)
        self.progress = Progress()
        self.running = RunningLosses(task.terms)
        self.history: list[dict[str, Any]] = []
        self.top: list[tuple[float, str]] = []
        self.changes: list[dict[str, Any]] = []
        self._saved_at = time.monotonic()

    @property
    def averaged(self) -> Checkpoint:
        """The model with the present averaged weights, on the processor; the run goes on unchanged."""
        with self.average.applied():
            return self.task.checkpoint()

    def run(
        self,
        interruption: Interruption,
        on_step: Callable[[Trainer[TaskT]], None],
        on_validation: Callable[[Trainer[TaskT]], None],
    ) -> bool:
        """Train to the end, or until interrupted; returns whether it ended by itself.

        Returns
        -------
        True when the run ended by itself, False when it was interrupted

        Raises
        ------
        NonFiniteResultError
            When a loss or gradient is not finite: the last checkpoint stays as it was.
        """
        if self._validate_first and self.progress.step == 0 and not self.history:
            self.optimizer.set_factor(self.schedule.factor(0))
            self._validate_and_save()
            on_validation(self)
        while self.progress.epoch < self.config.epochs and not self.progress.ended:
            batches = self.sampler.epoch(self.progress.epoch)
            for k, parts in fed(self.task.parts, batches, self.progress.epoch, self.progress.batch):
                started = time.monotonic()
                with self._memory_named(parts):
                    self.step(batches[k], parts)
                self.progress.batch = k + 1
                self.progress.seconds += time.monotonic() - started
                on_step(self)
                if self.config.validate_steps and self.progress.step % self.config.validate_steps == 0:
                    self._validate_and_save()
                    on_validation(self)
                stops, saves = self.processes.agree(interruption.requested, interruption.saving)
                if stops:
                    self.save_last()
                    return False
                interruption.saving = False
                if saves or time.monotonic() - self._saved_at > 60 * self.config.checkpoint_minutes:
                    self.save_last()  # only the first process writes, by its own clock
                if self.progress.ended:
                    return True
            self.progress.epoch, self.progress.batch = self.progress.epoch + 1, 0
            if self._validates_after_epoch:
                self._validate_and_save()
                on_validation(self)
        if not self.progress.ended and (not self.history or self.history[-1]["step"] < self.progress.step):
            # The end of the last epoch; a run that goes on to fewer epochs than it has made may be past it.
            self._validate_and_save()
            on_validation(self)
        return True

    @property
    def position(self) -> int:
        """Steps of the schedule so far: those that the epochs behind would have with the present batches."""
        return self.progress.epoch * self.sampler.batches_per_epoch + self.progress.batch

    @property
    def _validates_after_epoch(self) -> bool:
        """Whether a validation is due."""
        return self.config.validate_steps is None and self.progress.epoch % self.config.epochs_per_validation == 0

    @property
    def _ends(self) -> bool:
        """Whether nothing better is to be expected."""
        patience, low = self.config.patience, self.config.terminate_on_low_lr
        if patience is not None and self.progress.waited >= patience:
            return True
        rates = [row["learning_rate"] for row in self.history]
        return low is not None and rates[-1] < low <= max(rates)

    @contextlib.contextmanager
    def _memory_named(self, parts: Sequence[Any]) -> Iterator[None]:
        """Name the largest part of a batch where memory ends; a process may have none of a small batch."""
        if not parts:
            yield
            return
        n_systems, n_atoms = max((self.task.size(part) for part in parts), key=lambda size: size[1])
        with memory_named(
            f"a batch of {n_systems} systems with {n_atoms} atoms",
            "lower batch_size, or raise accumulate, and resume the last checkpoint",
        ):
            yield

    def step(self, systems: np.ndarray, parts: list[Any]) -> None:
        """One update of the weights.

        Parameters
        ----------
        systems : positions in the training part of those in the batch.
        parts : the batch, in one part or more.

        Raises
        ------
        NonFiniteResultError
            When a loss or gradient is not finite.
        """
        n_terms = len(self.task.terms)
        counts = sum((self.task.counts(part) for part in parts), torch.zeros(n_terms, dtype=torch.float64))
        counts = self.processes.sum(counts.to(self.device))
        self.optimizer.set_factor(self.schedule.factor(self.position))
        self.optimizer.zero_grad()
        losses = torch.zeros(n_terms + 1, dtype=torch.float64, device=self.device)
        for part in parts:
            total, averages = self.task.losses(part, counts, self.position / self.schedule.total_steps)
            total.backward(inputs=self.optimizer.parameters)
            losses += torch.cat([total.detach()[None], averages])
        self.processes.sum_gradients(self.optimizer.parameters)
        losses = self.processes.sum(losses)
        gradients = [p.grad for p in self.optimizer.parameters if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if not bool(torch.isfinite(losses[0]) & torch.isfinite(norm)):
            self._refuse(systems, float(losses[0]))
        if self.config.grad_clip_value > 0:
            torch.nn.utils.clip_grad_value_(self.optimizer.parameters, self.config.grad_clip_value)
            norm = torch.nn.utils.get_total_norm(gradients)
        if self.config.grad_clip > 0:
            scale = float(torch.clamp(self.config.grad_clip / (norm + 1e-12), max=1.0))
            if scale < 1.0:
                torch._foreach_mul_(gradients, scale)
        self.optimizer.step()
        self.average.update()
        self.progress.step += 1
        self.running.add(float(losses[0]), losses[1:].cpu(), counts.cpu())

    def _refuse(self, systems: np.ndarray, loss: float) -> None:
        raise NonFiniteResultError(
            f"loss {loss} in step {self.progress.step} (epoch {self.progress.epoch}) or its gradient is not finite; "
            f"batch: {names_of(self.task, systems)}. The last good state is kept: check these systems, or lower the "
            "learning rate and resume"
        )

    def validate(self) -> Judgement:
        """Loss and errors of averaged weights on the validation part."""
        with self.average.applied():
            return self.task.judge()

    def _validate_and_save(self) -> None:
        """Validate, and write everything."""
        found = self.validate()
        self.history.append(self._row(found))
        self.running.clear()
        self.schedule.observe(found.loss)
        improved = found.score < self.progress.best
        self.progress.waited = 0 if improved else self.progress.waited + 1
        self.progress.best = min(self.progress.best, found.score)
        self.progress.ended = self._ends
        if self.processes.first:
            averaged = self.averaged
            if improved:
                self.folder.save_best(averaged)
            self._save_top(averaged, found.score)
            self.folder.write_history(self.history)
        self.save_last()

    def _save_top(self, model: Checkpoint, score: float) -> None:
        if not self.config.keep_top:
            return
        by_steps = self.config.validate_steps is not None
        name = f"step_{self.progress.step:08d}" if by_steps else f"epoch_{self.progress.epoch:06d}"
        before = {kept for _, kept in self.top}
        self.top = sorted([*self.top, (score, name)])[: self.config.keep_top]
        names = [kept for _, kept in self.top]
        if name in names:
            self.folder.save_top(model, name)
        for dropped in before - set(names):
            self.folder.drop_top(dropped)

    def _row(self, found: Judgement) -> dict[str, Any]:
        """One row of the history, in eV, Å, eV/Å, e·Å, e and V."""
        within = self.progress.batch / self.sampler.batches_per_epoch
        row: dict[str, Any] = {
            "epoch": self.progress.epoch + (round(within, 3) if within else 0),
            "step": self.progress.step,
            "learning_rate": self.optimizer.learning_rate(),
            **self.running.averages(),
            "valid_loss": found.loss,
            "valid_score": found.score,
        }
        row.update(found.metrics)
        row["seconds"] = round(self.progress.seconds, 3)
        before = self.history[-1]["step"] if self.history else 0
        if changed := [change["what"] for change in self.changes if change["step"] >= before]:
            row["changes"] = "; ".join(changed)
        return row

    def save_last(self) -> None:
        """Write the resumable state."""
        if self.processes.first:
            self.folder.save_last(self.task.checkpoint(), self.state())
        self._saved_at = time.monotonic()

    def state(self) -> dict[str, Any]:
        """State of the run beside its weights; tensors and plain values only.

        No state of a random generator: whatever is drawn follows from the seed, the epoch and the place in it.

        Returns
        -------
        values by name, which :meth:`restore` reads
        """
        return {
            "version": STATE_VERSION,
            "identity": self.identity,
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "average": self.average.state_dict(),
            "progress": dict(vars(self.progress)),
            "running": self.running.state_dict(),
            "history": [dict(row) for row in self.history],
            "top": [list(item) for item in self.top],
            "changes": [dict(change) for change in self.changes],
        }

    def restore(self, state: Mapping[str, Any], changed: Sequence[str] = ()) -> None:
        """Go back to a saved state; the network has the saved weights already.

        Parameters
        ----------
        state : of the present version, see :mod:`molcalc.train.loop.state_upgrades`.
        changed : what is not as it was, for the history.
        """
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.average.load_state_dict(state["average"])
        self.progress = replace(Progress(), **state["progress"])
        self.optimizer.set_factor(self.schedule.factor(max(0, self.position - 1)))
        self.running.load_state_dict(state["running"])
        self.history = [dict(row) for row in state["history"]]
        self.top = [(float(score), str(name)) for score, name in state["top"]]
        self.changes = [dict(change) for change in state["changes"]]
        if changed:
            self.progress.ended, self.progress.waited = False, 0
        place = {"epoch": self.progress.epoch, "step": self.progress.step}
        self.changes += [{**place, "what": what} for what in changed]

    def begin_epoch_anew(self) -> None:
        """Forget the place in the epoch: other batches have other places."""
        self.progress.batch = 0

    def judge_again(self) -> None:
        """Judge the models that are kept by the present validation, which earlier scores cannot be compared with."""
        self.schedule.forget()
        if self.history:
            self.progress.best, self.progress.waited = self._score_of(self.folder.path), 0
        self.top = sorted((self._score_of(self.folder.top / name), name) for _, name in self.top)

    def _score_of(self, path: Path) -> float:
        """Score of a model in a folder."""
        kept = self.task.checkpoint().weights
        try:
            self.task.take(checkpoint.load(path).weights)
            return self.task.judge().score
        finally:
            self.task.take(kept)
