"""What somebody has set around a call changes no result: precision, gradient modes, devices, forks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from ase.build import molecule

from molcalc.errors import ResourceError
from molcalc.io.checkpoint import Checkpoint
from molcalc.surroundings import own_settings
from tests.helpers.calculators import tiny_calculator
from tests.helpers.networks import tiny_dcm

Around = Callable[[], contextlib.AbstractContextManager[Any]]


@contextlib.contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


AROUND: dict[str, Around] = {
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "no gradients": torch.no_grad,
    "inference mode": torch.inference_mode,
    "default dtype of double precision": lambda: default_dtype(torch.float64),
    "default dtype of half precision": lambda: default_dtype(torch.float16),
    "default device": lambda: torch.device("meta"),
    "errors of numpy": lambda: np.errstate(all="raise"),
}


def found(checkpoint: Checkpoint) -> dict[str, np.ndarray]:
    """Everything that a new calculator finds of water, by one way or another."""
    calc, water = tiny_calculator(checkpoint, dtype="float32"), molecule("H2O")
    water.set_cell([9, 9, 9])
    several = calc.evaluate([water, molecule("CH4")], ("energy", "forces"))
    vibrations = calc.get_vibrations(water)
    return {
        "forces": calc.get_forces(water),
        "dipole": calc.get_dipole_moment(water),
        "many": np.concatenate([each["forces"] for each in several]),
        "esp": calc.get_esp(np.array([[0.0, 0.0, 4.0]]), water),
        "hessian": vibrations.get_hessian(),
        "intensities": vibrations.ir_intensities,
    }


@pytest.fixture(scope="module", params=["aimnet2", "physnet-dcm"])
def plain(request: pytest.FixtureRequest, closed_shell: Checkpoint) -> tuple[Checkpoint, dict[str, np.ndarray]]:
    checkpoint = closed_shell if request.param == "aimnet2" else tiny_dcm(request.param)
    return checkpoint, found(checkpoint)


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
def test_settings_around_change_nothing(plain: tuple[Checkpoint, dict[str, np.ndarray]], around: Around) -> None:
    checkpoint, expected = plain
    with around():
        inside = found(checkpoint)
    for name, value in expected.items():
        assert np.array_equal(value, inside[name]), name


def test_settings_are_back_afterwards() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.inference_mode(), torch.device("meta"):
        with own_settings():
            assert torch.zeros(2).requires_grad_().device.type == "cpu"
            assert not torch.is_autocast_enabled("cpu")
        assert torch.is_autocast_enabled("cpu")
        assert torch.is_inference_mode_enabled()
        assert torch.get_default_device().type == "meta"


def test_numbers_that_underflow_are_no_error_of_a_program_around() -> None:
    tiny = np.full(2, 1e-30, dtype=np.float32)
    with np.errstate(all="raise"):
        with own_settings():
            assert (tiny * tiny == 0.0).all()
        with pytest.raises(FloatingPointError):
            tiny * tiny


def test_a_fork_that_torch_does_not_survive_is_explained() -> None:
    with pytest.raises(ResourceError, match='get_context."spawn"'), own_settings():
        raise RuntimeError("Cannot re-initialize CUDA in forked subprocess")
    with pytest.raises(RuntimeError, match="^other$"), own_settings():
        raise RuntimeError("other")
