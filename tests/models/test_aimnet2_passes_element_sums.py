"""A layer that reads sums by kind of atom instead of a message."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from molcalc.models.aimnet2_passes import layer_of_kinds
from molcalc.nn.message import ROW_LANES, message
from molcalc.nn.neighbor_sum import EdgeRows
from tests.helpers.checks import assert_gradients_exact

KIND = torch.tensor([0, 1, 0, 2])
PAIRS = torch.tensor([(0, 1), (0, 2), (1, 0), (1, 3), (2, 1), (2, 1)]).T.contiguous()  # one atom without neighbors
ROWS = EdgeRows.from_edges(PAIRS, len(KIND))
N_CHANNELS, N_RADIAL, N_VECTOR, N_OUT = 2, 16, 3, 4
SHAPES = {
    "table": (3, N_CHANNELS * N_RADIAL),
    "basis": (PAIRS.shape[1], 4, N_RADIAL),
    "weights": (N_CHANNELS, N_RADIAL, N_VECTOR),
    "layer": (N_OUT, 2 * N_CHANNELS * N_RADIAL + N_CHANNELS * N_VECTOR),
    "bias": (N_OUT,),
}


@pytest.fixture(params=["compiled", "torch"], autouse=True)
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "compiled":
        pytest.importorskip("numba")
    else:
        monkeypatch.setattr("molcalc.kernels.runtime.available", lambda: False)


def inputs() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    draws = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in SHAPES.values())
    return [(0.3 * draw).requires_grad_() for draw in draws]


def short(table: torch.Tensor, basis: torch.Tensor, weights: torch.Tensor, *layer: torch.Tensor) -> torch.Tensor:
    linear = nn.Linear(SHAPES["layer"][1], N_OUT, dtype=torch.float64)
    del linear.weight, linear.bias
    linear.weight, linear.bias = layer  # type: ignore[assignment]
    return layer_of_kinds(linear, table, KIND, basis, weights, ROWS)


def whole(table: torch.Tensor, basis: torch.Tensor, weights: torch.Tensor, *layer: torch.Tensor) -> torch.Tensor:
    return functional.linear(message(table[KIND], None, basis, weights, ROWS), *layer)


def test_the_layer_and_its_derivatives_are_those_of_the_whole_message() -> None:
    found = []
    for function in (short, whole):
        tensors = inputs()
        value = function(*tensors)
        forces = torch.autograd.grad(value.sin().sum(), tensors[1], create_graph=True)
        gradients = torch.autograd.grad(value.square().sum() + forces[0].square().sum(), tensors)
        found.append((value, *forces, *gradients))
    for a, b in zip(*found):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12)


def test_first_and_second_derivatives_are_exact() -> None:
    assert_gradients_exact(short, inputs())


def test_an_aligned_message_ends_in_zeros() -> None:
    table, basis, weights, *_ = inputs()
    plain = message(table[KIND], None, basis, weights, ROWS)
    aligned = message(table[KIND], None, basis, weights, ROWS, aligned=True)
    assert aligned.shape[1] % ROW_LANES == 0
    assert torch.equal(aligned[:, : plain.shape[1]], plain)
    assert not aligned[:, plain.shape[1] :].any()
    probe = torch.randn(aligned.shape, dtype=aligned.dtype, generator=torch.Generator().manual_seed(1))
    found = []
    for value in (plain, aligned):
        first = torch.autograd.grad((value * probe[:, : value.shape[1]]).sum(), (table, basis), create_graph=True)
        found.append(torch.autograd.grad(sum(x.square().sum() for x in first), (table, basis, weights)))
    for a, b in zip(*found):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
