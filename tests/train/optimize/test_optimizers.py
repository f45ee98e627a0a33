"""Recommended settings, parameter groups and decoupled weight decay."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from molcalc.errors import ConfigError
from molcalc.train.optimize.muon import Muon
from molcalc.train.optimize.optimizers import (
    FINE_TUNING_RATE,
    OPTIMIZER_CONFIGS,
    GroupConfig,
    OptimizeConfig,
    create_optimizer,
    get_recommended_optimizer_config,
    optimizer_for,
    resolved,
)

ALL = tuple(OPTIMIZER_CONFIGS)


def small_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 5), nn.GELU(), nn.Linear(5, 1))


def settings(name: str) -> dict:
    return get_recommended_optimizer_config(500, 64, 10, name)


@pytest.mark.parametrize("name", ALL)
def test_weights_shrink_by_decay_when_gradients_are_zero(name: str) -> None:
    """p ← p·(1 − lr·decay): a wrong sign would let them grow."""
    layer = nn.Linear(4, 3)
    before = layer.weight.detach().clone()
    optimizer = create_optimizer(name, learning_rate=0.1, weight_decay=0.5)(layer)
    for _ in range(10):
        layer.weight.grad, layer.bias.grad = torch.zeros_like(layer.weight), torch.zeros_like(layer.bias)
        optimizer.step()
    torch.testing.assert_close(layer.weight.detach(), before * 0.95**10)


@pytest.mark.parametrize("name", ALL)
def test_biases_do_not_decay(name: str) -> None:
    layer = nn.Linear(4, 3)
    before = layer.bias.detach().clone()
    optimizer = create_optimizer(name, learning_rate=0.1, weight_decay=0.5)(layer)
    layer.weight.grad, layer.bias.grad = torch.zeros_like(layer.weight), torch.zeros_like(layer.bias)
    optimizer.step()
    torch.testing.assert_close(layer.bias.detach(), before)


@pytest.mark.parametrize("name", ALL)
def test_every_optimizer_fits_a_line(name: str) -> None:
    net = small_net()
    x = torch.randn(64, 6, generator=torch.Generator().manual_seed(1))
    y = x.sum(dim=1, keepdim=True)
    config = settings(name)
    optimizer = create_optimizer(name, 1e-2, config.pop("weight_decay"), **_options(config))(net)
    first = float((net(x) - y).square().mean().detach())
    for _ in range(300):
        optimizer.zero_grad()
        loss = (net(x) - y).square().mean()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.1 * first


def _options(config: dict) -> dict:
    return {key: value for key, value in config.items() if key not in ("learning_rate", "weight_decay")}


def test_muon_orthogonalizes_hidden_matrices_only() -> None:
    net = small_net()
    optimizer = create_optimizer("muon", 1e-3, **_options(settings("muon")))(net)
    muon, adamw = optimizer.optimizers
    assert isinstance(muon, Muon)
    assert isinstance(adamw, torch.optim.AdamW)
    orthogonal = {id(p) for group in muon.param_groups for p in group["params"]}
    assert orthogonal == {id(net[0].weight), id(net[2].weight)}  # not the (1, 5) output, not biases
    before = net[0].weight.detach().clone()
    torch.manual_seed(0)
    for p in net.parameters():
        p.grad = torch.randn_like(p)
    optimizer.step()
    update = (net[0].weight.detach() - before) / 1e-3
    singular = torch.linalg.svdvals(update)
    assert float(singular.max() / singular.min()) < 2.0  # a plain gradient step would spread them


@pytest.mark.parametrize(
    ("size", "features", "atoms", "factor"),
    [(500, 64, 10, 2.0), (5000, 64, 10, 1.0), (5000, 300, 10, 0.5), (5000, 64, 60, 0.5), (500, 300, 10, 1.0)],
)
def test_recommended_rates_follow_the_table(size: int, features: int, atoms: int, factor: float) -> None:
    assert get_recommended_optimizer_config(size, features, atoms, "adamw")["learning_rate"] == factor * 5e-4
    assert OPTIMIZER_CONFIGS["adam"](size, features, atoms)["learning_rate"] == factor * 5e-4


@pytest.mark.parametrize("wrong", [{"ds_size": 0}, {"features": -1}, {"atoms": 1.5}, {"ds_size": True}], ids=str)
def test_numbers_of_a_problem_are_whole_and_at_least_one(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(wrong))}=.*; expected a whole number of at least 1"):
        OPTIMIZER_CONFIGS["adamw"](**{"ds_size": 10, "features": 10, "atoms": 10, **wrong})


@pytest.mark.parametrize("name", ALL)
def test_given_weights_get_a_small_rate_unless_one_is_asked_for(name: str) -> None:
    def rate(**options: object) -> float:
        config = OptimizeConfig(optimizer=name, **options)
        sizes = {"n_systems": 500, "n_features": 64, "n_atoms": 10}
        return optimizer_for(resolved(config, fine_tuning=True, **sizes), small_net()).learning_rate()

    assert rate() == rate(use_recommended_hparams=True, learning_rate=1.0) == FINE_TUNING_RATE
    assert rate(learning_rate=3e-4) == 3e-4


@pytest.mark.parametrize(
    ("name", "small", "usual", "large", "decays"),
    [
        ("adam", 1e-3, 5e-4, 2.5e-4, (0.0, 0.0)),
        ("adamw", 1e-3, 5e-4, 2.5e-4, (1e-4, 1e-3)),
        ("rmsprop", 1e-3, 5e-4, 3.5e-4, (1e-5, 1e-4)),
        ("muon-documented", 1e-2, 5e-3, 2.5e-3, (1e-4, 1e-3)),
        ("muon", 2e-3, 1e-3, 5e-4, (1e-4, 1e-3)),
    ],
)
def test_settings_are_those_of_the_documented_table(
    name: str, small: float, usual: float, large: float, decays: tuple[float, float]
) -> None:
    recipe = OPTIMIZER_CONFIGS[name]
    assert recipe(ds_size=999, features=256, atoms=50)["learning_rate"] == small
    common = get_recommended_optimizer_config(dataset_size=1000, num_features=256, num_atoms=50, optimizer_name=name)
    wide, big = recipe(1000, 289, 50), recipe(1000, 256, 51)
    assert (common["learning_rate"], common["weight_decay"]) == (usual, decays[0])
    for settings in (wide, big):
        assert (settings["learning_rate"], settings["weight_decay"]) == (pytest.approx(large), decays[1])


def test_options_that_an_optimizer_does_not_have_are_errors_before_there_are_parameters() -> None:
    with pytest.raises(ConfigError, match=r"'adamw' does not accept the options .*momentum"):
        create_optimizer(optimizer_name="adamw", learning_rate=1e-3, weight_decay=1e-4, momentum=0.9)


def test_states_go_to_the_parameters_of_their_name_whatever_the_groups() -> None:
    """A decay of 0 puts matrices and biases into one group, in another order than two groups have."""
    first, second = small_net(), small_net()
    optimizer = create_optimizer("adamw", 1e-2, 0.1)(first)
    first(torch.ones(3, 6)).sum().backward()
    optimizer.step()
    other = create_optimizer("adamw", 1e-3, 0.0, betas=(0.5, 0.9))(second)
    other.load_state_dict(optimizer.state_dict())
    ours, theirs = optimizer.state_dict()["AdamW"], other.state_dict()["AdamW"]
    assert ours.keys() == theirs.keys() == dict(first.named_parameters()).keys()
    assert all(torch.equal(ours[name]["exp_avg"], theirs[name]["exp_avg"]) for name in ours)
    assert other.learning_rate() == 1e-3
    assert other.optimizers[0].param_groups[0]["betas"] == (0.5, 0.9)
    create_optimizer("muon", 1e-3)(small_net()).load_state_dict(
        optimizer.state_dict()
    )  # what is not of its kind is new


def test_large_problems_get_more_decay() -> None:
    assert OPTIMIZER_CONFIGS["adamw"](500, 64, 10)["weight_decay"] == 1e-4
    assert OPTIMIZER_CONFIGS["adamw"](500, 64, 51)["weight_decay"] == 1e-3


def test_groups_have_their_own_rate_and_follow_the_factor() -> None:
    net = small_net()
    groups = (GroupConfig(pattern=r"^0\.", learning_rate=1e-5, weight_decay=0.0),)
    optimizer = create_optimizer("adamw", 1e-3, 0.1, groups=groups)(net)
    optimizer.set_factor(0.5)
    rates = {id(p): group["lr"] for group in optimizer.optimizers[0].param_groups for p in group["params"]}
    assert rates[id(net[0].weight)] == pytest.approx(5e-6)
    assert rates[id(net[2].weight)] == pytest.approx(5e-4)


def test_a_rate_of_zero_is_told_unless_a_group_has_another(caplog: pytest.LogCaptureFixture) -> None:
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 1))
    create_optimizer("adamw", 0.0, groups=[GroupConfig(pattern="^0", learning_rate=1e-3)])(network)
    assert not caplog.text
    create_optimizer("adamw", 0.0)(network)
    assert "learning_rate=0: no weight will change" in caplog.text


def test_frozen_parameters_stay() -> None:
    net = small_net()
    before = net[0].weight.detach().clone()
    optimizer = create_optimizer("adamw", 1e-2, 0.1, groups=(GroupConfig(pattern=r"^0\.", freeze=True),))(net)
    net(torch.ones(3, 6)).sum().backward()
    optimizer.step()
    assert torch.equal(net[0].weight, before)
    assert net[0].weight.grad is None


def test_a_pattern_that_matches_nothing_is_an_error() -> None:
    with pytest.raises(ConfigError, match="embeding"):
        create_optimizer("adamw", 1e-3, groups=(GroupConfig(pattern="embeding"),))(small_net())


def test_freezing_everything_is_an_error() -> None:
    with pytest.raises(ConfigError, match="nothing to train"):
        create_optimizer("adamw", 1e-3, groups=(GroupConfig(pattern=".", freeze=True),))(small_net())


def test_an_unknown_optimizer_lists_the_known_ones() -> None:
    with pytest.raises(
        ConfigError, match=r"'adamm'.*did you mean 'adam.*known: adam, adamw, rmsprop, muon, muon-documented"
    ):
        create_optimizer("adamm", 1e-3)


@pytest.mark.parametrize("name", ALL)
def test_a_restored_optimizer_continues_bit_for_bit(name: str) -> None:
    def train(net: nn.Module, optimizer, start: int, stop: int) -> None:
        for k in range(start, stop):
            optimizer.set_factor(1.0 / (k + 1))
            x = torch.randn(8, 6, generator=torch.Generator().manual_seed(k))
            optimizer.zero_grad()
            net(x).square().mean().backward()
            optimizer.step()

    straight, first, second = small_net(), small_net(), small_net()
    train(straight, create_optimizer(name, 1e-2, 0.1)(straight), 0, 10)
    optimizer = create_optimizer(name, 1e-2, 0.1)(first)
    train(first, optimizer, 0, 5)
    second.load_state_dict(first.state_dict())
    restored = create_optimizer(name, 1e-2, 0.1)(second)
    restored.load_state_dict(optimizer.state_dict())
    train(second, restored, 5, 10)
    assert all(torch.equal(a, b) for a, b in zip(straight.parameters(), second.parameters()))


@pytest.mark.parametrize(
    "numbers", [{"learning_rate": -1.0}, {"learning_rate": "1e-3"}, {"weight_decay": float("nan")}]
)
def test_rates_and_decays_that_are_no_numbers_from_zero_are_refused(numbers: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="expected a number of at least 0"):
        create_optimizer("muon", **{"learning_rate": 1e-3, **numbers})
