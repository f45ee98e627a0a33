"""The loop learns whatever keeps to the contract of a task."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from molcalc.errors import NonFiniteResultError
from molcalc.io.checkpoint import ModelConfig
from molcalc.train.loop.loop_config import LoopConfig
from molcalc.train.loop.processes import Processes
from molcalc.train.loop.run_folder import RunFolder
from molcalc.train.loop.sampler import Sampler
from molcalc.train.loop.task import Judgement, Task
from molcalc.train.loop.trainer import Interruption, Trainer
from molcalc.train.optimize.optimizers import OptimizeConfig, optimizer_for
from molcalc.train.optimize.schedules import Schedule, ScheduleConfig


class Line(Task[np.ndarray]):
    """The slope of a line through points, as a task; one point may be none."""

    terms = ("square",)

    def __init__(self, points: np.ndarray) -> None:
        self.model_config = ModelConfig(kind="line", arguments={})
        self.network = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.network.weight)
        self.points = torch.tensor(points, dtype=torch.float32)
        self.progress: list[float] = []

    def parts(self, systems: np.ndarray, epoch: int, place: int) -> list[np.ndarray]:
        return [systems]

    def counts(self, part: np.ndarray) -> Tensor:
        return torch.tensor([float(len(part))], dtype=torch.float64)

    def losses(self, part: np.ndarray, counts: Tensor, progress: float) -> tuple[Tensor, Tensor]:
        self.progress.append(progress)
        x, y = self.points[part].T
        squares = (self.network(x[:, None]).squeeze(1) - y).square().sum().double() / counts[0]
        return squares, squares.detach()[None]

    def judge(self) -> Judgement:
        error = float((self.network.weight.detach() - 2.0).abs())
        return Judgement(error**2, error, {"slope_error": error})

    def system_name(self, system: int) -> str:
        return f"point {system}"

    def size(self, part: np.ndarray) -> tuple[int, int]:
        return len(part), len(part)


def run_of(task: Line, folder: Path, epochs: int) -> Trainer[Line]:
    sampler = Sampler(np.ones(8), np.zeros(8, dtype=int), batch_size=4)
    return Trainer(
        config=LoopConfig(epochs=epochs, ema=0.0),
        seed=0,
        task=task,
        optimizer=optimizer_for(OptimizeConfig(learning_rate=0.1, weight_decay=0.0), task.network),
        schedule=Schedule(ScheduleConfig(name="constant"), epochs * sampler.batches_per_epoch),
        sampler=sampler,
        folder=RunFolder(folder),
        processes=Processes(),
        device=torch.device("cpu"),
        validate_first=False,
        identity={},
    )


def line(n: int = 8) -> np.ndarray:
    x = np.linspace(-1.0, 1.0, n)
    return np.column_stack([x, 2.0 * x])


def test_the_loop_learns_what_is_no_potential(tmp_path: Path) -> None:
    trainer = run_of(Line(line()), tmp_path, epochs=60)
    assert trainer.run(Interruption(), lambda _: None, lambda _: None)
    assert trainer.history[-1]["slope_error"] < 0.05
    assert trainer.task.progress == pytest.approx(np.arange(120) / 120)


def test_a_loss_that_is_not_finite_stops_and_names_the_batch(tmp_path: Path) -> None:
    points = line()
    points[5, 1] = np.nan
    with pytest.raises(NonFiniteResultError, match=r"loss nan in step .*point 5"):
        run_of(Line(points), tmp_path, epochs=1).run(Interruption(), lambda _: None, lambda _: None)
