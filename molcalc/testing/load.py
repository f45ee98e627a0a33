"""Checks of many evaluations: memory that grows, and threads."""

from __future__ import annotations

import gc
import itertools
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from molcalc.testing.check_report import CheckFailedError, CheckSkippedError
from molcalc.testing.structures import displaced
from molcalc.testing.subject import Subject

# B per evaluation. A calculator without leaks shows 0 to 40, one that keeps a graph 100 000s.
LARGEST_GROWTH = 200.0
# Memory is given out in pages and arenas: below this total, in bytes, growth cannot be told from that.
MEMORY_RESOLUTION = 64 * 1024
# Python objects per evaluation, and in total. They are counted besides because they may fill memory that
# was freed before.
LARGEST_OBJECT_GROWTH = 0.5
OBJECT_RESOLUTION = 200
SAMPLES_PER_WINDOW = 10
# Caches and arenas stop growing sooner or later, a leak does not.
N_WINDOWS = 3
FEWEST_STEPS = 100

# Seconds, and multiples of the time of one evaluation.
SHORTEST_PATIENCE = 0.1
PATIENCE = 10.0
LONGEST_WAIT = 60.0
CALLS_PER_THREAD = 20
SHORT_SWITCH_INTERVAL = 1e-5


def _memory_reader() -> Callable[[], int]:
    """Return a function that gives the resident memory of this process in bytes."""
    try:
        import psutil
    except ImportError:
        if not Path("/proc/self/statm").exists():
            raise CheckSkippedError("neither psutil nor /proc/self/statm is there to read memory from") from None
        page = os.sysconf("SC_PAGE_SIZE")
        return lambda: int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * page
    process = psutil.Process()
    return lambda: int(process.memory_info().rss)


