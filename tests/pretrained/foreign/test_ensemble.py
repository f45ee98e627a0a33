"""Files in the style of the published ensembles: one network or several become one model."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from molcalc.errors import CheckpointMismatchError
from molcalc.fidelity import Fidelity
from molcalc.pretrained.foreign.ensemble import convert_ensemble, embedded_dispersion
from molcalc.registry import build_members
from tests.helpers.model_files import v2_state
from tests.helpers.networks import small_checkpoint


def test_members_beyond_ten_keep_their_order() -> None:
    many = small_checkpoint(n_members=11, exact_charges=False)
    state = {}
    for k, member in enumerate(build_members(many)):
        own = {**v2_state(member), "outputs.lrcoulomb.rc": torch.tensor(4.6)}
        state.update({f"models.{k}.module.{name}": value for name, value in own.items()})
    found = convert_ensemble(state, Fidelity(name="many"), {"source": "many.jpt"})
    for k in (2, 10):
        name = f"members.{k}.energy_heads.0.0.weight"
        assert torch.equal(found.weights[name], many.weights[name])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("models.0.module.outputs.lrcoulomb.rc"), "not one range of long-range Coulomb"),
        (lambda s: s["models.1.module.outputs.lrcoulomb.rc"].add_(0.1), "not one range of long-range Coulomb"),
        (lambda s: s.pop("models.1.module.afv.weight"), r"many\.jpt models\.1\.module\.: .*missing \['embedding'\]"),
        (lambda s: s.update({"models.0.module.outputs.dipole.w": torch.ones(1)}), "unexpected entries"),
        (
            lambda s: s["models.1.module.outputs.atomic_shift.shifts.weight"].zero_(),
            "differ in size or elements|elements=",
        ),
    ],
    ids=["range missing", "two ranges", "weights missing", "unknown head", "other elements"],
)
def test_ensembles_that_are_not_of_the_published_kind_are_refused(
    change: Callable[[dict[str, torch.Tensor]], object], message: str
) -> None:
    state = {}
    for k, member in enumerate(build_members(small_checkpoint(n_members=2, exact_charges=False))):
        own = {**v2_state(member), "outputs.lrcoulomb.rc": torch.tensor(4.6)}
        state.update({f"models.{k}.module.{name}": value for name, value in own.items()})
    change(state)
    with pytest.raises(CheckpointMismatchError, match=message):
        convert_ensemble(state, Fidelity(name="many"), {"source": "many.jpt"})


def test_a_dispersion_term_without_readable_parameters_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    (member,) = build_members(small_checkpoint(exact_charges=False))
    state = {**v2_state(member), "outputs.lrcoulomb.rc": torch.tensor(4.6), "outputs.d3bj.c6ab": torch.ones(1)}
    assert embedded_dispersion(state, "x.jpt") is None
    assert "x.jpt: the parameters of its D3 term cannot be read; give them as dispersion=" in caplog.text
