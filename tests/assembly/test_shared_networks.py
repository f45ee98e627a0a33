"""Networks of one file lie in memory once, and nobody's changes are seen by others."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from molcalc.assembly import shared_networks
from molcalc.assembly.opening import open_model
from molcalc.assembly.shared_networks import KEPT_MODELS, shared_copy
from molcalc.calculators import AIMNet2
from molcalc.calculators.base import MolCalculator
from molcalc.io import checkpoint
from tests.helpers.networks import small_checkpoint
from tests.helpers.structures import organic


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "small"
    checkpoint.save(folder, small_checkpoint(elements=(1, 6, 7, 8)))
    return folder


def weights(calc: MolCalculator) -> list[Tensor]:
    """The large weights of a calculator, which need no conversion."""
    return [value for name, value in calc.potential.named_parameters() if ".passes." in name]


def share_memory(first: MolCalculator, second: MolCalculator) -> bool:
    """Whether all large weights are at the same place."""
    places = [[torch._C._data_address(value) for value in weights(calc)] for calc in (first, second)]  # type: ignore[attr-defined]
    return places[0] == places[1]


def by_optimizer(calc: MolCalculator) -> None:
    parameters = weights(calc)
    for each in parameters:
        each.requires_grad_(True)
    sum(each.square().sum() for each in parameters).backward()  # type: ignore[union-attr]
    torch.optim.SGD(parameters, lr=0.4).step()
    for each in parameters:
        each.requires_grad_(False)


def in_place(calc: MolCalculator) -> None:
    with torch.no_grad():
        for each in weights(calc):
            each.mul_(0.5)


def behind_autograd(calc: MolCalculator) -> None:
    for each in weights(calc):
        each.data[:] = 0.1


def as_arrays(calc: MolCalculator) -> None:
    for each in weights(calc):
        each.numpy()[:] = 0.1


CHANGES: list[Callable[[MolCalculator], None]] = [by_optimizer, in_place, behind_autograd, as_arrays]


@pytest.mark.parametrize("change", CHANGES)
def test_changed_weights_of_one_calculator_are_its_own(saved: Path, change: Callable[[MolCalculator], None]) -> None:
    first, second = AIMNet2(saved), AIMNet2(saved)
    energy = first.get_potential_energy(organic())
    assert second.get_potential_energy(organic()) == energy
    assert share_memory(first, second)
    change(first)
    first.reset()
    second.reset()
    assert abs(first.get_potential_energy(organic()) - energy) > 1e-3
    assert second.get_potential_energy(organic()) == energy
    assert AIMNet2(saved).get_potential_energy(organic()) == energy


def test_changes_of_an_opened_model_stay_in_it(saved: Path) -> None:
    energy = AIMNet2(saved).get_potential_energy(organic())
    opened = open_model(saved)
    before = AIMNet2(opened)
    with torch.no_grad():
        for parameter in opened.members[0].parameters():
            parameter.mul_(0.5)
    assert AIMNet2(opened).get_potential_energy(organic()) != energy
    assert before.get_potential_energy(organic()) == AIMNet2(saved).get_potential_energy(organic()) == energy


def test_deep_copies_share_nothing_and_clones_everything(saved: Path) -> None:
    calc = AIMNet2(saved)
    energy = calc.get_potential_energy(organic())
    deep, clone = copy.deepcopy(calc), calc.clone()
    assert not share_memory(calc, deep)
    assert clone.potential is calc.potential
    in_place(deep)
    deep.reset()
    calc.reset()
    assert calc.get_potential_energy(organic()) == energy != deep.get_potential_energy(organic())


def test_a_calculator_is_gone_with_its_last_name(saved: Path) -> None:
    """Without waiting for Python to look for circles."""
    calc: Any = AIMNet2(saved)
    calc.get_potential_energy(organic())
    gc.collect()
    gc.disable()
    try:
        gone = weakref.ref(calc), weakref.ref(calc.potential)
        del calc
        assert [each() for each in gone] == [None, None]
    finally:
        gc.enable()


def test_only_the_last_models_are_kept() -> None:
    for seed in range(KEPT_MODELS + 2):
        open_model(small_checkpoint(seed=seed))
    assert len(shared_networks._kept) == KEPT_MODELS


def test_weights_without_gradients_stay_so_and_buffers_are_shared() -> None:
    module = nn.BatchNorm1d(3).requires_grad_(False)
    copied = shared_copy(module)
    assert not any(parameter.requires_grad for parameter in copied.parameters())
    assert copied.running_mean is not None
    assert module.running_mean is not None
    copied.running_mean += 1.0
    assert (module.running_mean == 0.0).all()