def memory(subject: Subject) -> None:
    """Neither memory nor the number of Python objects grows with the number of evaluations.

    Growth is the slope over ``memory_steps`` evaluations after a warm-up: the median of all slopes between
    two samples. A leak goes on for ever: a window that exceeds the limit is repeated, and the smallest of
    the slopes counts.
    """
    if subject.memory_steps == 0:
        raise CheckSkippedError("memory_steps=0 was given")
    readers = (_memory_reader(), sys.getallocatedblocks)
    calc, structures = subject.new(), _moving(subject.atoms)

    def run(n: int) -> None:
        for atoms in itertools.islice(structures, n):
            subject.evaluate(calc, atoms)

    steps = _affordable_steps(subject, run)
    run(steps // 4)
    allowed = np.array([LARGEST_GROWTH, LARGEST_OBJECT_GROWTH])
    allowed += np.array([MEMORY_RESOLUTION, OBJECT_RESOLUTION]) / steps
    growth = np.full(2, np.inf)
    # What exists now is left out of the collections below, which would take longer than the evaluations.
    gc.collect()
    gc.freeze()
    try:
        for _ in range(N_WINDOWS):
            growth = np.minimum(growth, _growth(run, steps, readers))
            if np.all(growth <= allowed):
                return
    finally:
        gc.unfreeze()
    raise CheckFailedError(
        f"memory grows by {growth[0]:.0f} B and {growth[1]:.2g} objects per evaluation over {steps} "
        f"evaluations (allowed: {allowed[0]:.0f} B, {allowed[1]:.2g} objects)"
    )


def _affordable_steps(subject: Subject, run: Callable[[int], None]) -> int:
    """Return the number of evaluations per window that the time budget allows."""
    start = time.perf_counter()
    run(10)
    seconds = (time.perf_counter() - start) / 10
    # A quarter of the steps is the warm-up.
    steps = min(subject.memory_steps, int(subject.time_budget / (seconds * (N_WINDOWS + 0.25))))
    if steps < min(FEWEST_STEPS, subject.memory_steps):
        raise CheckSkippedError(
            f"an evaluation takes {seconds:.2g} s: fewer than {FEWEST_STEPS} fit into the time budget "
            f"of {subject.time_budget:g} s"
        )
    return steps


def _moving(atoms: Atoms) -> Iterator[Atoms]:
    """Yield the structure in ever new positions."""
    for seed in itertools.count():
        yield displaced(atoms, 0.01, seed=seed)


def _growth(run: Callable[[int], None], steps: int, readers: Sequence[Callable[[], int]]) -> np.ndarray:
    """Return the median slope per evaluation of every reading."""
    chunk = max(1, steps // SAMPLES_PER_WINDOW)
    samples = np.empty((SAMPLES_PER_WINDOW, len(readers)))
    for row in samples:
        run(chunk)
        gc.collect()
        row[:] = [read() for read in readers]
    first, second = np.triu_indices(len(samples), k=1)
    slopes = (samples[second] - samples[first]) / ((second - first) * chunk)[:, None]
    return np.median(slopes, axis=0)


def two_instances(subject: Subject) -> None:
    """Two calculators in two threads do not disturb each other."""
    _check_threads(subject, subject.new(), subject.new(), "two calculators in two threads")


def shared_by_threads(subject: Subject) -> None:
    """One calculator in two threads gives the right results or an error, never those of the other thread.

    ASE stores results in the calculator and reads them back a moment later; another thread may have
    replaced them. A lock around ``get_property`` or an error prevents that.
    """
    calc = subject.new()
    _check_threads(subject, calc, calc, "one calculator in two threads")


def _check_threads(subject: Subject, first: Any, second: Any, when: str) -> None:
    """Compare results from two threads with serial ones: once in the worst order, then as it comes."""
    structures = (subject.atoms, subject.other)
    wanted = [subject.reference(atoms).energy for atoms in structures]
    used = subject.new()
    subject.evaluate(used, structures[0])
    start = time.perf_counter()
    subject.evaluate(used, structures[1])
    patience = max(SHORTEST_PATIENCE, PATIENCE * (time.perf_counter() - start))
    outcomes = [_worst_order(first, second, structures, patience)]
    outcomes += _free_running(first, second, structures)
    for outcome in outcomes:
        for energy, right in zip(outcome, wanted):
            # An exception is an answer too: it is not a wrong number.
            if isinstance(energy, float) and not abs(energy - right) <= subject.visible_energy:
                raise CheckFailedError(f"{when}: the energy is {energy:.8g} instead of {right:.8g} eV")
    after = subject.evaluate(first, structures[0])
    subject.require_same(after, subject.standard, f"after the use of {when}")


def _energy(calc: Any, atoms: Atoms) -> float | Exception:
    try:
        return float(calc.get_potential_energy(atoms))
    except Exception as error:  # refusing to run in two threads is allowed
        return error


def _worst_order(first: Any, second: Any, structures: tuple[Atoms, Atoms], patience: float) -> list[float | Exception]:
    """Let the second thread run when the first has calculated but not yet read its result.

    If the second thread waits for the first, as with a lock, the first goes on after ``patience`` seconds.
    """
    energies: list[float | Exception] = [RuntimeError("not run"), RuntimeError("not run")]
    calculated, may_go_on = threading.Event(), threading.Event()
    original = first.calculate

    def pausing(*args: Any, **kwargs: Any) -> Any:
        value = original(*args, **kwargs)
        if threading.current_thread() is threads[0]:
            calculated.set()
            may_go_on.wait(patience)
        return value

    def run_first() -> None:
        energies[0] = _energy(first, structures[0])
        calculated.set()

    def run_second() -> None:
        calculated.wait()
        energies[1] = _energy(second, structures[1])
        may_go_on.set()

    threads = [threading.Thread(target=run, daemon=True) for run in (run_first, run_second)]
    first.calculate = pausing
    try:
        _run_all(threads)
    finally:
        del first.calculate
    return energies


def _run_all(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONGEST_WAIT)
    if any(thread.is_alive() for thread in threads):
        raise CheckFailedError(f"two threads wait for each other: no result after {LONGEST_WAIT:.0f} s")


def _free_running(first: Any, second: Any, structures: tuple[Atoms, Atoms]) -> list[list[float | Exception]]:
    """Evaluate in two threads at the same time, with moves in between so that nothing is cached."""
    found: list[list[float | Exception]] = [[], []]

    def run(index: int, calc: Any) -> None:
        for step in range(CALLS_PER_THREAD):
            _energy(calc, displaced(structures[index], 0.01, seed=step))
            found[index].append(_energy(calc, structures[index]))

    threads = [threading.Thread(target=run, args=item, daemon=True) for item in enumerate((first, second))]
    with _frequent_switches():
        _run_all(threads)
    return [list(pair) for pair in zip(*found)]


@contextmanager
def _frequent_switches() -> Iterator[None]:
    """Let threads take turns as often as possible."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(SHORT_SWITCH_INTERVAL)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
