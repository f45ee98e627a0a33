"""Molecular dynamics as a function."""

from __future__ import annotations

import resource
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.constraints import FixAtoms, MirrorForce
from ase.io import read
from ase.io.trajectory import Trajectory
from ase.md.verlet import VelocityVerlet

import molcalc
from molcalc.calculators import AIMNet2
from molcalc.errors import (
    AtomsTooCloseError,
    ConfigError,
    DynamicsWarning,
    InputError,
    InUseError,
    MolcalcError,
    ResourceError,
)
from molcalc.io.locks import only_writer
from molcalc.prediction.results import Prediction
from molcalc.predictor import Predictor
from molcalc.simulate import ENSEMBLES, Dynamics, DynamicsSettings, DynamicsStep, md_all, recorder, side_by_side
from tests.helpers.structures import rattled


def settings(ensemble: str = "langevin", interval: int = 5) -> DynamicsSettings:
    return DynamicsSettings(ensemble=ensemble, timestep=0.25, friction=0.05, seed=7, interval=interval)


def md(*arguments: Any, **options: Any) -> list[Dynamics]:
    """Outcomes of runs that must not go wrong."""
    outcomes = md_all(*arguments, **options)
    for outcome in outcomes:
        if isinstance(outcome, MolcalcError):
            raise outcome
    return outcomes


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
    again = md(images[0], calculator, replace(settings(), seed=same[1].settings.own_seed), steps=3)[0]
    assert again.atoms.positions == pytest.approx(same[1].atoms.positions, abs=1e-10)
    seeds = {replace(settings(), seed=seed, system=k).own_seed for seed in (7, 8) for k in range(5)}
    assert len(seeds) == 10


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
        md(images, calculator, settings(), steps=1, log=[first])
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


def test_a_trajectory_or_log_of_another_run_is_left_alone(
    images: list[Atoms], calculator: AIMNet2, tmp_path: Path
) -> None:
    path, log = tmp_path / "a.traj", tmp_path / "a.log"
    with only_writer(path), pytest.raises(InUseError, match=r"a.traj is being written by process"):
        md(images[0], calculator, settings(), steps=1, trajectory=path, log=log)
    with only_writer(log), pytest.raises(InUseError, match=r"a.log is being written by process"):
        md(images[0], calculator, settings(), steps=1, trajectory=path, log=log)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("torn", ["a line", "half a line", "the header alone", "a line too many"])
def test_a_log_that_a_killed_run_left_behind_its_frames_is_made_whole(
    torn: str, images: list[Atoms], calculator: AIMNet2, tmp_path: Path
) -> None:
    path, log = tmp_path / "a.traj", tmp_path / "a.log"
    n_steps = 0 if torn == "the header alone" else 2
    md(images[0], calculator, settings(interval=1), steps=n_steps, trajectory=path, log=log)
    lines = log.read_text().splitlines(keepends=True)
    left = {"a line": lines[:-1], "half a line": [*lines[:-1], lines[-1][:40]], "the header alone": lines[:1]}
    log.write_text("".join(left.get(torn, [*lines, lines[-1].replace(" 2 ", " 3 ", 1)])))
    md(images[0], calculator, settings(interval=1), steps=3, trajectory=path, log=log, restart=True)
    rows = log.read_text().splitlines()
    assert [row.split()[0] for row in rows] == ["step", "0", "1", "2", "3"]
    assert len({len(row) for row in rows}) == 1


def test_a_trajectory_whose_steps_do_not_go_on_is_not_continued(
    images: list[Atoms], calculator: AIMNet2, tmp_path: Path
) -> None:
    path = tmp_path / "a.traj"
    md(images[0], calculator, settings(interval=1), steps=2, trajectory=path)
    frames = read(path, ":")
    with Trajectory(path, "a") as mixed:
        mixed.write(frames[1])
    with pytest.raises(InputError, match=r"its steps do not go on: frame 3 is of step 1, not 3"):
        md(images[0], calculator, settings(interval=1), steps=5, trajectory=path, restart=True)


