"""Networks are built from a closed table, and only from weights that fit."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from molcalc.errors import CheckpointMismatchError, UnsafeCheckpointError
from molcalc.io.checkpoint import Checkpoint, load, save
from molcalc.models.aimnet2 import AIMNet2Network
from molcalc.registry import DEFAULT_MODEL, MODELS, build_members, calculator_class, checkpoint_of, network_config
from molcalc.train.config import FitConfig, make_config
from tests.helpers.model_files import UNKNOWN_ARCHITECTURES
from tests.helpers.networks import SMALLER_ELEMENTS, small_checkpoint


def with_arguments(**changes: Any) -> Checkpoint:
    model = small_checkpoint()
    return replace(model, config=replace(model.config, arguments={**model.config.arguments, **changes}))


def test_networks_have_their_own_weights_in_order() -> None:
    model = small_checkpoint(n_members=3)
    members = build_members(model)
    assert len(members) == 3
    for k, member in enumerate(members):
        for name, value in member.state_dict().items():
            assert torch.equal(value, model.weights[f"members.{k}.{name}"])


def test_networks_are_ready_for_evaluation() -> None:
    for member in build_members(small_checkpoint(n_members=2)):
        assert isinstance(member, AIMNet2Network)
        assert not member.training
        assert not any(parameter.requires_grad for parameter in member.parameters())
        assert {parameter.device.type for parameter in member.parameters()} == {"cpu"}
        assert member.elements == SMALLER_ELEMENTS


def test_changing_a_network_leaves_the_checkpoint_and_other_networks_alone() -> None:
    model, untouched = small_checkpoint(), small_checkpoint()
    first, second = build_members(model)[0], build_members(model)[0]
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.add_(1.0)
    assert model.hash == untouched.hash
    for name, value in second.state_dict().items():
        assert torch.equal(value, untouched.weights[f"members.0.{name}"])


def test_collected_weights_build_the_same_networks() -> None:
    model = small_checkpoint(n_members=2)
    again = checkpoint_of(model.config, build_members(model))
    assert again.hash == model.hash


def test_arguments_survive_the_way_through_a_file(tmp_path: Path) -> None:
    save(tmp_path / "m", small_checkpoint(charge_channels=2, exact_charges=False))
    loaded = network_config(load(tmp_path / "m").config)
    assert loaded == network_config(small_checkpoint(charge_channels=2, exact_charges=False).config)


@pytest.mark.parametrize("kind", UNKNOWN_ARCHITECTURES, ids=lambda kind: repr(kind[:40]))
def test_only_names_in_the_table_are_known(kind: str) -> None:
    model = small_checkpoint()
    with pytest.raises(UnsafeCheckpointError, match=f"unknown architecture .*known: {', '.join(MODELS)}"):
        build_members(replace(model, config=replace(model.config, kind=kind)))
    with pytest.raises(UnsafeCheckpointError, match="unknown architecture"):
        calculator_class(kind)


def test_a_misspelt_architecture_is_suggested() -> None:
    model = small_checkpoint()
    with pytest.raises(UnsafeCheckpointError, match=r"'aimnet' \(did you mean 'aimnet2'\?\)"):
        network_config(replace(model.config, kind="aimnet"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_channel": 4}, r"arguments: unknown key 'n_channel' \(did you mean 'n_channels'\?\)"),
        ({"elements": (1, 9)}, r"arguments: elements=\(1, 9\); allowed are 1…8"),
        ({"charge_channels": 3}, "charge_channels=3; expected at least 1 and at most 2"),
        ({"hidden": ((16, 12),)}, "at least 2 are needed"),
        ({"n_radial": 9}, r"embedding has shape \(1, 9, 32\); expected \(1, 9, 36\)"),
        ({"energy_hidden": (8, 8)}, r"missing \['members\.0\.energy_heads\.0\.4"),
        ({"n_channels": -4}, "n_channels=-4; expected at least 1"),
        ({"n_channels": 2**62, "n_radial": 2**62}, f"n_channels={2**62}; expected at least 1 and at most"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_arguments_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointMismatchError, match=message):
        build_members(with_arguments(**changes))


def test_members_must_be_as_many_as_declared() -> None:
    model = small_checkpoint(n_members=2)
    with pytest.raises(CheckpointMismatchError, match=r"missing none, unexpected \['members\.1\."):
        build_members(replace(model, config=replace(model.config, n_members=1)))
    with pytest.raises(CheckpointMismatchError, match=r"missing \['members\.2\."):
        build_members(replace(model, config=replace(model.config, n_members=3)))


def test_calculators_are_imported_only_when_they_are_asked_for() -> None:
    code = (
        "import sys, molcalc.registry as registry\n"
        "assert not [name for name in sys.modules if name.startswith('molcalc.calculators')]\n"
        "print(*(registry.calculator_class(kind).__name__ for kind in registry.MODELS))"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert found == [model.calculator_name for model in MODELS.values()]


def test_a_model_that_is_not_named_is_the_same_everywhere() -> None:
    assert FitConfig().start.model == make_config({}).start.model == DEFAULT_MODEL
    assert DEFAULT_MODEL in MODELS


@pytest.mark.parametrize("kind", MODELS)
def test_recommended_options_are_options(kind: str) -> None:
    config = make_config({"model": kind}).flat()
    for name, value in MODELS[kind].training.options.items():
        nested = isinstance(value, dict)
        assert value.items() <= config[name].items() if nested else config[name] == value


@pytest.mark.parametrize("kind", MODELS)
def test_presets_are_sizes_of_the_network(kind: str) -> None:
    for preset in MODELS[kind].training.presets.values():
        assert isinstance(preset(elements=(1, 8)), MODELS[kind].config)
