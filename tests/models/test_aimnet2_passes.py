"""The passes of AIMNet2: in which arithmetic they run, and what they share while they are trained."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from molcalc.batch import collate, from_atoms
from molcalc.models.aimnet2 import AIMNet2Network
from molcalc.models.aimnet2_passes import FirstPass, Pass, layer_of_kinds
from molcalc.nn.message import ROW_LANES, message
from molcalc.nn.neighbor_sum import EdgeRows
from molcalc.registry import build_members
from tests.helpers.tiny import organic, tiny_checkpoint


def mixed_network() -> tuple[AIMNet2Network, AIMNet2Network]:
    """A network whose large perceptrons are in single precision, and the same in double precision."""
    double = build_members(tiny_checkpoint())[0].double()
    mixed = build_members(tiny_checkpoint())[0].double()
    mixed.passes.float()
    assert isinstance(mixed, AIMNet2Network)
    assert isinstance(double, AIMNet2Network)
    return mixed, double


def test_small_batches_run_in_double_precision() -> None:
    mixed, double = mixed_network()
    batch = from_atoms(organic(), cutoff=5.0)
    assert torch.equal(mixed(batch)["atomic_energies"], double(batch)["atomic_energies"])
    assert mixed.dtype == torch.float32


def test_large_batches_run_in_single_precision() -> None:
    mixed, double = mixed_network()
    batch = collate([from_atoms(organic(seed), cutoff=5.0) for seed in range(4)])
    difference = (mixed(batch)["atomic_energies"] - double(batch)["atomic_energies"]).abs().max()
    assert 0.0 < float(difference) < 1e-4


def test_new_weights_are_used_by_small_batches_too() -> None:
    mixed, _ = mixed_network()
    batch = from_atoms(organic(), cutoff=5.0)
    before = mixed(batch)["atomic_energies"]
    with torch.no_grad():
        mixed.passes[1][0].weight.mul_(1.1)
    assert float((mixed(batch)["atomic_energies"] - before).abs().max()) > 1e-4


def test_copies_do_not_carry_the_weights_twice() -> None:
    mixed, _ = mixed_network()
    size = len(pickle.dumps(mixed))
    mixed(from_atoms(organic(), cutoff=5.0))
    assert len(pickle.dumps(mixed)) == size


@pytest.mark.parametrize("channels", [1, 2])
def test_training_shares_the_first_products_of_equal_atoms_without_changing_any_gradient(
    channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = build_members(tiny_checkpoint(channels))[0].double().requires_grad_()
    batch = collate([from_atoms(atoms, cutoff=5.0) for atoms in (organic(), organic())])
    weights = list(network.parameters())
    found = []
    for _ in range(2):
        positions = batch.positions.clone().requires_grad_()
        energy = network(replace(batch, positions=positions))["atomic_energies"].sum()
        (forces,) = torch.autograd.grad(energy, positions, create_graph=True)
        found.append((forces, *torch.autograd.grad(energy + forces.square().sum(), weights, allow_unused=True)))
        monkeypatch.setattr(FirstPass, "read", lambda layer, features, _, near: Pass.read(layer, features, None, near))
    for a, b in zip(*found):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


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


@pytest.fixture(params=["compiled", "torch"])
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


@pytest.mark.usefixtures("kernels")
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


@pytest.mark.usefixtures("kernels")
def test_first_and_second_derivatives_of_the_layer_are_exact() -> None:
    assert torch.autograd.gradcheck(short, inputs())
    assert torch.autograd.gradgradcheck(short, inputs())


@pytest.mark.usefixtures("kernels")
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
