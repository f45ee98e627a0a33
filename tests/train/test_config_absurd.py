"""Absurd values of every option of training: an error of the package, before the folder of the run is there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from molcalc.errors import ConfigError, DatasetError, MolcalcError
from molcalc.registry import MODELS
from molcalc.train import fit
from molcalc.train.config import CONFIG_PARTS, make_config
from molcalc.train.loop.losses import LossConfig
from molcalc.train.optimize.optimizers import GroupConfig
from molcalc.train.optimize.schedules import ScheduleConfig
from tests.helpers.training_runs import copied, fit_molecules

ABSURD: tuple[Any, ...] = (
    -1, 0, 1, 1.5, 10**400, -(10**400), 1e300, float("nan"), float("inf"), "text", "", [1, 2], [[]], {"a": 1}, {}, True,
    b"x", object(),
)  # fmt: skip
NESTED = {"loss": LossConfig, "schedule": ScheduleConfig}
SIZES = {f"{kind}.{key.name}": (kind, key.name) for kind, entry in MODELS.items() for key in fields(entry.config)}
"""Arguments of networks, whose values are checked when the network is made."""


def options() -> Iterator[tuple[str, ...]]:
    """Path of every option."""
    yield ("seed",)
    for part, kind in CONFIG_PARTS.items():
        yield (part,)
        for key in fields(kind):
            yield (key.name,)
            for inner in fields(NESTED[key.name]) if key.name in NESTED else ():
                yield (key.name, inner.name)
    for key in fields(LossConfig):
        yield ("loss", key.name)
    yield from (("loss", "weights", "energy"), ("loss", "metrics", "energy"), ("fidelity_weights", "default"))
    yield from (("fidelities", "x", key) for key in ("functional", "dispersion", "base", "like", "subtract_dispersion"))


def nested(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    for key in reversed(path):
        value = {key: value}
    return value


def refused(values: dict[str, Any]) -> bool:
    try:
        make_config({"model": "aimnet2", **values})
    except ConfigError:
        return True
    return False


@pytest.mark.parametrize("path", list(dict.fromkeys(options())), ids=".".join)
def test_every_option_refuses_absurd_values_with_an_error_of_its_own(path: tuple[str, ...]) -> None:
    found = [refused(nested(path, value)) for value in ABSURD]
    assert sum(found) >= 3  # a list, a mapping and bytes are never all right


@pytest.mark.parametrize("key", [key.name for key in fields(GroupConfig)])
def test_groups_of_parameters_refuse_absurd_values(key: str) -> None:
    assert sum(refused({"groups": [{"pattern": "x", key: value}]}) for value in ABSURD) >= 3


@pytest.mark.parametrize(("kind", "key"), list(SIZES.values()), ids=list(SIZES))
def test_every_size_of_a_network_refuses_absurd_values(kind: str, key: str) -> None:
    from molcalc.io.schema import from_dict

    for value in ABSURD:
        try:
            from_dict(MODELS[kind].config, {"elements": [1], key: value})
        except ConfigError:
            continue


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"valid": 1.5}, "valid=1.5; expected a share below 1.*or a whole number of systems, without a point"),
        ({"valid": 1.0}, r"valid=1.0; expected a share below 1 \(valid=0.1\), or .* without a point \(valid=1\)"),
        ({"test": 20.0}, r"test=20.0; .* \(test=20\)"),
        ({"grad_clip": -1}, "grad_clip=-1.0; expected at least 0"),
        ({"seed": -1}, "seed=-1; expected at least 0"),
        ({"arguments": {"hidden": [[60000, 60000]] * 3}}, r"has 1.*e\+10 parameters; expected at most 1e\+09"),
        ({"arguments": {"n_channels": 0}}, "n_channels=0; expected at least 1"),
        ({"arguments": {"elements": [1]}}, r"arguments.elements=\[1\] lacks C \(Z=6\).*which the data have"),
        ({"fidelities": {"default": {"base": "pbe0"}}}, "fidelities.default.base='pbe0'; the model has default"),
        ({"fidelities": {"default": {"dispersion": "d3bj:pbbe0"}}}, "pbbe0"),
        ({"dipole_source": "distributed"}, "dipole_source='distributed' needs dcm_charges"),
        ({"schedule": {"warmup": 1e8}}, "warmup=100000000.0 steps, but the run has"),
        ({"fidelity_weights": {"pbe0": 1}}, "fidelity_weights: unknown fidelity 'pbe0'"),
        ({"optimizer_options": {"betas": "x"}}, "does not accept the options"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_an_option_that_does_not_fit_leaves_no_folder(values: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises((ConfigError, DatasetError), match=message):
        fit_molecules(tmp_path / "run", **values)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("path", list(dict.fromkeys(options())), ids=".".join)
def test_what_an_option_accepts_trains_or_is_refused_before_there_is_a_folder(
    path: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ready(Exception):
        """The run would begin now."""

    def begin(*args: Any, **kwargs: Any) -> None:
        raise Ready

    monkeypatch.setattr("molcalc.train.fitting.RunFolder.owned", begin)
    data = copied("small_molecules.db", tmp_path)
    for value in ABSURD:
        values = nested(path, value)
        if not refused(values):
            with pytest.raises((Ready, MolcalcError)):
                fit(data, "aimnet2", output=tmp_path / "run", progress=False, **{"plots": False, **values})
    assert not (tmp_path / "run").exists()


def test_a_folder_without_a_name_is_not_the_present_one() -> None:
    with pytest.raises(ConfigError, match="output='' names no folder; '.' is the present one"):
        fit("a.db", "aimnet2", output="")
