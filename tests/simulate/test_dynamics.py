"""Molecular dynamics as a function."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import read

from molcalc.calculators import AIMNet2
from molcalc.errors import ConfigError, InputError
from molcalc.simulate import DynamicsSettings, DynamicsStep, md, recorder

ENSEMBLES = ("nve", "langevin", "bussi")


def settings(ensemble: str = "langevin", interval: int = 5) -> DynamicsSettings:
    return DynamicsSettings(ensemble=ensemble, timestep=0.25, friction=0.05, seed=7, interval=interval)


def assert_same_frames(one: Path, two: Path) -> None:
    """Positions, momenta and energies of two trajectories agree to the last bit."""
    for first, second in zip(read(one, ":"), read(two, ":"), strict=True):
        assert np.array_equal(first.positions, second.positions)
        assert np.array_equal(first.get_momenta(), second.get_momenta())
        assert first.get_potential_energy() == second.get_potential_energy()
        assert first.info == second.info


@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_several_systems_in_two_parts_run_as_in_one_piece_to_the_last_bit(
    images: list[Atoms], calculator: AIMNet2, tmp_path: Path, ensemble: str
) -> None:
    names = {name: [tmp_path / f"{name}{k}.traj" for k in (0, 1)] for name in ("whole", "parts")}
    logs = {name: [path.with_suffix(".log") for path in paths] for name, paths in names.items()}
    md(images, calculator, settings(ensemble), steps=30, trajectory=names["whole"], log=logs["whole"])
    md(images, calculator, settings(ensemble), steps=15, trajectory=names["parts"], log=logs["parts"])
    parts = md(
        images, calculator, settings(ensemble), steps=30, trajectory=names["parts"], log=logs["parts"], restart=True
    )
    for k in (0, 1):
        assert_same_frames(names["whole"][k], names["parts"][k])
        assert logs["whole"][k].read_text() == logs["parts"][k].read_text()
        assert np.array_equal(parts[k].atoms.positions, read(names["whole"][k]).positions)
        assert (parts[k].n_frames, parts[k].times[0]) == (7, 3.75)


def test_structures_stay_as_they_were_and_nothing_is_printed_or_written(
    images: list[Atoms],
    calculator: AIMNet2,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    before = [atoms.copy() for atoms in images]
    done = md(images, calculator, settings(), steps=5)
    assert images == before
    assert [run.atoms.get_chemical_formula() for run in done] == ["H2O", "CO2"]
    assert all(run.atoms.calc is not calculator and run.n_frames == 2 for run in done)
    assert capsys.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())


def test_systems_of_one_run_have_random_numbers_of_their_own(images: list[Atoms], calculator: AIMNet2) -> None:
    same = md([images[0], images[0]], calculator, settings(), steps=3)
    assert np.abs(same[0].atoms.get_momenta() - same[1].atoms.get_momenta()).max() > 0.01
    assert [run.settings.seed for run in same] == [7, 8]


def test_the_observer_sees_every_step_and_the_frames_so_far(
    images: list[Atoms], calculator: AIMNet2, tmp_path: Path
) -> None:
    seen: list[DynamicsStep] = []
    md(images[0], calculator, settings(interval=2), steps=3, trajectory=tmp_path / "a.traj", observer=seen.append)
    assert seen == [DynamicsStep(0, 0, 1), DynamicsStep(0, 1, 1), DynamicsStep(0, 2, 2), DynamicsStep(0, 3, 2)]


def test_statistics_are_those_of_the_frames(
    images: list[Atoms], calculator: AIMNet2, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run,) = md(images[0], calculator, settings("nve"), steps=20, log=tmp_path / "log")
    table = np.loadtxt(tmp_path / "log", skiprows=1)
    assert run.times == pytest.approx(table[:, 1])
    assert run.total_energies == pytest.approx(table[:, 4], abs=1e-6)
    assert run.temperatures == pytest.approx(table[:, 5], abs=1e-6)
    assert run.fluctuation == pytest.approx(run.total_energies.std() / 3)
    assert run.drift is None
    monkeypatch.setattr(recorder, "DRIFT_TIME", 4.0)
    assert run.drift == pytest.approx(1000.0 * np.polyfit(run.times, run.total_energies / 3, 1)[0])


def test_velocities_are_kept_when_asked_for(images: list[Atoms], calculator: AIMNet2) -> None:
    at_rest, _ = (
        md(images[0], calculator, settings("nve"), steps=0, keep_velocities=keep)[0].atoms for keep in (True, False)
    )
    assert not at_rest.get_momenta().any()
    images[0].set_momenta(np.ones((3, 3)))
    (moving,) = md(images[0], calculator, settings("nve"), steps=0, keep_velocities=True)
    assert np.array_equal(moving.atoms.get_momenta(), np.ones((3, 3)))


def test_files_are_guarded_before_any_system_moves(images: list[Atoms], calculator: AIMNet2, tmp_path: Path) -> None:
    first, second = tmp_path / "first.traj", tmp_path / "second.traj"
    second.write_text("precious")
    with pytest.raises(InputError, match="second.traj exists"):
        md(images, calculator, settings(), steps=1, trajectory=[first, second])
    with pytest.raises(InputError, match="first.traj is named twice"):
        md(images[0], calculator, settings(), steps=1, trajectory=first, log=first)
    with pytest.raises(InputError, match="log: 1 files for 2 structures"):
        md(images, calculator, settings(), steps=1, log=first)
    assert not first.exists()
    assert second.read_text() == "precious"


def test_a_run_is_continued_with_its_own_settings_only(
    images: list[Atoms], calculator: AIMNet2, tmp_path: Path
) -> None:
    path = tmp_path / "a.traj"
    md(images[0], calculator, settings(), steps=5, trajectory=path)
    with pytest.raises(ConfigError, match="was made with interval=5, this run has interval=2"):
        md(images[0], calculator, settings(interval=2), steps=9, trajectory=path, restart=True)
    with pytest.raises(InputError, match="holds H2O, the structure file CO2"):
        md(images[1], calculator, settings(), steps=9, trajectory=path, restart=True)
