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
from molcalc.models.aimnet2 import AIMNet2Config, AIMNet2Network, equilibrate
from molcalc.registry import build_members
from molcalc.train.start.initial_model import cast
from tests.helpers.networks import FIDELITY_KINDS, mixed_batch, tiny_checkpoint, tiny_multifidelity
from tests.helpers.structures import organic


def dense_forward(network: AIMNet2Network, batch: AtomicBatch) -> tuple[Tensor, Tensor]:
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
    a = weights["embedding"][0, z]
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
    return perceptron("energy_heads.0.", out, last=False)[:, 0] + weights["shifts"][0, z], q


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


def test_every_pass_conserves_charges_when_products_run_in_half_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in training with ``precision="bf16"``: only matrix products are half as precise."""
    found = []

    def recorded(*arguments: Any) -> Tensor:
        found.append((arguments[1].dtype, equilibrate(*arguments)))
        return found[-1][1]

    monkeypatch.setattr("molcalc.models.aimnet2.equilibrate", recorded)
    network = cast(build_members(tiny_checkpoint())[0], "bf16", 1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        network(from_atoms(organic(), cutoff=network.cutoff, total_charge=1.0))
    assert len(found) == 2
    for dtype, charges in found:
        assert dtype == torch.float32
        assert abs(float(charges.detach().sum()) - 1.0) < 1e-5


def test_levels_with_one_readout_differ_by_embedding_and_free_atoms_alone() -> None:
    network = tiny_multifidelity(embeddings="shared", readouts="shared")
    assert len(network.energy_heads) == 1
    assert network.embedding_offsets is not None
    batches = [mixed_batch(k, k, k) for k in (0, 2)]
    first, other = (predicted(network, batch)["atomic_energies"] for batch in batches)
    assert not torch.allclose(first, other)
    with torch.no_grad():
        network.embedding_offsets[2] = network.embedding_offsets[0]
        network.shifts[2] = network.shifts[0]
    assert torch.equal(predicted(network, batches[1])["atomic_energies"], first)
    with pytest.raises(ValueError, match=r"what corrects needs a head of its own"):
        replace(network.config, bases=(None, 0, 1))


def predicted(network: AIMNet2Network, batch: AtomicBatch) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in network(batch).items()}


@pytest.mark.parametrize("changes", FIDELITY_KINDS.values(), ids=FIDELITY_KINDS)
def test_fidelities_mix_in_one_batch(changes: dict[str, Any]) -> None:
    network = tiny_multifidelity(**changes)
    mixed = predicted(network, mixed_batch(2, 0, 1))
    for k, fidelity in enumerate((2, 0, 1)):
        own = mixed_batch(2, 0, 1).system_idx == k
        alone = predicted(network, mixed_batch(fidelity, fidelity, fidelity))
        for name, value in mixed.items():
            assert torch.allclose(value[own], alone[name][own], rtol=0, atol=1e-12), name


def test_heads_are_different_tensors_and_draw_different_weights() -> None:
    """Spec 6.9: configuring two heads from one object made them one module."""
    torch.manual_seed(1)
    config = AIMNet2Config(**{**tiny_checkpoint().config.arguments, "n_fidelities": 3})
    heads = AIMNet2Network(config).initialize().energy_heads
    weights = [dict(head.named_parameters())["0.weight"] for head in heads]
    assert len({id(weight) for weight in weights}) == len({weight.data_ptr() for weight in weights}) == 3
    assert not torch.equal(weights[0], weights[1])


def test_a_head_without_structures_gets_a_gradient_of_zeros() -> None:
    network = tiny_multifidelity()
    network(mixed_batch(0, 1))["atomic_energies"].sum().backward()
    gradients = [dict(head.named_parameters())["0.weight"].grad for head in network.energy_heads]
    assert all(gradient is not None for gradient in gradients)
    assert [bool(gradient.any()) for gradient in gradients if gradient is not None] == [True, True, False]


def test_a_correction_is_added_to_the_energies_of_its_base() -> None:
    network = tiny_multifidelity(bases=(None, 0, 1))
    batch = mixed_batch(2)
    before = network(batch)["atomic_energies"].detach()
    with torch.no_grad():
        bias = dict(network.energy_heads[0].named_parameters())["2.bias"]
        bias += 0.5
    assert torch.allclose(network(batch)["atomic_energies"].detach() - before, torch.full_like(before, 0.5))


def test_an_element_that_one_fidelity_learned_moves_the_others_when_embeddings_are_shared() -> None:
    for embeddings, moves in (("shared", True), ("separate", False)):
        network = tiny_multifidelity(embeddings=embeddings)
        before = network(mixed_batch(1))["atomic_energies"].detach()
        network(mixed_batch(0))["atomic_energies"].sum().backward()
        with torch.no_grad():
            network.embedding -= network.embedding.grad
        assert bool((network(mixed_batch(1))["atomic_energies"] != before).any()) is moves


@pytest.mark.parametrize("changes", FIDELITY_KINDS.values(), ids=FIDELITY_KINDS)
def test_charges_of_every_fidelity_add_up(changes: dict[str, Any]) -> None:
    batch = mixed_batch(2, 1, 0)
    charges = tiny_multifidelity(**changes)(batch)["charges"].detach()
    sums = torch.zeros(3, dtype=torch.float64).index_add(0, batch.system_idx, charges)
    assert torch.allclose(sums, batch.total_charge, atol=1e-12)


def test_charge_heads_change_the_charges_of_their_fidelity() -> None:
    network = tiny_multifidelity(charge_heads=True)
    first, second = (network(mixed_batch(fidelity))["charges"].detach() for fidelity in (0, 1))
    plain = tiny_multifidelity()
    for parameter in plain.embedding, network.embedding:
        parameter.data[1] = parameter.data[0]
    assert float((first - second).abs().max()) > 1e-3
    heads = [network(mixed_batch(fidelity))["charges"].detach() for fidelity in (0, 1)]
    assert float((heads[0] - heads[1]).abs().max()) > 1e-3
    passes = [plain(mixed_batch(fidelity))["charges"].detach() for fidelity in (0, 1)]
    assert torch.equal(passes[0], passes[1])
