"""Relaxation as a function."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.io import read

from molcalc.calculators import AIMNet2
from molcalc.errors import ConfigError, InputError
from molcalc.simulate import RelaxationSettings, relax
from molcalc.simulate.relaxation import RelaxationStep

TIGHT = RelaxationSettings(fmax=0.01)


def test_structures_are_relaxed_in_their_order_and_stay_as_they_were(
    images: list[Atoms], calculator: AIMNet2, capsys: pytest.CaptureFixture[str]
) -> None:
    before = [atoms.copy() for atoms in images]
    done = relax(images, calculator, TIGHT)
    assert [each.atoms.get_chemical_formula() for each in done] == ["H2O", "CO2"]
    assert images == before
    for each in done:
        assert each.converged
        assert np.linalg.norm(each.atoms.get_forces(), axis=1).max() == each.last.fmax < 0.01
        assert each.atoms.get_potential_energy() == each.last.energy
    assert capsys.readouterr() == ("", "")


def test_one_structure_makes_a_list_of_one(images: list[Atoms], calculator: AIMNet2) -> None:
    (alone,) = relax(images[1], calculator, TIGHT)
    second = relax(images, calculator, TIGHT)[1]
    assert alone.atoms.positions == pytest.approx(second.atoms.positions, abs=0.0)
    assert (alone.last.step, alone.last.energy) == (second.last.step, second.last.energy)


def test_the_observer_sees_every_new_step_of_every_system(
    images: list[Atoms], calculator: AIMNet2, tmp_path: Path
) -> None:
    seen: list[RelaxationStep] = []
    path = tmp_path / "steps.traj"
    first = relax(images, calculator, RelaxationSettings(fmax=1e-6, steps=2), observer=seen.append)
    assert [(step.system, step.step) for step in seen] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    assert [each.last for each in first] == [seen[2], seen[5]]
    relax(images[0], calculator, RelaxationSettings(fmax=1e-6, steps=2), trajectory=path)
    seen.clear()
    relax(
        images[0], calculator, RelaxationSettings(fmax=1e-6, steps=4), trajectory=path, restart=True,
        observer=seen.append,
    )  # fmt: skip
    assert [step.step for step in seen] == [2, 3, 4]


def test_a_relaxation_in_two_parts_is_the_one_in_a_piece_to_the_last_bit(
    images: list[Atoms], calculator: AIMNet2, tmp_path: Path
) -> None:
    paths: dict[str, list[Any]] = {name: [tmp_path / f"{name}{k}.traj" for k in (0, 1)] for name in ("whole", "parts")}
    long, short = RelaxationSettings(fmax=1e-4, steps=7), RelaxationSettings(fmax=1e-4, steps=3)
    whole = relax(images, calculator, long, trajectory=paths["whole"])
    relax(images, calculator, short, trajectory=paths["parts"])
    parts = relax(images, calculator, long, trajectory=paths["parts"], restart=True)
    for one, two in zip(whole, parts):
        assert np.array_equal(one.atoms.positions, two.atoms.positions)
        assert one.last == two.last
    for one, two in zip(paths["whole"], paths["parts"]):
        assert [np.array_equal(a.positions, b.positions) for a, b in zip(read(one, ":"), read(two, ":"))] == [True] * 8


def test_a_trajectory_is_replaced_or_continued_when_asked_to_only(
    images: list[Atoms], calculator: AIMNet2, tmp_path: Path
) -> None:
    path, few = tmp_path / "steps.traj", RelaxationSettings(fmax=1e-6, steps=1)
    relax(images[0], calculator, few, trajectory=path)
    with pytest.raises(InputError, match="steps.traj exists"):
        relax(images[0], calculator, few, trajectory=path)
    relax(images[1], calculator, few, trajectory=path, force=True)
    assert read(path).get_chemical_formula() == "CO2"
    with pytest.raises(ConfigError, match="was made with optimizer=BFGS, this run has optimizer=FIRE"):
        relax(images[1], calculator, RelaxationSettings(optimizer="FIRE"), trajectory=path, restart=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "BGFS"}, r"optimizer='BGFS' \(did you mean 'BFGS'\?\); choose one of BFGS, LBFGS"),
        ({"fmax": 0.0}, "fmax=0.0 eV/Å is not a number > 0"),
        ({"fmax": float("nan")}, "fmax=nan"),
        ({"steps": -1}, "steps=-1 is not a whole number ≥ 0"),
    ],
    ids=["optimizer", "zero", "nan", "steps"],
)
def test_impossible_settings_are_refused_with_the_value(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RelaxationSettings(**changes)


def test_a_cell_that_is_not_there_is_refused_before_anything_is_computed(
    images: list[Atoms], calculator: AIMNet2, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="H2O is not periodic: there is no cell to relax"):
        relax(images, calculator, RelaxationSettings(cell=True), trajectory=[tmp_path / "a.traj", None])
    assert not list(tmp_path.iterdir())
