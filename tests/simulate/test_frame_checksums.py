"""What a run goes on from is what it wrote."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.io.trajectory import Trajectory

from molcalc.calculators import AIMNet2
from molcalc.errors import InputError, MolcalcError
from molcalc.simulate import Dynamics, DynamicsSettings, RelaxationSettings, md_all, relax_all
from molcalc.simulate.frame_checksums import FRAME_CHECKSUM

SETTINGS = DynamicsSettings(seed=7, interval=1)


def edit(path: Path, change: Callable[[dict[str, Any], list[Atoms]], object]) -> None:
    """Write a trajectory anew with ASE after a change of its description or frames."""
    with Trajectory(path) as trajectory:
        description, frames = dict(trajectory.description), list(trajectory)
    change(description, frames)
    with Trajectory(path, "w") as trajectory:
        trajectory.set_description(description)
        for frame in frames:
            trajectory.write(frame)


def go_on(path: Path, calculator: AIMNet2) -> Dynamics:
    """Continue a run of a hydrogen molecule."""
    (done,) = md_all(Atoms("H2"), calculator, SETTINGS, steps=4, trajectory=path, restart=True)
    if isinstance(done, MolcalcError):
        raise done
    return done


def move(frame: Atoms, *, step: int = 0, momenta: float = 1.0, energy: float = 0.0) -> None:
    """Change a frame and leave what it carries."""
    frame.info["step"] += step
    frame.set_momenta(momenta * frame.get_momenta())
    frame.calc.results["energy"] += energy
    frame.calc.atoms = frame.copy()


EDITS: dict[str, tuple[Callable[[dict[str, Any], list[Atoms]], object], str]] = {
    "seed": (lambda description, frames: description.update(seed=8), "settings of the run are not as they were"),
    "temperature": (lambda description, frames: description.update(temperature=301.0), "settings of the run are not"),
    "friction": (lambda description, frames: description.update(friction=0.02), "settings of the run are not"),
    "step": (lambda description, frames: move(frames[-1], step=1), "frame 2 is not as it was written"),
    "momenta": (lambda description, frames: move(frames[-1], momenta=1.01), "frame 2 is not as it was written"),
    "energy": (lambda description, frames: move(frames[-1], energy=1e-9), "frame 2 is not as it was written"),
    "no results": (lambda description, frames: setattr(frames[-1], "calc", None), "frame 2 is not as it was written"),
    "a frame is gone": (lambda description, frames: frames.pop(1), "frame 1 is of step 2, not 1"),
}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory, module_calculator: AIMNet2) -> bytes:
    """A trajectory of three frames."""
    path = tmp_path_factory.mktemp("recorded") / "a.traj"
    md_all(Atoms("H2", [[0, 0, 0], [0.7, 0.1, 0]]), module_calculator, SETTINGS, steps=2, trajectory=path)
    return path.read_bytes()


@pytest.mark.parametrize(("change", "message"), EDITS.values(), ids=EDITS)
def test_a_run_that_was_edited_is_not_continued(
    recorded: bytes, module_calculator: AIMNet2, tmp_path: Path, change: Any, message: str
) -> None:
    path = tmp_path / "a.traj"
    path.write_bytes(recorded)
    edit(path, change)
    before = path.read_bytes()
    with pytest.raises(InputError, match=rf"a.traj: .*{message}"):
        go_on(path, module_calculator)
    assert path.read_bytes() == before


def without_checksums(description: dict[str, Any], frames: list[Atoms]) -> None:
    """As versions before checksums wrote it."""
    del description["checksum"]
    for frame in frames:
        del frame.calc.parameters[FRAME_CHECKSUM]


def test_trajectories_written_anew_without_a_change_and_those_of_earlier_versions_are_continued(
    recorded: bytes, module_calculator: AIMNet2, tmp_path: Path
) -> None:
    for change in (lambda *_: None, without_checksums):
        path = tmp_path / "a.traj"
        path.write_bytes(recorded)
        edit(path, change)
        assert go_on(path, module_calculator).n_frames == 5


def test_momenta_beyond_any_sense_are_refused_without_a_checksum(
    recorded: bytes, module_calculator: AIMNet2, tmp_path: Path
) -> None:
    path = tmp_path / "a.traj"
    path.write_bytes(recorded)
    edit(path, lambda description, frames: (without_checksums(description, frames), move(frames[-1], momenta=1e6)))
    with pytest.raises(InputError, match="momenta of its last frame are .*K, out of any sense"):
        go_on(path, module_calculator)


def test_edited_results_of_a_relaxation_are_not_retraced(
    images: list[Atoms], calculator: AIMNet2, tmp_path: Path
) -> None:
    path = tmp_path / "a.traj"
    relax_all(images[0], calculator, RelaxationSettings(steps=2), trajectory=path)

    def push(description: dict[str, Any], frames: list[Atoms]) -> None:
        frames[1].calc.results["forces"] = frames[1].calc.results["forces"] + np.array([1e-6, 0.0, 0.0])

    edit(path, push)
    with pytest.raises(InputError, match="frame 1 is not as it was written"):
        relax_all(images[0], calculator, RelaxationSettings(steps=4), trajectory=path, restart=True)
