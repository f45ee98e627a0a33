"""The published names and sizes are translated, and contradictions between them are found."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from molcalc.errors import CheckpointCorruptError, CheckpointError, CheckpointMismatchError
from molcalc.io.checkpoint import Checkpoint
from molcalc.pretrained.foreign.layout import ensemble_weights, network_from_state
from tests.helpers.model_files import first_network, v2_state
from tests.helpers.networks import SMALLER_ELEMENTS, small_checkpoint

State = dict[str, Tensor]
SHIFTS = "outputs.atomic_shift.shifts.weight"


@pytest.fixture
def state(model: Checkpoint) -> State:
    return v2_state(first_network(model))


@pytest.mark.parametrize("channels", [1, 2], ids=["closed shell", "open shell"])
def test_sizes_and_weights_are_those_of_the_network(channels: int) -> None:
    network = first_network(small_checkpoint(channels, exact_charges=False))
    config, weights = network_from_state(v2_state(network), SMALLER_ELEMENTS)
    assert config == network.config
    expected = network.state_dict()
    assert weights.keys() == expected.keys()
    for name, value in weights.items():
        assert value.dtype == expected[name].dtype
        rows = (0, list(SMALLER_ELEMENTS)) if name in ("embedding", "shifts") else slice(None)
        assert torch.equal(value[rows], expected[name][rows])


def test_rows_of_untrained_elements_become_zero(state: State) -> None:
    assert state["afv.weight"].isnan().any()
    _, weights = network_from_state(state, SMALLER_ELEMENTS)
    untrained = [z for z in range(9) if z not in SMALLER_ELEMENTS]
    assert not weights["embedding"][0, untrained].any()
    assert not weights["shifts"][0, untrained].any()
    assert all(torch.isfinite(value).all() for value in weights.values())


def test_the_given_state_is_left_as_it_is(state: State) -> None:
    before = {name: value.clone() for name, value in state.items()}
    _, weights = network_from_state(state, SMALLER_ELEMENTS)
    for value in weights.values():
        value.zero_()
    assert all(torch.equal(state[name].nan_to_num(7.0), value.nan_to_num(7.0)) for name, value in before.items())


def test_trained_elements_are_those_with_a_reference_energy(state: State) -> None:
    assert network_from_state(state)[0].elements == SMALLER_ELEMENTS
    state[SHIFTS][6] = 0.0
    assert network_from_state(state)[0].elements == (1, 8)


def test_elements_are_sorted_and_counted_once(state: State) -> None:
    assert network_from_state(state, [8, 1, 1, 6])[0].elements == (1, 6, 8)


def test_reference_energies_keep_double_precision(state: State) -> None:
    state[SHIFTS][6] = -1029.123456789012
    assert network_from_state(state, SMALLER_ELEMENTS)[1]["shifts"][0, 6] == -1029.123456789012


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_other_precisions_are_read(state: State, dtype: torch.dtype) -> None:
    state["conv_a.agh"] = state["conv_a.agh"].to(dtype)
    _, weights = network_from_state(state, SMALLER_ELEMENTS)
    assert weights["conv_features"].dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert torch.equal(weights["conv_features"].double(), state["conv_a.agh"].double())


def test_weights_of_an_ensemble_are_numbered() -> None:
    one, two = torch.ones(1), torch.zeros(1)
    assert ensemble_weights([{"a": one}, {"a": two}]) == {"members.0.a": one, "members.1.a": two}


def put(name: str, change: Callable[[Tensor], Tensor]) -> Callable[[State], object]:
    return lambda state: state.update({name: change(state[name])})


def rename(old: str, new: str) -> Callable[[State], object]:
    return lambda state: state.update({new: state.pop(old)})


CONTRADICTIONS: dict[str, tuple[Callable[[State], object], str]] = {
    "nothing": (lambda s: s.clear(), r"not an AIMNet2 network: missing \['conv_charges', 'conv_features'"),
    "no embedding": (lambda s: s.pop("afv.weight"), r"missing \['embedding'\]"),
    "no cutoff": (lambda s: s.pop("aev.rc_s"), r"missing \['aev\.rc_s'\]"),
    "unknown entry": (lambda s: s.update(surprise=torch.ones(1)), r"unexpected entries \['surprise'\]"),
    "unknown head": (lambda s: s.update({"outputs.dipole.q": torch.ones(1)}), "unexpected entries"),
    "scalar for a table": (put("afv.weight", lambda v: v[0, 0]), r"embedding has shape \(\); expected 2 dimensions"),
    "vector for a matrix": (put("conv_a.agh", lambda v: v[0]), r"conv_features has shape \(8, 4\); expected 3"),
    "empty array": (put("mlps.0.0.bias", lambda v: v[:0]), r"passes\.0\.0\.bias has shape \(0,\)"),
    "integers": (put("conv_q.agh", lambda v: v.long()), r"conv_q\.agh is of type torch\.int64"),
    "complex numbers": (put("conv_q.agh", lambda v: v.to(torch.complex64)), "conv_q.agh holds complex numbers"),
    "truth values": (put("afv.weight", lambda v: v > 0), r"afv\.weight is of type torch\.bool"),
    "missing bias": (lambda s: s.pop("mlps.1.2.bias"), r"passes\.1\.2\.bias has shape None; expected \(12,\)"),
    "layer of another width": (
        put("mlps.1.2.weight", lambda v: v[:, :-1]),
        r"passes\.1\.2\.weight has shape \(12, 15\)",
    ),
    "gap between passes": (
        lambda s: [s.update({k.replace("mlps.2", "mlps.9"): s.pop(k)}) for k in list(s) if k.startswith("mlps.2")],
        r"passes \[0, 1, 9\] are not numbered without gaps",
    ),
    "pass number 10^12": (rename("mlps.2.0.bias", "mlps.1000000000000.0.bias"), "unexpected entries"),
    "biases only": (
        lambda s: [s.pop(k) for k in list(s) if k.startswith("mlps.2") and k.endswith("weight")],
        "a pass has biases but no weights",
    ),
    "one pass": (lambda s: [s.pop(k) for k in list(s) if k[:6] in ("mlps.1", "mlps.2")], "hidden has 1 passes"),
    "three charge channels": (put("conv_q.agh", lambda v: v.expand(3, -1, -1)), "charge_channels=3"),
    "shorter reference energies": (put(SHIFTS, lambda v: v[:-1]), r"shifts has shape \(1, 8\); expected \(1, 9\)"),
    "two cutoffs": (put("aev.rc_s", lambda v: v.expand(2)), "one cutoff aev.rc_s"),
    "fewer radial functions": (
        put("aev.shifts_s", lambda v: v[:-1]),
        r"aev\.shifts_s has shape \(7,\); expected \(8,\)",
    ),
    "uneven radial functions": (
        put("aev.shifts_s", lambda v: v**1.01),
        r"aev\.(eta|shifts)_s is not that of radial functions evenly",
    ),
    "radial functions not finite": (put("aev.shifts_s", lambda v: v * torch.nan), "no room for radial functions"),
    "one radial function not finite": (put("aev.shifts_s", lambda v: v.where(v < 4, torch.nan)), "evenly spaced"),
    "other width of Gaussians": (put("aev.eta_s", lambda v: v * 1.01), r"aev\.eta_s is not that"),
    "width of Gaussians not finite": (put("aev.eta_s", lambda v: v * torch.nan), r"aev\.eta_s is not that"),
    "two widths": (put("aev.eta_s", lambda v: v.expand(2)), r"aev\.eta_s is not that"),
    "second radial basis": (put("aev.shifts_v", lambda v: v * 0.9), r"aev\.shifts_v is not that"),
    "second cutoff": (put("aev.rc_v", lambda v: v - 1.0), r"aev\.rc_v is not that"),
    "infinite cutoff": (put("aev.rc_s", lambda v: v * torch.inf), "no room for radial functions"),
    "cutoff not finite": (put("aev.rc_s", lambda v: v * torch.nan), "no room for radial functions"),
    "negative cutoff": (put("aev.rc_s", lambda v: -v), "no room for radial functions"),
    "first center at the cutoff": (put("aev.shifts_s", lambda v: v - v[0] + 5.0), "no room for radial functions"),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_contradictions_are_refused(state: State, name: str) -> None:
    change, message = CONTRADICTIONS[name]
    change(state)
    with pytest.raises(CheckpointMismatchError, match=f"here: .*{message}"):
        network_from_state(state, SMALLER_ELEMENTS, "here")


@pytest.mark.parametrize("elements", [(), (0,), (-1,), (9,), (1, 200), (10**12,)], ids=str)
def test_elements_outside_the_table_are_refused(state: State, elements: tuple[int, ...]) -> None:
    with pytest.raises(CheckpointMismatchError, match="elements="):
        network_from_state(state, elements)


@pytest.mark.parametrize("value", [float("nan"), float("inf")], ids=str)
@pytest.mark.parametrize(
    "name", ["afv.weight", SHIFTS, "conv_a.agh", "mlps.1.0.weight", "outputs.energy_mlp.mlp.0.bias"]
)
def test_weights_of_trained_elements_must_be_finite(state: State, name: str, value: float) -> None:
    state[name].view(-1)[state[name].numel() * 6 // 9] = value  # in row 6, carbon, of the tables
    with pytest.raises(CheckpointCorruptError, match="here: weights are not finite"):
        network_from_state(state, SMALLER_ELEMENTS, "here")


def test_an_element_that_only_claims_to_be_trained_is_refused(state: State) -> None:
    with pytest.raises(CheckpointError, match="not finite: embedding, shifts"):
        network_from_state(state, (*SMALLER_ELEMENTS, 7))
