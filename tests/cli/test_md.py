"""``molcalc md``."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.io import read, trajectory, write
from ase.io.trajectory import Trajectory
from ase.io.ulm import InvalidULMFileError

from molcalc.cli import main
from molcalc.prediction.results import Prediction
from molcalc.predictor import Predictor
from molcalc.simulate import recorder
from tests.helpers.forks import Fork
from tests.helpers.pages import data_of

SAME = 1e-10
"""Å, u·Å/fs between a run in one piece and one in two: the neighbor list is made at another structure."""
ENSEMBLES = {
    "nve": ("--ensemble", "nve"),
    "langevin": ("--thermostat", "langevin", "--friction", "0.05"),
    "bussi": ("--thermostat", "bussi", "--friction", "0.05"),
}
STEPS = ("--interval", "5", "--seed", "7", "--timestep", "0.25")


@pytest.fixture
def md(run: Any, model: Path, water: Path) -> Any:
    """Molecular dynamics of water in double precision."""
    return lambda *options: run("md", water, "--model", model, "--dtype", "float64", *options)


def assert_same_run(one: str, two: str) -> None:
    """Frames, momenta and steps of two trajectories agree."""
    for first, second in zip(read(one, ":"), read(two, ":"), strict=True):
        assert second.positions == pytest.approx(first.positions, abs=SAME)
        assert second.get_momenta() == pytest.approx(first.get_momenta(), abs=SAME)
        assert second.info == first.info


@pytest.mark.parametrize("options", ENSEMBLES.values(), ids=ENSEMBLES)
def test_a_run_in_two_parts_is_the_run_in_one_piece(md: Any, options: tuple[str, ...]) -> None:
    whole = md("--trajectory", "whole.traj", "--log", "whole.log", "--steps", "30", *STEPS, *options)
    assert whole.status == 0, whole.err
    assert md("--trajectory", "parts.traj", "--log", "parts.log", "--steps", "18", *STEPS, *options).status == 0
    assert len(read("parts.traj", ":")) == 4
    pictures = ("--plot", "--html", "parts.html")
    second = md("--trajectory", "parts.traj", "--log", "parts.log", "--steps", "30", "--restart", *pictures)
    assert second.status == 0, second.err
    assert Path("parts.png").read_bytes().startswith(b"\x89PNG")
    assert data_of(Path("parts.html"))["views"][0]["captions"][6].startswith("7.5 fs, -")
    assert_same_run("whole.traj", "parts.traj")
    assert [atoms.info["step"] for atoms in read("parts.traj", ":")] == list(range(0, 31, 5))
    assert Path("parts.log").read_text() == Path("whole.log").read_text()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["INT", "TERM"])
def test_an_interrupted_run_ends_with_the_same_frames(
    md: Any, monkeypatch: pytest.MonkeyPatch, number: int, status: int
) -> None:
    md("--trajectory", "whole.traj", "--steps", "40", *STEPS)
    predict: Callable[..., list[Prediction]] = Predictor.predict
    count = [0]

    def interrupting(self: Predictor, *arguments: Any, **options: Any) -> list[Prediction]:
        found = predict(self, *arguments, **options)
        count[0] += 1
        if count[0] == 24:
            os.kill(os.getpid(), number)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(Predictor, "predict", interrupting)
        stopped = md("--trajectory", "parts.traj", "--steps", "40", *STEPS)
    assert stopped.status == status
    assert "molcalc: stopped at step 22 of 40; 5 frames are in parts.traj: --restart continues" in stopped.err
    assert len(read("parts.traj", ":")) == 5
    assert md("--trajectory", "parts.traj", "--steps", "40", "--restart").status == 0
    assert_same_run("whole.traj", "parts.traj")


def test_a_signal_in_the_middle_of_a_frame_waits_for_its_end(md: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    write_atoms = trajectory.write_atoms
    count = [0]

    def interrupting(*arguments: Any, **options: Any) -> None:
        count[0] += 1
        if count[0] == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        write_atoms(*arguments, **options)

    monkeypatch.setattr(trajectory, "write_atoms", interrupting)
    stopped = md("--trajectory", "parts.traj", "--log", "parts.log", "--steps", "40", *STEPS)
    assert stopped.status == 143
    assert [atoms.info["step"] for atoms in read("parts.traj", ":")] == [0, 5, 10]
    assert len(Path("parts.log").read_text().splitlines()) == 4
    assert "stopped at step 10 of 40; 3 frames are in parts.traj" in stopped.err


def test_a_log_that_a_killed_run_did_not_begin_has_a_line_of_its_first_frame(md: Any) -> None:
    md("--trajectory", "whole.traj", "--log", "whole.log", "--steps", "5", *STEPS)
    md("--trajectory", "parts.traj", "--steps", "0", *STEPS)
    assert md("--trajectory", "parts.traj", "--log", "parts.log", "--steps", "5", "--restart").status == 0
    assert Path("parts.log").read_text() == Path("whole.log").read_text()


@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGKILL], ids=["INT", "KILL"]
)
def test_a_killed_process_leaves_a_trajectory_that_can_be_continued(
    md: Any, model: Path, water: Path, number: int
) -> None:
    command = ["md", str(water), "--model", str(model), "--trajectory", "run.traj"]
    command += ["--dtype", "float64", "--steps", "1000000", "--interval", "1", "--seed", "7"]
    process = Fork(lambda: sys.exit(main(command)))
    deadline = time.monotonic() + 60
    while frames_in("run.traj") < 20 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    assert process.wait() == (130 if number == signal.SIGINT else -number)
    assert "Traceback" not in process.err
    n_frames = frames_in("run.traj")
    assert n_frames >= 20
    md("--trajectory", "run.traj", "--steps", n_frames + 9, "--restart")
    assert [atoms.info["step"] for atoms in read("run.traj", ":")] == list(range(n_frames + 10))


def frames_in(path: str) -> int:
    """Frames that can be read at this moment."""
    try:
        with Trajectory(path) as frames:
            return len(frames)
    except (FileNotFoundError, InvalidULMFileError, ValueError):
        return 0


def test_the_energy_is_conserved(md: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    result = md("--ensemble", "nve", "--steps", "80", *STEPS, "--log", "run.log")
    table = np.loadtxt("run.log", skiprows=1)
    assert table.shape == (17, 6)
    assert table[:, 1] == pytest.approx(0.25 * table[:, 0])
    assert table[:, 4] == pytest.approx(table[:, 2] + table[:, 3], abs=2e-6)
    assert np.ptp(table[:, 4]) < 0.02 * np.ptp(table[:, 2])
    assert "80 steps, 17 frames; mean temperature" in result.out
    assert f"fluctuation {table[:, 4].std() / 3:.1e} eV/atom" in result.out
    assert "drift" not in result.out
    monkeypatch.setattr(recorder, "DRIFT_TIME", 0.0)
    result = md("--ensemble", "nve", "--steps", "80", *STEPS, "--force")
    slope = 1000.0 * np.polyfit(table[:, 1], table[:, 4] / 3, 1)[0]
    assert f"drift {slope:.1e} eV/atom/ps" in result.out


def test_frames_keep_charge_info_and_results(run: Any, model: Path) -> None:
    atoms = molecule("OH")
    atoms.info.update(charge=-1, name="hydroxide")
    write("ion.traj", atoms)
    assert run("md", "ion.traj", "--model", model, "--steps", "10", "--trajectory", "md.traj").status == 0
    last = read("md.traj")
    assert last.info == {"charge": -1, "name": "hydroxide", "step": 10, "time_fs": 5.0}
    assert last.get_charges().sum() == pytest.approx(-1.0, abs=1e-5)
    assert last.calc.parameters["charge"] == -1
    assert run("energy", "md.traj@-1", "--model", model).status == 0
    run("md", "ion.traj", "--model", model, "--steps", "20", "--trajectory", "md.traj", "--restart")
    assert read("md.traj").info["charge"] == -1


def test_the_charge_given_on_the_command_line_stays_with_the_run(md: Any) -> None:
    md("--charge", "-2", "--steps", "10", "--trajectory", "md.traj")
    assert read("md.traj").info["charge"] == -2
    md("--steps", "20", "--trajectory", "md.traj", "--restart")
    assert [atoms.calc.parameters["charge"] for atoms in read("md.traj", ":")] == [-2, -2, -2]
    other = md("--charge", "2", "--steps", "30", "--trajectory", "md.traj", "--restart")
    assert other.status == 2
    assert "contradictory total charges" in other.err


def test_velocities_of_a_file_are_kept_when_asked_for(md: Any, run: Any, model: Path) -> None:
    md("--steps", "10", "--trajectory", "nvt.traj", *STEPS)
    options = ("--ensemble", "nve", "--keep-velocities", "--steps", "5", "--model", model)
    assert run("md", "nvt.traj", *options, "--trajectory", "nve.traj").status == 0
    assert read("nve.traj@0").get_momenta() == pytest.approx(read("nvt.traj@-1").get_momenta(), abs=0.0)
    refused = run("md", "water.xyz", *options, "--trajectory", "x.traj")
    assert refused.status == 2
    assert "water.xyz has no velocities" in refused.err


def test_the_seed_decides_the_run_and_is_printed(md: Any) -> None:
    md("--seed", "1", "--steps", "10", "--trajectory", "a.traj")
    md("--seed", "1", "--steps", "10", "--trajectory", "b.traj")
    assert_same_run("a.traj", "b.traj")
    free = md("--steps", "10", "--trajectory", "c.traj")
    seed = free.out.split("seed ")[1].split(";")[0]
    md("--seed", seed, "--steps", "10", "--trajectory", "d.traj")
    assert_same_run("c.traj", "d.traj")
    assert not np.allclose(read("a.traj").positions, read("c.traj").positions)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--ensemble", "nve", "--thermostat", "bussi"), "--thermostat has no meaning with --ensemble nve"),
        (("--ensemble", "nve", "--friction", "0.1"), "--friction has no meaning with --ensemble nve"),
        (("--thermostat", "bussi", "--temperature", "0"), "needs a temperature > 0"),
        (("--trajectory", "there.traj"), "there.traj exists: give another name, or --force"),
        (("--log", "there.traj"), "there.traj exists"),
        (("--trajectory", "no/where.traj"), "the folder no does not exist"),
        (("--trajectory", "there.traj", "--restart"), "there.traj is not a readable trajectory"),
    ],
    ids=["thermostat", "friction", "zero", "trajectory", "log", "folder", "restart"],
)
def test_impossible_requests_are_status_2_and_change_nothing(md: Any, options: tuple[str, ...], text: str) -> None:
    Path("there.traj").write_text("precious")
    result = md(*options, "--steps", "10")
    assert (result.status, result.out) == (2, "")
    assert text in result.err
    assert sorted(path.name for path in Path().iterdir()) == ["there.traj", "water.xyz"]
    assert Path("there.traj").read_text() == "precious"


def test_the_structure_file_is_never_the_trajectory_or_log(md: Any) -> None:
    before = Path("water.xyz").read_bytes()
    for option in ("--trajectory", "--log"):
        result = md(option, "water.xyz", "--force", "--steps", "5")
        assert result.status == 2
        assert "water.xyz is an input and the target at the same time" in result.err
    assert "one.traj is named twice" in md("--trajectory", "one.traj", "--log", "one.traj").err
    assert Path("water.xyz").read_bytes() == before
    assert [path.name for path in Path().iterdir()] == ["water.xyz"]


def test_a_restart_keeps_the_settings_it_was_begun_with(md: Any, run: Any, model: Path) -> None:
    md("--steps", "20", "--temperature", "150", "--trajectory", "md.traj", *STEPS)
    for options, text in {
        ("--temperature", "300"): "--temperature 300.0: md.traj was made with 150.0",
        ("--ensemble", "nve"): "--ensemble nve: md.traj was made with nvt",
        ("--interval", "10"): "--interval 10: md.traj was made with 5",
        ("--dtype", "float32"): "was made with --dtype float64, this run has --dtype float32",
    }.items():
        result = md("--trajectory", "md.traj", "--restart", *options)
        assert result.status == 2
        assert text in result.err
    assert md("--trajectory", "md.traj", "--restart", "--temperature", "150", "--steps", "25").status == 0
    assert len(read("md.traj", ":")) == 6
    assert md("--trajectory", "md.traj", "--restart", "--steps", "25").out.endswith("last total energy") is False
    assert len(read("md.traj", ":")) == 6
    run("relax", "water.xyz", "--model", model, "--steps", "1", "--trajectory", "relax.traj")
    assert "was not written by 'molcalc md'" in md("--trajectory", "relax.traj", "--restart").err


def test_a_restart_without_a_trajectory_begins(md: Any) -> None:
    assert md("--steps", "10", "--trajectory", "md.traj", "--restart").status == 0
    assert len(read("md.traj", ":")) == 2


@pytest.mark.parametrize(
    ("name", "evaluation", "step", "frames"), [("forces", 8, 7, 2), ("energy", 11, 10, 2)], ids=["forces", "energy"]
)
def test_a_result_that_is_not_finite_stops_at_its_step(
    md: Any, monkeypatch: pytest.MonkeyPatch, name: str, evaluation: int, step: int, frames: int
) -> None:
    predict: Callable[..., list[Prediction]] = Predictor.predict
    count = [0]

    def poisoned(self: Predictor, *arguments: Any, **options: Any) -> list[Prediction]:
        found = predict(self, *arguments, **options)
        count[0] += 1
        if count[0] == evaluation:
            found[0].results[name] = found[0].results[name] * np.nan
        return found

    monkeypatch.setattr(Predictor, "predict", poisoned)
    result = md("--steps", "20", "--trajectory", "md.traj", *STEPS)
    assert result.status == 5
    assert f"molcalc: error: step {step}: " in result.err
    assert len(read("md.traj", ":")) == frames


def test_atoms_that_collide_stop_the_run_at_their_step(run: Any, model: Path) -> None:
    atoms = Atoms("H2", [[0, 0, 0], [0, 0, 1]])
    atoms.set_velocities([[0, 0, 5.0], [0, 0, -5.0]])
    write("h2.traj", atoms)
    options = ("--keep-velocities", "--ensemble", "nve", "--timestep", "0.2", "--steps", "9")
    result = run("md", "h2.traj", "--model", model, *options)
    assert result.status == 2
    assert "molcalc: error: step 5: atoms 0 and 1" in result.err


def test_the_trajectory_says_how_it_was_made(md: Any) -> None:
    md("--steps", "5", "--thermostat", "bussi", "--trajectory", "md.traj", *STEPS)
    with Trajectory("md.traj") as frames:
        description = json.loads(json.dumps(frames.description))
    assert description.pop("checksum")
    assert description == {
        "program": "molcalc md",
        "ensemble": "nvt",
        "thermostat": "bussi",
        "temperature": 300.0,
        "timestep": 0.25,
        "friction": 0.01,
        "seed": 7,
        "interval": 5,
        "degrees_of_freedom": 3,
    }


def test_a_run_of_one_frame_says_that_it_has_no_picture(md: Any) -> None:
    result = md("--steps", "0", "--trajectory", "a.traj", "--plot")
    assert (result.status, Path("a.png").exists()) == (0, False)
    assert "a.traj has one frame only, of which there is no picture" in result.err


def test_a_single_atom_runs(run: Any, model: Path) -> None:
    write("atom.xyz", Atoms("H", info={"charge": -1}))
    for name, options in ENSEMBLES.items():
        status = run(
            "md", "atom.xyz", "--model", model, "--steps", "5", "--trajectory", f"{name}.traj", *options
        ).status
        assert status == (2 if name == "bussi" else 0)


def test_several_structures_run_side_by_side_and_go_on_together(run: Any, model: Path, water: Path) -> None:
    write("more.traj", [molecule("CO2"), molecule("NH3")])
    write("rows.db", [molecule("N2"), Atoms("H2", [[0, 0, 0], [0, 0, 0.01]])])
    options = ("--model", model, "--steps", "10", "--trajectory", "md.traj", "--log", "md.log")
    first = run("md", water, "more.traj", "rows.db", *options, "--interval", "5")
    assert first.status == 2
    assert "4 structures, nvt (langevin) at 300 K" in first.out
    assert "more.traj, frame -1: 10 steps, 3 frames; mean temperature" in first.out
    assert "error: rows.db, frame 1: atoms 0 and 1 are 0.010 Å apart" in first.err
    assert "1 failed, 3 are done" in first.err
    assert [read(f"md-{k}.traj").get_chemical_formula() for k in range(3)] == ["H2O", "H3N", "N2"]
    assert sorted(path.name for path in Path().glob("md-*")) == [
        *(f"md-{k}{end}" for k in range(3) for end in (".log", ".traj"))
    ]
    again = run("md", water, "more.traj", "rows.db@0", *options, "--restart", "--steps", "15")
    assert again.status == 0, again.err
    assert [[atoms.info["step"] for atoms in read(f"md-{k}.traj", ":")] for k in range(3)] == [[0, 5, 10, 15]] * 3
    assert "md-0.traj exists" in run("md", water, "more.traj", *options).err
