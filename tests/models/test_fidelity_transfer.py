"""From a network to one of other fidelities: what stays, and where a new fidelity starts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from molcalc.errors import ConfigError
from molcalc.models.aimnet2 import AIMNet2Network
from molcalc.models.fidelity_transfer import with_fidelities
from molcalc.registry import build_members
from tests.helpers.networks import FIDELITY_KINDS, mixed_batch, tiny_checkpoint, tiny_multifidelity


def single(charge_channels: int = 1) -> AIMNet2Network:
    network = build_members(tiny_checkpoint(charge_channels))[0].double()
    assert isinstance(network, AIMNet2Network)
    return network


def detached(results: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in results.items()}


@pytest.mark.parametrize("changes", FIDELITY_KINDS.values(), ids=FIDELITY_KINDS)
@pytest.mark.parametrize("charge_channels", [1, 2])
def test_new_fidelities_start_with_the_predictions_of_their_source(
    changes: dict[str, Any], charge_channels: int
) -> None:
    network = single(charge_channels)
    expected = detached(network(mixed_batch(0, 0, 0)))
    found = detached(with_fidelities(network, [0, 0, 0], **changes)(mixed_batch(0, 1, 2)))
    for name, value in expected.items():
        assert torch.allclose(found[name], value, rtol=0, atol=1e-12), name


@pytest.mark.parametrize("changes", FIDELITY_KINDS.values(), ids=FIDELITY_KINDS)
def test_a_further_fidelity_starts_from_the_one_that_is_named(changes: dict[str, Any]) -> None:
    network = tiny_multifidelity(**changes)
    bases = {"bases": (None, 0, 1, 2)} if "bases" in changes else {}
    more = with_fidelities(network, [0, 1, 2, 2], **bases)
    expected, found = detached(network(mixed_batch(0, 2))), detached(more(mixed_batch(0, 3)))
    for name, value in expected.items():
        assert torch.allclose(found[name], value, rtol=0, atol=1e-12), name


def test_a_correction_cannot_lose_its_base() -> None:
    with pytest.raises(ConfigError, match="fidelity 1 corrects fidelity 0, which is left out"):
        with_fidelities(tiny_multifidelity(bases=(None, 0, 1)), [1, 2])


def test_a_correction_cannot_start_from_something_else() -> None:
    with pytest.raises(ConfigError, match="fidelity 1 starts from fidelity 2 of the given model"):
        with_fidelities(tiny_multifidelity(), [0, 2], bases=(None, 0))


def test_embeddings_of_several_fidelities_stay_as_they_are() -> None:
    with pytest.raises(ConfigError, match="embeddings='shared': this model of 3 fidelities has 'separate' ones"):
        with_fidelities(tiny_multifidelity(), [0, 1, 2], embeddings="shared")


@pytest.mark.parametrize(
    ("bases", "message"),
    [((None,), "one for each of the 3"), ((1, 0, None), "cannot correct"), ((None, 3, None), "cannot correct")],
)
def test_bases_that_make_no_sense_are_refused(bases: tuple[int | None, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        with_fidelities(single(), [0, 0, 0], bases=bases)
