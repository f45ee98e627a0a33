"""One fidelity out of several: the same predictions, and refusals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from molcalc.assembly.opening import OpenedModel
from molcalc.batch import AtomicBatch, collate, from_atoms
from molcalc.calculators import AIMNet2
from molcalc.dispersion.parameters import D3Parameters
from molcalc.errors import ConfigError, FidelityError
from molcalc.export.reduction import reduced, single_fidelity
from molcalc.fidelity import Fidelity
from molcalc.io.checkpoint import Checkpoint
from molcalc.models.aimnet2 import AIMNet2Network as Network
from molcalc.models.fidelity_transfer import with_fidelities
from molcalc.registry import build_members, checkpoint_of
from tests.helpers.networks import (
    FIDELITY_KINDS,
    UNEVEN_FIDELITIES,
    multifidelity_model,
    tiny_checkpoint,
    uneven_checkpoint,
)
from tests.helpers.structures import organic


def part_of(model: Checkpoint, **options: Any) -> Checkpoint:
    source = OpenedModel(model.config, build_members(model), "x", model.hash)
    return reduced(source, **options)


def batch_of(fidelity: int) -> AtomicBatch:
    parts = [from_atoms(organic(k), cutoff=5.0, total_charge=k, multiplicity=1 + k) for k in range(2)]
    return replace(collate(parts), fidelity=torch.full((2,), fidelity))


@pytest.mark.parametrize("charge_channels", [1, 2])
@pytest.mark.parametrize("changes", FIDELITY_KINDS.values(), ids=FIDELITY_KINDS)
def test_one_fidelity_alone_predicts_the_same(changes: dict[str, Any], charge_channels: int) -> None:
    (network,) = build_members(uneven_checkpoint(charge_channels, **changes))
    for fidelity in range(3):
        expected = network(batch_of(fidelity))
        found = single_fidelity(network, fidelity)(batch_of(0))
        for name, value in expected.items():
            assert torch.allclose(found[name], value, rtol=0, atol=1e-11), (fidelity, name)


@pytest.mark.parametrize("hidden", [(), (8,), (8, 6)])
def test_heads_of_any_depth_are_added_up(hidden: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    base = build_members(tiny_checkpoint())[0]
    config = replace(base.config, energy_hidden=hidden)  # type: ignore[type-var]
    network = with_fidelities(Network(config).initialize().double(), [0, 0, 0], bases=(None, 0, 1))  # type: ignore[arg-type]
    for parameter in network.parameters():
        parameter.data += 0.02 * torch.randn_like(parameter)
    network.requires_grad_(False)
    expected = network(batch_of(2))["atomic_energies"]
    single = single_fidelity(network, 2)
    assert single.config.energy_hidden == tuple(3 * width for width in hidden)
    assert torch.allclose(single(batch_of(0))["atomic_energies"], expected, rtol=0, atol=1e-11)


def test_the_result_declares_its_one_fidelity() -> None:
    whole = uneven_checkpoint()
    part = part_of(whole, fidelity="wb97m")
    assert part.config.kind == "aimnet2"
    assert [level.name for level in part.config.fidelities] == ["wb97m"]
    assert build_members(part)[0].elements == (1, 6, 8)
    assert part.config.provenance["exported from"] == f"x, hash {whole.hash}"
    assert part_of(uneven_checkpoint(charge_heads=True), fidelity="wb97m").config.arguments["charge_heads"]


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        ("auto", "d3bj:pbe0"),
        (None, None),
        ("d3bj:b3lyp", "d3bj:b3lyp"),
        (D3Parameters(s6=1.0, s8=0.5, a1=0.4, a2=5.0), "d3bj:s6=1.0,s8=0.5,a1=0.4,a2=5.0,s9=0.0"),
    ],
)
def test_the_chosen_dispersion_is_declared(wish: Any, expected: str | None) -> None:
    part = part_of(uneven_checkpoint(), fidelity="pbe0", dispersion=wish)
    assert part.config.fidelities[0].dispersion == expected
    atoms = organic()
    energies = []
    for model, option in ((part, "auto"), (uneven_checkpoint(), wish)):
        options = {} if model is part else {"fidelity": "pbe0"}
        atoms.calc = AIMNet2(model, dispersion=option, dtype="float64", **options)
        energies.append(atoms.get_potential_energy())
    assert energies[0] == pytest.approx(energies[1], abs=1e-10)


def test_members_are_kept_or_chosen() -> None:
    whole = uneven_checkpoint(n_members=2)
    assert part_of(whole, fidelity="gfn2").config.n_members == 2
    second = part_of(whole, fidelity="gfn2", member=1)
    assert second.config.n_members == 1
    assert second.config.provenance["member"] == "1"
    both = part_of(whole, fidelity="gfn2")
    assert torch.equal(second.weights["members.0.conv_charges"], both.weights["members.1.conv_charges"])
    with pytest.raises(ConfigError, match="member=2; 'x' has members 0…1"):
        part_of(whole, fidelity="gfn2", member=2)


def test_unknown_and_missing_fidelities_are_refused_with_a_list() -> None:
    with pytest.raises(FidelityError, match=r"fidelity='pbe'.*did you mean 'pbe0'.*gfn2.*wb97m.*pbe0"):
        part_of(uneven_checkpoint(), fidelity="pbe")
    with pytest.raises(FidelityError, match=r"gfn2.*wb97m.*pbe0"):
        part_of(uneven_checkpoint())


def test_dispersion_is_not_counted_twice() -> None:
    with pytest.raises(ConfigError, match="labels of fidelity 'wb97m' already contain dispersion"):
        part_of(uneven_checkpoint(), fidelity="wb97m", dispersion="d3bj:wb97m")
    assert part_of(uneven_checkpoint(), fidelity="wb97m", dispersion=None).config.fidelities[0].dispersion is None


@pytest.mark.parametrize("changes", [{}, {"embeddings": "shared"}, {"bases": (None, 0, 1)}], ids=str)
def test_a_fidelity_that_was_never_trained_is_refused(changes: dict[str, Any]) -> None:
    (network,) = build_members(tiny_checkpoint())
    fresh = with_fidelities(network, [0, 0, 0], **changes)  # type: ignore[arg-type]
    untrained = multifidelity_model([fresh], UNEVEN_FIDELITIES)
    assert part_of(untrained, fidelity="gfn2").config.n_members == 1
    with pytest.raises(ConfigError, match="fidelity 'pbe0' of 'x' was never trained"):
        part_of(untrained, fidelity="pbe0")
    fresh.energy_heads[2].requires_grad_(False)[-1].bias += 0.1  # type: ignore[index]
    assert part_of(multifidelity_model([fresh], UNEVEN_FIDELITIES), fidelity="pbe0").config.n_members == 1


def test_a_fidelity_without_data_is_refused() -> None:
    whole = uneven_checkpoint()
    levels = tuple(replace(level, elements=()) if level.name == "pbe0" else level for level in whole.config.fidelities)
    with pytest.raises(ConfigError, match="was never trained"):
        part_of(replace(whole, config=replace(whole.config, fidelities=levels)), fidelity="pbe0")


def test_a_model_of_one_fidelity_keeps_its_weights() -> None:
    single = tiny_checkpoint()
    part = part_of(single, fidelity="pbe0")
    assert part.weights.keys() == single.weights.keys()
    assert all(torch.equal(part.weights[name], value) for name, value in single.weights.items())
    assert part.config.fidelities == (
        Fidelity(name="pbe0", functional="pbe0", dispersion="d3bj:pbe0", elements=(1, 6, 7, 8)),
    )
    assert checkpoint_of(part.config, build_members(part)).hash == part.hash
