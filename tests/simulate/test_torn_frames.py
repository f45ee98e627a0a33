"""Trajectories whose last frames are counted and not whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import read
from ase.io.trajectory import Trajectory

from molcalc.calculators import AIMNet2
from molcalc.errors import InputError, MolcalcError, TornFileWarning
from molcalc.simulate import Dynamics, DynamicsSettings, RelaxationSettings, md_all, relax_all

H2 = Atoms("H2", [[0, 0, 0], [0.7, 0.1, 0]])
SETTINGS = DynamicsSettings(seed=7, interval=1, timestep=0.05)
N_STEPS = 44
"""The table of offsets, of 42 frames, is written anew between the frames of these steps."""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory, module_calculator: AIMNet2) -> Path:
    """A run with a frame for each step."""
    path = tmp_path_factory.mktemp("recorded") / "a.traj"
    md_all(H2, module_calculator, SETTINGS, steps=N_STEPS, trajectory=path)
    return path


def go_on(path: Path, calculator: AIMNet2) -> Dynamics:
    """Continue the run."""
    (done,) = md_all(H2, calculator, SETTINGS, steps=N_STEPS, trajectory=path, restart=True)
    if isinstance(done, MolcalcError):
        raise done
    return done


def offsets(path: Path) -> list[int]:
    """Where the frames end in a file."""
    with Trajectory(path) as trajectory:
        return [int(offset) for offset in trajectory.backend._offsets]


def zeros(body: bytes, start: int, stop: int) -> bytes:
    return body[:start] + bytes(stop - start) + body[stop:]


TORN: dict[str, tuple[int, Callable[[bytes, list[int]], bytes]]] = {
    "the last is cut off": (1, lambda body, ends: body[: ends[-1] + 20]),
    "two are cut off": (2, lambda body, ends: body[: ends[-2]]),
    "two and most of the table": (3, lambda body, ends: body[: ends[-3] + 9]),
    "the last is zeros": (1, lambda body, ends: zeros(body, ends[-1], len(body))),
}


@pytest.mark.parametrize(("n_torn", "tear"), TORN.values(), ids=TORN)
def test_dynamics_go_on_from_the_last_whole_frame(
    recorded: Path, module_calculator: AIMNet2, tmp_path: Path, n_torn: int, tear: Callable[[bytes, list[int]], bytes]
) -> None:
    path = tmp_path / "a.traj"
    if n_torn == 3:  # cut where the table of the offsets begins, which is behind the 43rd frame
        md_all(H2, module_calculator, SETTINGS, steps=41, trajectory=path)
        path.write_bytes(tear(path.read_bytes(), offsets(path)))
    else:
        path.write_bytes(tear(recorded.read_bytes(), offsets(recorded)))
    with Trajectory(path) as trajectory:
        n_frames = len(trajectory)
    message = f"of its {n_frames} frames the last {n_torn} are torn.*goes on from frame {n_frames - n_torn - 1}"
    with pytest.warns(TornFileWarning, match=message):
        done = go_on(path, module_calculator)
    assert done.n_frames == N_STEPS + 1
    for frame, expected in zip(read(path, ":"), read(recorded, ":"), strict=True):
        assert np.array_equal(frame.positions, expected.positions)
        assert np.array_equal(frame.get_momenta(), expected.get_momenta())


def test_a_file_whose_beginning_is_torn_is_refused_and_stays(
    recorded: Path, module_calculator: AIMNet2, tmp_path: Path
) -> None:
    path = tmp_path / "a.traj"
    for size in (20, 60, offsets(recorded)[0] + 8):
        path.write_bytes(recorded.read_bytes()[:size])
        with pytest.raises(InputError, match="a.traj is not a readable trajectory"):
            go_on(path, module_calculator)
        assert path.stat().st_size == size


def test_a_relaxation_retraces_what_is_whole(images: list[Atoms], calculator: AIMNet2, tmp_path: Path) -> None:
    whole, path = tmp_path / "whole.traj", tmp_path / "a.traj"
    settings = RelaxationSettings(steps=5, fmax=1e-6)
    relax_all(images[0], calculator, settings, trajectory=whole)
    body, ends = whole.read_bytes(), offsets(whole)
    path.write_bytes(zeros(body, ends[3], ends[3] + 40))  # one in the middle: those behind it are not needed
    with pytest.warns(TornFileWarning, match="of its 6 frames the last 3 are torn"):
        relax_all(images[0], calculator, settings, trajectory=path, restart=True)
    for frame, expected in zip(read(path, ":"), read(whole, ":"), strict=True):
        assert np.array_equal(frame.positions, expected.positions)
