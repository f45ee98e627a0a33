"""Trajectories that are written in parts."""

from __future__ import annotations

from pathlib import Path

import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read
from ase.io.trajectory import Trajectory

from molcalc.calculators import AIMNet2
from molcalc.errors import ConfigError, InputError
from molcalc.simulate import DynamicsSettings, RelaxationSettings, md_all, relax_all
from molcalc.simulate.provenance import with_results
from molcalc.simulate.trajectory import (
    TrajectoryWriter,
    check_same_model,
    check_same_settings,
    file_of_each,
    read_recorded,
)

SETTINGS = {"program": "molcalc test", "speed": 3}


def test_a_trajectory_grows_over_several_writers(images: list[Atoms], tmp_path: Path) -> None:
    path = tmp_path / "a.traj"
    images[0].calc = SinglePointCalculator(images[0], energy=0.0)
    for n_frames in (0, 2):
        with TrajectoryWriter(path, SETTINGS, n_frames) as writer:
            writer.write(images[0])
            writer.write(images[0])
            assert writer.n_frames == n_frames + 2
    run = read_recorded(path, "molcalc test")
    assert (len(run.frames), run.n_frames, run.description) == (4, 4, SETTINGS)
    last = read_recorded(path, "molcalc test", only_last=True)
    assert (len(last.frames), last.n_frames) == (1, 4)


def test_a_damaged_first_frame_is_refused_where_a_run_goes_on(images: list[Atoms], tmp_path: Path) -> None:
    path = tmp_path / "a.traj"
    images[0].calc = SinglePointCalculator(images[0], energy=0.0)
    with TrajectoryWriter(path, SETTINGS) as writer:
        writer.write(images[0])
        writer.write(images[0])
    path.write_bytes(path.read_bytes().replace(b'"positions.":', b'"positionz.":', 1))
    assert len(read_recorded(path, "molcalc test", only_last=True).frames) == 1
    with pytest.raises(InputError, match="a.traj is not a readable trajectory"):
        TrajectoryWriter(path, SETTINGS, 2)


def test_every_frame_can_be_read_while_the_next_is_awaited(images: list[Atoms], tmp_path: Path) -> None:
    with TrajectoryWriter(tmp_path / "a.traj", SETTINGS) as writer:
        for n_frames in (1, 2, 3):
            writer.write(images[0])
            assert len(read(tmp_path / "a.traj", ":")) == n_frames


def test_a_writer_without_a_file_counts_frames(images: list[Atoms]) -> None:
    with TrajectoryWriter(None, SETTINGS) as writer:
        writer.write(images[0])
    assert writer.n_frames == 1


def test_files_of_other_programs_and_damaged_ones_are_refused(images: list[Atoms], tmp_path: Path) -> None:
    with Trajectory(tmp_path / "other.traj", "w") as trajectory:
        trajectory.write(images[0])
    (tmp_path / "damaged.traj").write_text("hello")
    with pytest.raises(InputError, match="other.traj was not written by 'molcalc test'"):
        read_recorded(tmp_path / "other.traj", "molcalc test")
    with pytest.raises(InputError, match="damaged.traj is not a readable trajectory"):
        read_recorded(tmp_path / "damaged.traj", "molcalc test")


def test_a_damaged_version_is_refused_by_who_goes_on(images: list[Atoms], tmp_path: Path) -> None:
    path = tmp_path / "a.traj"
    with TrajectoryWriter(path, SETTINGS) as writer:
        writer.write(images[0])
    data = bytearray(path.read_bytes())
    data[24] ^= 1 << 7  # readers do not look at it
    path.write_bytes(data)
    with pytest.raises(InputError, match="a.traj is not a readable trajectory"):
        TrajectoryWriter(path, SETTINGS, 1)
    assert path.read_bytes() == data


def test_settings_that_changed_are_named_with_both_values(images: list[Atoms], tmp_path: Path) -> None:
    path = tmp_path / "a.traj"
    images[0].calc = SinglePointCalculator(images[0], energy=0.0)
    with TrajectoryWriter(path, SETTINGS) as writer:
        writer.write(images[0])
    run = read_recorded(path, "molcalc test")
    check_same_settings(SETTINGS, run, path)
    with pytest.raises(ConfigError, match="a.traj was made with speed=3, this run has speed=4"):
        check_same_settings({**SETTINGS, "speed": 4}, run, path)


def test_a_model_that_changed_is_named_but_a_new_version_or_structure_is_no_change(
    images: list[Atoms], calculator: AIMNet2
) -> None:
    images[0].calc = calculator
    images[0].get_potential_energy()
    recorded = with_results(images[0], calculator.results, calculator)
    recorded.calc.parameters.update(molcalc="0.0.0", charge=-1)
    check_same_model(calculator, recorded, Path("a.traj"))
    recorded.calc.parameters["dtype"] = "float32"
    with pytest.raises(ConfigError, match="a.traj was made with dtype=float32, this run has dtype=float64"):
        check_same_model(calculator, recorded, Path("a.traj"))


def test_every_system_has_a_file_of_its_own_or_none() -> None:
    assert file_of_each(None, 2, "log") == [None, None]
    assert file_of_each("a", 1, "log") == [Path("a")]
    assert file_of_each("b/a.log", 2, "log") == [Path("b/a-0.log"), Path("b/a-1.log")]
    assert file_of_each(["a", None], 2, "log") == [Path("a"), None]
    with pytest.raises(InputError, match="log: 1 files for 2 structures; give one for each, or None"):
        file_of_each(["a"], 2, "log")


@pytest.mark.parametrize("name", ["a.xyz", "a.EXTXYZ", "a.traj"])
def test_the_format_follows_the_name(images: list[Atoms], calculator: AIMNet2, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    steps = 2
    relaxed = relax_all(images[0], calculator, RelaxationSettings(fmax=1e-6, steps=steps), trajectory=path)[0]
    form = "traj" if name == "a.traj" else "extxyz"
    frames = read(path, ":", format=form)
    assert len(frames) == steps + 1
    assert frames[-1].get_potential_energy() == pytest.approx(relaxed.last.energy, abs=1e-6)
    assert frames[-1].get_forces() == pytest.approx(relaxed.atoms.get_forces(), abs=1e-6)


@pytest.mark.parametrize("name", ["a.log", "a", "a.db", "a.traj.gz"])
def test_formats_that_do_not_grow_are_refused_before_anything_is_computed(
    images: list[Atoms], calculator: AIMNet2, tmp_path: Path, name: str
) -> None:
    with pytest.raises(InputError, match=r"trajectories end in \.traj, \.xyz, \.extxyz"):
        md_all(images[0], calculator, DynamicsSettings(seed=0), steps=1, trajectory=tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_text_cannot_be_continued_and_stays(images: list[Atoms], calculator: AIMNet2, tmp_path: Path) -> None:
    path = tmp_path / "a.xyz"
    relax_all(images[0], calculator, RelaxationSettings(steps=1), trajectory=path)
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"only a \.traj trajectory can be continued"):
        relax_all(images[0], calculator, RelaxationSettings(steps=2), trajectory=path, restart=True)
    assert path.read_bytes() == before
