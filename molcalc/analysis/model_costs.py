"""Time and memory that models take: one structure, many, and a step of training.

Times are taken in turns in one process, since other programs use the machine as well. Memory is the peak of the whole
process that the system has counted (``VmHWM``), in a fresh process for each model: in one that has done other things,
freed memory is used again and shows nothing.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import read, write

from molcalc.calculators.base import MolCalculator
from molcalc.calculators.of_model import calculator_of
from molcalc.errors import MolcalcError, ResourceError
from molcalc.train.reopening import training_step

WARM_UPS, ROUNDS = 2, 15
"""Calls before, and calls that are timed; in turns with those of the other models."""
MOVED_BY = 1e-3
"""Å that atoms move between two calls, so that nothing is remembered."""
MEGABYTE = 1e6
_STATUS, _PEAK_RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Duration:
    """Time of a call: median and fastest in s, and the median of the ratios to the first model in the same round."""

    median: float
    fastest: float
    ratio: float

    def per(self, n: int) -> Duration:
        """Time of one of ``n`` parts of the call."""
        return Duration(self.median / n, self.fastest / n, self.ratio)


@dataclass(frozen=True)
class PeakMemory:
    """Largest resident memory of a fresh process, in MB.

    Attributes
    ----------
    libraries : before there is a model: Python, torch and the rest.
    inference : while energies and forces of the structures are computed at once.
    training : during steps of training; None for a model that is no run.
    """

    libraries: float
    inference: float
    training: float | None


def durations(calls: Mapping[str, Callable[[], object]], rounds: int = ROUNDS) -> dict[str, Duration]:
    """Time of several calls, in turns.

    Parameters
    ----------
    calls : by name.
    rounds : how often each of them is timed.

    Returns
    -------
    durations by name
    """
    for call in calls.values():
        for _ in range(WARM_UPS):
            call()
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            taken[name].append(time.perf_counter() - started)
    first = next(iter(taken.values()), [])
    return {
        name: Duration(median(own), min(own), median(one / other for one, other in zip(own, first)))
        for name, own in taken.items()
    }


def one_structure(calculator: MolCalculator, atoms: Atoms) -> Callable[[], object]:
    """Energy and forces of one structure, through the calculator; every call is of other positions."""
    moved, rng = atoms.copy(), np.random.default_rng(0)

    def call() -> object:
        moved.positions[:] = atoms.positions + MOVED_BY * rng.normal(size=atoms.positions.shape)
        return calculator.get_property("forces", moved)

    return call


def many_structures(calculator: MolCalculator, images: Sequence[Atoms]) -> Callable[[], object]:
    """Energy and forces of many structures at once."""
    return lambda: calculator.predictor.evaluate(images, ("energy", "forces"))


def peak_memory(
    model: Path | str, images: Sequence[Atoms], options: Mapping[str, str | None], steps: int = 3
) -> PeakMemory | None:
    """Memory of a model in a process of its own.

    Parameters
    ----------
    model : folder of a run, or a model that has a name.
    images : computed at once.
    options : of the calculator.
    steps : of training, if it is a run.

    Returns
    -------
    peaks; None where the system does not count them

    Raises
    ------
    ResourceError
        When the process ends without them, for want of memory.
    """
    if not _STATUS.is_file():
        return None
    with tempfile.TemporaryDirectory() as folder:
        structures = Path(folder) / "structures.traj"
        write(structures, list(images))
        task = json.dumps(
            {"model": str(model), "structures": str(structures), "options": dict(options), "steps": steps}
        )
        done = subprocess.run(
            [sys.executable, "-m", "molcalc.analysis.model_costs", task], capture_output=True, text=True, check=False
        )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        raise ResourceError(f"the memory of {model} could not be measured in a process of its own: {last[0]}")
    return PeakMemory(**json.loads(done.stdout.splitlines()[-1]))


def _measure(model: str, structures: str, options: dict[str, Any], steps: int) -> PeakMemory:
    """Peaks of this process, which is fresh."""
    images = read(structures, ":")
    libraries = _peak_since_reset()
    calculator = calculator_of(model, **options)
    many_structures(calculator, images)()
    inference = _peak_since_reset()
    try:
        step = training_step(Path(model))
    except (MolcalcError, OSError):
        return PeakMemory(libraries, inference, None)
    for _ in range(steps):
        step()
    return PeakMemory(libraries, inference, _peak_since_reset())


def _peak_since_reset() -> float:
    """MB; the next peak begins from what is resident now."""
    lines = _STATUS.read_text(encoding="utf-8").splitlines()
    (peak,) = (line for line in lines if line.startswith("VmHWM:"))
    with contextlib.suppress(OSError):  # where it is refused peaks never fall, and the last is that of everything
        _PEAK_RESET.write_text("5", encoding="utf-8")
    return float(peak.split()[1]) * 1024 / MEGABYTE


if __name__ == "__main__":
    print(json.dumps(asdict(_measure(**json.loads(sys.argv[1])))))
