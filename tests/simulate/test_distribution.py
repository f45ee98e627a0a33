"""Work on many structures in other processes."""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.io import read

import molcalc
from molcalc.calculators import AIMNet2
from molcalc.errors import ConfigError, RelaxationWarning, ResourceError
from molcalc.simulate import distribution
from molcalc.simulate.distribution import chunks, compute
from molcalc.simulate.relaxation import relax_all
from molcalc.simulate.relaxation_run import Relaxation, RelaxationSettings, RelaxationWork
from molcalc.simulate.work import Item
from tests.helpers.structures import rattled

STEPS = 4


class Flaky(Executor):
    """Executor that computes at once, and loses the workers that a function names."""

    def __init__(self, is_lost: Callable[[list[int]], bool] = lambda _: False) -> None:
        self.is_lost = is_lost
        self.sent: list[list[int]] = []

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        systems = [item.system for item in args[1]]
        self.sent.append(systems)
        future: Future[Any] = Future()
        if self.is_lost(systems):
            if len(self.sent) % 2:
                fn(*args, **kwargs)  # it had done everything, and its files are there
            future.set_exception(BrokenExecutor("killed"))
        else:
            future.set_result(fn(*args, **kwargs))
        return future


def crowd(n: int = 6) -> list[Atoms]:
    return [rattled(("H2O", "CO2", "NH3")[k % 3], seed=k) for k in range(n)]


def relaxed(images: list[Atoms], calculator: AIMNet2, **options: Any) -> list[Atoms]:
    return molcalc.relax(images, calculator, fmax=1e-6, steps=STEPS, progress=False, **options)


def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distribution, "GROUP_ATOMS", 7)


def test_results_come_back_once_and_in_order_whoever_computes_them(
    calculator: AIMNet2, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    small_chunks(monkeypatch)
    images = crowd()
    images[4].positions[1] = images[4].positions[0]
    executor, names = Flaky(lambda systems: len(executor.sent) == 2), [tmp_path / f"{k}.traj" for k in range(6)]
    names[0].write_text("of an earlier run")
    with pytest.warns(RelaxationWarning, match="structure 4: atoms 0 and 1"):
        there = relaxed(images, calculator, executor=executor, trajectory=names, force=True)
    with pytest.warns(RelaxationWarning):
        here = relaxed(images, calculator)
    assert executor.sent == [[0, 1], [2, 3], [4, 5], [2], [3]]
    for one, two in zip(here, there):
        assert one.positions == pytest.approx(two.positions, abs=1e-8)
        assert one.info == two.info
    assert [len(read(name, ":")) for k, name in enumerate(names) if k != 4] == [STEPS + 1] * 5


def test_a_structure_that_kills_its_workers_is_reported_and_the_others_are_done(
    calculator: AIMNet2, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_chunks(monkeypatch)
    executor = Flaky(lambda systems: 2 in systems)
    with pytest.warns(RelaxationWarning, match="structure 2: 3 workers ended while they computed this structure"):
        done = relaxed(crowd(), calculator, executor=executor)
    assert [atoms.info.get("error") is None for atoms in done] == [True, True, False, True, True, True]
    assert executor.sent.count([2]) == 3
    with pytest.raises(ResourceError, match=r"the executor takes nothing more \(gone\): give a number, executor=2"):
        relaxed(crowd(), calculator, executor=Gone())


class Gone(Executor):
    """Executor whose pool is broken for good."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        raise BrokenExecutor("gone")


@pytest.mark.parametrize("executor", [0, -1, True, "2", 1.5, int], ids=str)
def test_what_is_no_executor_is_refused_with_its_value(calculator: AIMNet2, executor: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.traj"
    path.write_text("precious")
    with pytest.raises(ConfigError, match=r"executor=.*; expected a number of workers ≥ 1, an executor"):
        relaxed(crowd(1), calculator, executor=executor, trajectory=path, force=True)
    assert path.read_text() == "precious"


def test_replicas_in_several_processes_have_random_numbers_of_their_own(
    calculator: AIMNet2, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_chunks(monkeypatch)
    options: Any = {"executor": Flaky(), "progress": False}
    moved = molcalc.md([rattled("H2O", seed=1)] * 5, calculator, 2, **options)
    assert len({atoms.positions.tobytes() for atoms in moved}) == 5
    again = molcalc.md(rattled("H2O", seed=1), calculator, 2, seed=moved[3].info["seed"], progress=False)
    assert again[0].positions == pytest.approx(moved[3].positions, abs=1e-8)


def test_chunks_cost_about_the_same_and_keep_the_order(calculator: AIMNet2) -> None:
    sizes = [30] * 20 + [3] * 400
    items = [Item(k, Atoms("H" * size)) for k, size in enumerate(sizes)]
    work = RelaxationWork(calculator=calculator, settings=RelaxationSettings())
    parts = chunks(work, items, 2)
    assert [item.system for part in parts for item in part.items] == list(range(420))
    costs = [sum(work.cost(item) for item in part.items) for part in parts]
    assert 2 * 4 <= len(parts) <= 2 * 9
    assert max(costs) < 1.5 * np.mean(costs)
    assert not chunks(work, [], 2)
    assert len(chunks(work, items[:2], 2)) == 1


def test_a_worker_of_another_version_is_named(calculator: AIMNet2) -> None:
    work = RelaxationWork(calculator=calculator, settings=RelaxationSettings())
    with pytest.raises(ConfigError, match=r"a worker runs molcalc .*, this program 0\.0\.1: install the same one"):
        compute(work, [], "0.0.1")


def test_warnings_of_workers_are_told_once(calculator: AIMNet2, monkeypatch: pytest.MonkeyPatch) -> None:
    small_chunks(monkeypatch)
    ions = crowd(4)
    for atoms in ions:
        atoms.info["formal_charge"] = 1
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        relaxed(ions, calculator, executor=Flaky())
    messages = [str(each.message) for each in caught]
    assert messages
    assert len(messages) == len(set(messages))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_processes_of_which_one_is_killed_half_way_relax_two_thousand_structures_once_and_in_order() -> None:
    psutil = pytest.importorskip("psutil")
    calculator = AIMNet2("small-species", fidelity="pbe0")
    images = [rattled(("H2O", "CO2", "NH3", "N2", "CH4")[k % 5], seed=k) for k in range(2000)]
    ended: list[int] = []

    def kill_one() -> None:
        while len(ended) < 1000:
            time.sleep(0.05)
        children = psutil.Process().children()
        os.kill(next(child.pid for child in children if "spawn_main" in " ".join(child.cmdline())), 9)

    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    outcomes = relax_all(
        images, calculator, RelaxationSettings(fmax=0.02), executor=2, ended=lambda k, _: ended.append(k)
    )
    killer.join()
    assert sorted(ended) == list(range(2000))
    here = relax_all(images, calculator, RelaxationSettings(fmax=0.02))
    for atoms, one, two in zip(images, here, outcomes):
        assert isinstance(one, Relaxation)
        assert isinstance(two, Relaxation)
        assert two.atoms.get_chemical_formula() == atoms.get_chemical_formula()
        assert two.last.energy == pytest.approx(one.last.energy, abs=2e-3)