@pytest.mark.parametrize("ending", [".traj", ".xyz"])
def test_a_full_disk_ends_dynamics_with_the_frames_before(
    ending: str, images: list[Atoms], calculator: AIMNet2, tmp_path: Path
) -> None:
    whole, path = tmp_path / f"whole{ending}", tmp_path / f"a{ending}"
    md(images[0], calculator, settings(interval=1), steps=4, trajectory=whole)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (whole.stat().st_size // 2, hard))
    try:
        with pytest.raises(ResourceError, match=rf"cannot write .*/a{ending}: File too large; \d frames are in"):
            md(images[0], calculator, settings(interval=1), steps=4, trajectory=path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    frames = read(path, ":")
    assert 1 <= len(frames) < 5
    for frame, expected in zip(frames, read(whole, ":")):
        assert np.array_equal(frame.positions, expected.positions)
        assert np.array_equal(frame.get_momenta(), expected.get_momenta())
    if ending == ".traj":
        md(images[0], calculator, settings(interval=1), steps=4, trajectory=path, restart=True)
        assert_same_frames(path, whole)


def test_structures_side_by_side_move_as_with_ase_alone(calculator: AIMNet2) -> None:
    anion, held_one = rattled("OH", seed=1), rattled("CH3OH", seed=2)
    anion.info["charge"] = -1
    held_one.set_constraint(FixAtoms([0, 1]))
    images = [anion, held_one, rattled("H2O", seed=3)]
    for k, atoms in enumerate(images):
        atoms.set_momenta(np.random.default_rng(k).normal(size=(len(atoms), 3)))
    done = molcalc.md(images, calculator, 30, timestep=0.25, ensemble="nve", progress=False)
    for atoms, moved in zip(images, done):
        alone = atoms.copy()
        alone.calc = calculator
        VelocityVerlet(alone, 0.25 * units.fs).run(30)
        assert moved.positions == pytest.approx(alone.positions, abs=1e-8)
        assert moved.get_total_energy() == pytest.approx(alone.get_total_energy(), abs=1e-8)
        assert (moved.info["step"], moved.info["time_fs"]) == (30, 7.5)
    assert done[0].get_charges().sum() == pytest.approx(-1.0, abs=1e-6)
    assert np.array_equal(done[1].positions[:2], held_one.positions[:2])


@pytest.mark.parametrize("ensemble", ["langevin", "nose-hoover"])
def test_a_trajectory_does_not_depend_on_the_batch_and_replicas_without_seed_differ(
    calculator: AIMNet2, ensemble: str
) -> None:
    atoms, crowd = rattled("H2O", seed=3), [rattled("CO2", seed=k) for k in range(4)]
    call = {"timestep": 0.1, "ensemble": ensemble, "progress": False}
    together = molcalc.md([*crowd, atoms], calculator, 20, seed=7, **call)[4]
    (alone,) = molcalc.md(atoms, calculator, 20, seed=together.info["seed"], **call)
    assert alone.positions == pytest.approx(together.positions, abs=1e-8)
    replicas, again = (molcalc.md([atoms] * 3, calculator, 2, **call) for _ in range(2))
    assert len({moved.positions.tobytes() for moved in [*replicas, *again]}) == 6


def test_a_run_that_goes_wrong_is_reported_and_does_not_stop_the_others(
    images: list[Atoms], calculator: AIMNet2, tmp_path: Path
) -> None:
    colliding = Atoms("H2", [[0, 0, 0], [0, 0, 1]])
    colliding.set_velocities([[0, 0, 5.0], [0, 0, -5.0]])
    contradictory, nowhere, mirrored = images[0].copy(), images[0].copy(), images[0].copy()
    contradictory.info.update(charge=1, total_charge=2)
    nowhere.positions[1] = np.nan
    mirrored.set_constraint(MirrorForce(0, 1))
    crowd = [colliding, images[0], contradictory, nowhere, mirrored, images[1]]
    path = tmp_path / "md.traj"
    with pytest.warns(DynamicsWarning, match="4 of 6 runs went wrong; structure 0: step 5: atoms 0 and 1 are"):
        done = molcalc.md(
            crowd, calculator, 9, timestep=0.2, ensemble="nve", interval=1, seed=7, trajectory=path, progress=False
        )
    reasons = [moved.info.get("error", "") for moved in done]
    assert [bool(reason) for reason in reasons] == [True, False, True, True, True, False]
    assert "5 frames are in" in reasons[0]
    assert "contradictory total charges" in reasons[2]
    assert "positions are not finite: atom 1" in reasons[3]
    assert "the constraint MirrorForce does not say how many degrees of freedom" in reasons[4]
    assert [len(read(tmp_path / f"md-{k}.traj", ":")) for k in (0, 1, 5)] == [5, 10, 10]
    assert not (tmp_path / "md-2.traj").exists()
    (alone,) = molcalc.md(images[0], calculator, 9, timestep=0.2, ensemble="nve", seed=done[1].info["seed"])
    assert done[1].positions == pytest.approx(alone.positions, abs=1e-8)
    with pytest.raises(AtomsTooCloseError, match="step 5: atoms 0 and 1"):
        molcalc.md(colliding, calculator, 9, timestep=0.2, ensemble="nve", progress=False)
    with pytest.raises(InputError, match="the list is empty"):
        molcalc.md([], calculator, 9)
    with pytest.raises(ConfigError, match="name them with trajectory"):
        molcalc.md(images, calculator, 9, restart=True)


def test_the_same_call_with_restart_goes_on_where_an_interruption_left_some_begun_and_some_not(
    images: list[Atoms], calculator: AIMNet2, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd, call = images * 2, {"timestep": 0.25, "interval": 2, "progress": False}
    monkeypatch.setattr(side_by_side, "GROUP_ATOMS", 6)
    predict, calls = Predictor.predict, [0]

    def interrupted(self: Predictor, *arguments: Any) -> list[Prediction]:
        calls[0] += 1
        if calls[0] == 7:
            raise KeyboardInterrupt
        return predict(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Predictor, "predict", interrupted)
        with pytest.raises(KeyboardInterrupt):
            molcalc.md(crowd, calculator, 10, trajectory=tmp_path / "a.traj", **call)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-0.traj", "a-1.traj"]
    molcalc.md(crowd, calculator, 10, trajectory=tmp_path / "a.traj", restart=True, **call)
    with Trajectory(tmp_path / "a-0.traj") as frames:
        seed = frames.description["seed"]
    molcalc.md(crowd, calculator, 10, trajectory=tmp_path / "b.traj", seed=seed, **call)
    for k in range(4):
        assert [frame.info["step"] for frame in read(tmp_path / f"a-{k}.traj", ":")] == [0, 2, 4, 6, 8, 10]
        assert_same_frames(tmp_path / f"a-{k}.traj", tmp_path / f"b-{k}.traj")
