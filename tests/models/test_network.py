"""The contract of networks: what is declared, what has defaults, and how weights get their precision."""

from __future__ import annotations

import pytest
import torch

from molcalc.models.network import Network, NetworkConfig, NoNetwork, TrainableNetwork
from molcalc.registry import MODELS
from molcalc.testing import random_potential
from tests.helpers.mistakes.networks import PairNetwork


@pytest.mark.parametrize("missing", ["forward", "cutoff", "predicts", "initialize", "dtype"])
def test_a_network_that_lacks_a_part_of_the_contract_cannot_be_made(missing: str) -> None:
    parts = {name: value for name, value in vars(PairNetwork).items() if name != missing}
    base = TrainableNetwork if missing != "predicts" else Network
    with pytest.raises(TypeError, match=missing):
        type("Incomplete", (base,), parts)()


def test_a_network_without_weights_has_what_a_potential_asks_for() -> None:
    network = NoNetwork([1, 8])
    assert (network.elements, network.predicts, network.n_fidelities) == ((1, 8), (), 1)
    assert network.rotation_invariant
    assert network.extensive


@pytest.mark.parametrize("kind", MODELS)
def test_arguments_of_every_kind_are_those_of_its_configuration(kind: str) -> None:
    network = random_potential(kind).networks[0]
    assert isinstance(network, TrainableNetwork)
    assert isinstance(network.config, MODELS[kind].config)
    assert MODELS[kind].config(**network.config.to_dict()) == network.config
    assert network.elements == network.config.elements


@pytest.mark.parametrize("kind", MODELS)
def test_only_named_parameters_are_put_into_single_precision(kind: str) -> None:
    network = random_potential(kind).networks[0].set_dtype(torch.float32)
    for name, parameter in network.named_parameters():
        single = name.startswith(network.float32_parameters)
        assert parameter.dtype == (torch.float32 if single else torch.float64), name
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32, torch.float64}


@pytest.mark.parametrize("kind", MODELS)
def test_reference_energies_stay_in_double_precision_in_training(kind: str) -> None:
    network = random_potential(kind).networks[0]
    assert isinstance(network, TrainableNetwork)
    network.set_training_dtype(torch.float32)
    double = [name for name, parameter in network.named_parameters() if parameter.dtype == torch.float64]
    assert double == ["shifts"]


@pytest.mark.parametrize("elements", [(), (0, 1), (1, 9), (1, 1)], ids=["none", "zero", "too heavy", "twice"])
def test_elements_without_a_row_of_their_own_are_refused(elements: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="allowed are 1…8|one is named twice"):
        NetworkConfig(elements=elements, max_number=8)
