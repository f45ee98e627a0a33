"""One backbone for several fidelities: what is shared, what is not, and where a new fidelity starts."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from molcalc.batch import AtomicBatch, collate, from_atoms
from molcalc.errors import ConfigError
from molcalc.models.aimnet2 import AIMNet2
from molcalc.models.multifidelity import MultiFidelityAIMNet2, MultiFidelityConfig, with_fidelities
from molcalc.registry import build_members
from tests.helpers.tiny import FIDELITY_KINDS, organic, tiny_checkpoint, tiny_multifidelity


def single(charge_channels: int = 1) -> AIMNet2:
    network = build_members(tiny_checkpoint(charge_channels))[0].double()
    assert isinstance(network, AIMNet2)
    return network


def batch_of(*fidelities: int) -> AtomicBatch:
    parts = [from_atoms(organic(k), cutoff=5.0, total_charge=k) for k in range(len(fidelities))]
    return replace(collate(parts), fidelity=torch.tensor(fidelities))


def detached(results: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in results.items()}


@pytest.mark.parametrize("changes", FIDELITY_KINDS.values(), ids=FIDELITY_KINDS)
@pytest.mark.parametrize("charge_channels", [1, 2])
def test_new_fidelities_start_with_the_predictions_of_their_source(
    changes: dict[str, Any], charge_channels: int
) -> None:
    network = single(charge_channels)
    expected = detached(network(batch_of(0, 0, 0)))
    found = detached(with_fidelities(network, [0, 0, 0], **changes)(batch_of(0, 1, 2)))
    for name, value in expected.items():
        assert torch.allclose(found[name], value, rtol=0, atol=1e-12), name


@pytest.mark.parametrize("changes", FIDELITY_KINDS.values(), ids=FIDELITY_KINDS)
def test_a_further_fidelity_starts_from_the_one_that_is_named(changes: dict[str, Any]) -> None:
    network = tiny_multifidelity(**changes)
    bases = {"bases": (None, 0, 1, 2)} if "bases" in changes else {}
    more = with_fidelities(network, [0, 1, 2, 2], **bases)
    expected, found = detached(network(batch_of(0, 2))), detached(more(batch_of(0, 3)))
    for name, value in expected.items():
        assert torch.allclose(found[name], value, rtol=0, atol=1e-12), name


@pytest.mark.parametrize("changes", FIDELITY_KINDS.values(), ids=FIDELITY_KINDS)
def test_fidelities_mix_in_one_batch(changes: dict[str, Any]) -> None:
    network = tiny_multifidelity(**changes)
    mixed = detached(network(batch_of(2, 0, 1)))
    for k, fidelity in enumerate((2, 0, 1)):
        own = batch_of(2, 0, 1).system_idx == k
        alone = detached(network(batch_of(fidelity, fidelity, fidelity)))
        for name, value in mixed.items():
            assert torch.allclose(value[own], alone[name][own], rtol=0, atol=1e-12), name


def test_heads_are_different_tensors_and_draw_different_weights() -> None:
    """Spec 6.9: configuring two heads from one object made them one module."""
    torch.manual_seed(1)
    config = MultiFidelityConfig(**{**asdict(single().config), "n_fidelities": 3})
    heads = MultiFidelityAIMNet2(config).initialize().energy_heads
    weights = [dict(head.named_parameters())["0.weight"] for head in heads]
    assert len({id(weight) for weight in weights}) == len({weight.data_ptr() for weight in weights}) == 3
    assert not torch.equal(weights[0], weights[1])


def test_a_head_without_structures_gets_a_gradient_of_zeros() -> None:
    network = tiny_multifidelity()
    network(batch_of(0, 1))["atomic_energies"].sum().backward()
    gradients = [dict(head.named_parameters())["0.weight"].grad for head in network.energy_heads]
    assert all(gradient is not None for gradient in gradients)
    assert [bool(gradient.any()) for gradient in gradients if gradient is not None] == [True, True, False]


def test_a_correction_is_added_to_the_energies_of_its_base() -> None:
    network = tiny_multifidelity(bases=(None, 0, 1))
    batch = batch_of(2)
    before = network(batch)["atomic_energies"].detach()
    with torch.no_grad():
        bias = dict(network.energy_heads[0].named_parameters())["2.bias"]
        bias += 0.5
    assert torch.allclose(network(batch)["atomic_energies"].detach() - before, torch.full_like(before, 0.5))


def test_an_element_that_one_fidelity_learned_moves_the_others_when_embeddings_are_shared() -> None:
    for embeddings, moves in (("shared", True), ("separate", False)):
        network = tiny_multifidelity(embeddings=embeddings)
        before = network(batch_of(1))["atomic_energies"].detach()
        network(batch_of(0))["atomic_energies"].sum().backward()
        with torch.no_grad():
            network.embedding -= network.embedding.grad
        assert bool((network(batch_of(1))["atomic_energies"] != before).any()) is moves


@pytest.mark.parametrize("changes", FIDELITY_KINDS.values(), ids=FIDELITY_KINDS)
def test_charges_of_every_fidelity_add_up(changes: dict[str, Any]) -> None:
    batch = batch_of(2, 1, 0)
    charges = tiny_multifidelity(**changes)(batch)["charges"].detach()
    sums = torch.zeros(3, dtype=torch.float64).index_add(0, batch.system_idx, charges)
    assert torch.allclose(sums, batch.total_charge, atol=1e-12)


def test_charge_heads_change_the_charges_of_their_fidelity() -> None:
    network = tiny_multifidelity(charge_heads=True)
    first, second = (network(batch_of(fidelity))["charges"].detach() for fidelity in (0, 1))
    plain = tiny_multifidelity()
    for parameter in plain.embedding, network.embedding:
        parameter.data[1] = parameter.data[0]
    assert float((first - second).abs().max()) > 1e-3
    heads = [network(batch_of(fidelity))["charges"].detach() for fidelity in (0, 1)]
    assert float((heads[0] - heads[1]).abs().max()) > 1e-3
    passes = [plain(batch_of(fidelity))["charges"].detach() for fidelity in (0, 1)]
    assert torch.equal(passes[0], passes[1])


@pytest.mark.parametrize(
    ("bases", "message"),
    [((None,), "one for each of the 3"), ((1, 0, None), "cannot correct"), ((None, 3, None), "cannot correct")],
)
def test_bases_that_make_no_sense_are_refused(bases: tuple[int | None, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        with_fidelities(single(), [0, 0, 0], bases=bases)


def test_a_correction_cannot_lose_its_base() -> None:
    with pytest.raises(ConfigError, match="fidelity 1 corrects fidelity 0, which is left out"):
        with_fidelities(tiny_multifidelity(bases=(None, 0, 1)), [1, 2])


def test_a_correction_cannot_start_from_something_else() -> None:
    with pytest.raises(ConfigError, match="fidelity 1 starts from fidelity 2 of the given model"):
        with_fidelities(tiny_multifidelity(), [0, 2], bases=(None, 0))


def test_embeddings_of_several_fidelities_stay_as_they_are() -> None:
    with pytest.raises(ConfigError, match="embeddings='shared': this model of 3 fidelities has 'separate' ones"):
        with_fidelities(tiny_multifidelity(), [0, 1, 2], embeddings="shared")
