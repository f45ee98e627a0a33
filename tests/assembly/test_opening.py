"""Whatever names a model leads to the same networks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from molcalc import open_model
from molcalc.assembly.opening import OpenedModel
from molcalc.errors import CheckpointMismatchError, ConfigError, FidelityError
from molcalc.io.checkpoint import Checkpoint, save
from tests.helpers.networks import FIDELITIES, tiny_checkpoint, tiny_multifidelity_checkpoint


def weights(model: OpenedModel) -> list[torch.Tensor]:
    return [parameter for member in model.members for parameter in member.parameters()]


def test_a_path_a_checkpoint_and_an_opened_model_are_the_same_model(tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint(n_members=2)
    save(tmp_path / "runs" / "water", checkpoint)
    models = [open_model(each) for each in (checkpoint, tmp_path / "runs" / "water", str(tmp_path / "runs" / "water/"))]
    assert {model.hash for model in models} == {checkpoint.hash}
    assert [model.label for model in models] == ["pbe0", "water", "water"]  # without the folder
    for model in models:
        assert len(model.members) == 2
        assert all(torch.equal(a, b) for a, b in zip(weights(model), weights(models[0])))
        assert open_model(model) is model


def test_a_list_is_an_ensemble_and_a_list_of_one_is_its_model() -> None:
    first, second = tiny_checkpoint(seed=1, n_members=2), tiny_checkpoint(seed=5)
    both = open_model([first, second])
    assert len(both.members) == both.config.n_members == 3
    assert both.hash == f"{first.hash}+{second.hash}"
    assert open_model([first]).hash == first.hash


def test_published_and_bundled_names_are_opened(published: None) -> None:
    model = open_model("wb97m-d3")
    assert (model.label, len(model.members)) == ("wb97m-d3", 4)
    assert model.config.fidelities[0].dispersion == "d3bj:wb97m"
    assert open_model("small-species").label == "small-species"


def test_a_model_that_names_more_fidelities_than_its_network_has_is_refused() -> None:
    checkpoint = tiny_checkpoint()
    config = replace(checkpoint.config, fidelities=FIDELITIES[:2])
    with pytest.raises(CheckpointMismatchError, match="names 2 fidelities, but its network has 1"):
        open_model(Checkpoint(config, checkpoint.weights))


def test_members_and_fidelities_are_found_or_named() -> None:
    model = open_model(tiny_multifidelity_checkpoint(n_members=2))
    assert model.index_of("gfn2") == 1
    assert model.chosen_members(1) == [model.members[1]]
    assert model.chosen_members(None) == list(model.members)
    with pytest.raises(ConfigError, match="member=2; 'aimnet2' has members 0…1"):
        model.chosen_members(2)
    with pytest.raises(FidelityError, match="'pbe0', 'gfn2', 'b3lyp'"):
        model.index_of(None)


def test_opened_models_make_an_ensemble() -> None:
    opened = [open_model(tiny_checkpoint(seed=seed)) for seed in (1, 2)]
    assert open_model(opened).members == [opened[0].members[0], opened[1].members[0]]
