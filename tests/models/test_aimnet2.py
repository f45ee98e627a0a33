"""The AIMNet2 network against its formulas written out densely, pair by pair."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from molcalc.batch import AtomicBatch, collate, from_atoms
from molcalc.io.checkpoint import Checkpoint
from molcalc.models.aimnet2 import AIMNet2, AIMNet2Config, equilibrate
from molcalc.registry import build_members
from molcalc.train.start.initial_model import cast
from tests.helpers.tiny import organic, tiny_checkpoint


def dense_forward(network: AIMNet2, batch: AtomicBatch) -> tuple[Tensor, Tensor]:
    """Atomic energies and charges of one molecule, every pair explicit (Anstine 2025, methods section)."""
    weights = {name: value.double() for name, value in network.state_dict().items()}
    x, z, n = batch.positions, batch.numbers, batch.n_atoms
    channels = network.config.charge_channels
    r = x[None] - x[:, None]
    d2 = r.square().sum(-1)
    d2[range(n), range(n)] = 25.0
    d = d2.sqrt()
    cutoff = 0.5 + 0.5 * torch.cos(math.pi * (d / 5).clamp(max=1))
    centers = 0.8 + 0.2625 * torch.arange(16, dtype=torch.float64)
    gs = torch.exp(-((16 / 4.2) ** 2) * (d[..., None] - centers) ** 2) * cutoff[..., None]
    gv = gs[..., None] * (r / d[..., None])[:, :, None]

    def convolve(a: Tensor, w: Tensor) -> Tensor:
        s = torch.einsum("ijk,jak->iak", gs, a)
        v = torch.einsum("ijkx,jak->iakx", gv, a)
        p = torch.einsum("akh,iakx->iahx", w, v)
        return torch.cat([s.reshape(n, -1), p.square().sum(-1).reshape(n, -1)], 1)

    def perceptron(prefix: str, h: Tensor, last: bool) -> Tensor:
        layers = sorted({int(k.split(".")[-2]) for k in weights if k.startswith(prefix)})
        for layer in layers:
            h = h @ weights[f"{prefix}{layer}.weight"].T + weights[f"{prefix}{layer}.bias"]
            if layer != layers[-1] or last:
                h = functional.gelu(h)
        return h

    charge, spin = batch.total_charge[0], batch.multiplicity[0] - 1
    totals = torch.stack([charge]) if channels == 1 else torch.stack([charge + spin, charge - spin]) / 2
    a = weights["embedding"][z]
    q = torch.zeros(n, channels, dtype=torch.float64)
    for t in range(3):
        m = torch.cat([a, convolve(a.view(n, 16, 16), weights["conv_features"])], 1)
        if t > 0:
            qk = q[:, :, None].expand(-1, -1, 16)
            m = torch.cat([m, q, convolve(qk, weights["conv_charges"])], 1)
        out = perceptron(f"passes.{t}.", m, last=t > 0)
        if t == 2:
            break
        raw = q + out[:, :channels]
        w = out[:, channels : 2 * channels].square() + 1e-6
        q = raw + w * (totals - raw.sum(0)) / w.sum(0)
        a = a + out[:, 2 * channels :]
    return perceptron("energy_head.", out, last=False)[:, 0] + weights["shifts"][z], q


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("charge", [0, -1])
def test_network_equals_its_dense_formulas(channels: int, charge: int) -> None:
    checkpoint = tiny_checkpoint(channels)
    network = build_members(checkpoint)[0].double()
    multiplicity = 2 if charge else 3
    batch = from_atoms(organic(), cutoff=5.0, total_charge=charge, multiplicity=multiplicity)
    energies, charges = dense_forward(network, batch)
    found = network(batch)
    assert torch.allclose(found["atomic_energies"], energies, rtol=0, atol=1e-9)
    assert torch.allclose(found["charges"], charges.sum(1), rtol=0, atol=1e-11)
    if channels == 2:
        assert torch.allclose(found["spin_charges"], charges[:, 0] - charges[:, 1], rtol=0, atol=1e-11)
        assert float(found["spin_charges"].sum()) == pytest.approx(multiplicity - 1, abs=1e-10)


def test_network_follows_the_dtype_of_its_weights(closed_shell: Checkpoint) -> None:
    network = build_members(closed_shell)[0]
    found = network(from_atoms(organic(), cutoff=5.0))
    assert found["charges"].dtype == torch.float32
    assert found["atomic_energies"].dtype == torch.float64


def test_isolated_atom_has_the_whole_charge(closed_shell: Checkpoint) -> None:
    from ase import Atoms

    network = build_members(closed_shell)[0].double()
    found = network(from_atoms(Atoms("O"), cutoff=5.0, total_charge=-2))
    assert found["charges"].tolist() == pytest.approx([-2.0])


@pytest.mark.parametrize("exact", [True, False])
def test_charges_are_shifted_within_each_structure(exact: bool) -> None:
    torch.manual_seed(0)
    raw, factors = torch.randn(5, 2, dtype=torch.float64), torch.randn(5, 2, dtype=torch.float64)
    system_idx = torch.tensor([0, 0, 1, 1, 1])
    targets = torch.tensor([[1.0, 0.0], [-0.5, 0.5]], dtype=torch.float64)
    charges = equilibrate(raw, factors, targets, system_idx, exact)
    sums = torch.zeros(2, 2, dtype=torch.float64).index_add(0, system_idx, charges)
    error = (sums - targets).abs().max()
    assert error < 1e-12 if exact else 1e-9 < error < 1e-5
    shift = (charges - raw) / (factors.square() + (1e-6 if exact else 0.0))
    assert torch.allclose(shift[0], shift[1])
    assert torch.allclose(shift[2], shift[4])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"charge_channels": 3}, "charge_channels=3"),
        ({"hidden": ((8,),)}, "at least 2"),
        ({"elements": (1, 99)}, "allowed are 1…63"),
        ({"elements": ()}, "allowed"),
    ],
    ids=["charge channels", "passes", "element", "no elements"],
)
def test_impossible_sizes_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AIMNet2Config(**{"elements": (1, 6), **changes})  # type: ignore[arg-type]


def test_fresh_networks_depend_on_the_seed_only() -> None:
    first, second, other = tiny_checkpoint(seed=1), tiny_checkpoint(seed=1), tiny_checkpoint(seed=2)
    assert all(torch.equal(first.weights[name], second.weights[name]) for name in first.weights)
    assert first.hash == second.hash != other.hash


def test_members_of_an_ensemble_are_separate_networks() -> None:
    members = build_members(tiny_checkpoint(n_members=2))
    batch = collate([from_atoms(organic(), cutoff=5.0)])
    energies = [float(member(batch)["atomic_energies"].sum()) for member in members]
    assert abs(energies[0] - energies[1]) > 1e-2


def mixed_network() -> tuple[AIMNet2, AIMNet2]:
    """A network whose large perceptrons are in single precision, and the same in double precision."""
    double = build_members(tiny_checkpoint())[0].double()
    mixed = build_members(tiny_checkpoint())[0].double()
    mixed.passes.float()
    assert isinstance(mixed, AIMNet2)
    assert isinstance(double, AIMNet2)
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
    import pickle

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
        monkeypatch.setattr(AIMNet2, "_kinds", lambda *_: None)
    for a, b in zip(*found):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


def test_every_pass_conserves_charges_when_products_run_in_half_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in training with ``precision="bf16"``: only matrix products are half as precise."""
    found = []

    def recorded(*arguments: Any) -> Tensor:
        found.append((arguments[1].dtype, equilibrate(*arguments)))
        return found[-1][1]

    monkeypatch.setattr("molcalc.models.aimnet2.equilibrate", recorded)
    network = cast(build_members(tiny_checkpoint())[0], "bf16")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        network(from_atoms(organic(), cutoff=network.cutoff, total_charge=1.0))
    assert len(found) == 2
    for dtype, charges in found:
        assert dtype == torch.float32
        assert abs(float(charges.detach().sum()) - 1.0) < 1e-5
