"""Options of a run: written in their part or without it, once, and read back from what a run writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from molcalc.errors import ConfigError, DatasetError
from molcalc.fidelity import Fidelity
from molcalc.train import fit
from molcalc.train.config import CONFIG_PARTS, FIT_OPTIONS, FitConfig, make_config, parse_setting, read_options
from molcalc.train.loop.losses import LossConfig
from molcalc.train.optimize.optimizers import GroupConfig
from molcalc.train.optimize.schedules import ScheduleConfig
from molcalc.train.run_data import separated
from tests.helpers.training_runs import copied, fit_co2

EVERYWHERE: dict[str, Any] = {
    "seed": 4,
    "valid": 0.2,
    "model": "aimnet2",
    "arguments": {"aim_size": 16},
    "fidelities": {"pbe0": {"functional": "pbe0", "dispersion": "d3bj:pbe0", "base": "gfn2"}, "gfn2": {}},
    "loss": {"weights": {"energy": 2.0}, "metric": "mae"},
    "esp_max": 3.0,
    "groups": [{"pattern": "^embedding", "freeze": True}],
    "schedule": {"name": "linear"},
    "epochs": 7,
    "fidelity_weights": {"pbe0": 1.0, "gfn2": 2.0},
    "track": "wandb",
}
"""Options of every part, as files have them."""


def in_parts(options: dict[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for key, value in options.items():
        home = FIT_OPTIONS.part_of.get(key)
        (nested if home is None else nested.setdefault(home, {}))[key] = value
    return nested


def test_a_key_means_the_same_in_its_part_and_without_it() -> None:
    found = make_config(EVERYWHERE)
    assert found == make_config(in_parts(EVERYWHERE))
    assert (found.loop.epochs, found.split.valid, found.comparison.esp_max) == (7, 0.2, 3.0)
    assert (found.optimize.schedule.name, found.report.track, found.seed) == ("linear", "wandb", 4)
    assert found.optimize.groups == (GroupConfig(pattern="^embedding", freeze=True),)


def test_every_key_has_one_part_and_no_part_is_named_like_a_key() -> None:
    sizes = [len(kind.__dataclass_fields__) for kind in CONFIG_PARTS.values()]
    assert len(FIT_OPTIONS.part_of) == sum(sizes)
    assert not CONFIG_PARTS.keys() & FIT_OPTIONS.part_of.keys()
    assert set(FitConfig.__dataclass_fields__) == {"seed", "loss", *CONFIG_PARTS}


def test_a_user_wins_over_what_is_recommended_for_the_model() -> None:
    usual = make_config({"model": "physnet-dcm"})
    assert (usual.optimize.optimizer, usual.loss.weights["esp"]) == ("muon", 50.0)
    changed = make_config({"model": "physnet-dcm", "optimize": {"optimizer": "adam"}, "loss": {"weights": {"esp": 1}}})
    assert changed.optimize.optimizer == "adam"
    assert changed.loss.weights == {**usual.loss.weights, "esp": 1.0}
    assert make_config({}) == usual  # the model unless another is given


def test_labels_of_a_fidelity_and_how_they_are_learned_stand_side_by_side() -> None:
    found = make_config(EVERYWHERE).start.fidelities["pbe0"]
    assert found.labels == Fidelity(name="pbe0", functional="pbe0", dispersion="d3bj:pbe0")
    assert (found.base, found.like, found.subtract_dispersion) == ("gfn2", None, False)


@pytest.mark.parametrize("written", ["to_dict", "flat"])
def test_what_is_written_reads_back(written: str) -> None:
    config = make_config(EVERYWHERE)
    assert make_config(getattr(config, written)()) == config


def test_the_file_of_a_run_reads_back_in_parts(tmp_path: Path) -> None:
    fit_co2(tmp_path / "run", seed=5, schedule={"name": "linear"})
    text = (tmp_path / "run" / "training.yaml").read_text()
    assert "\nloop:\n  epochs: 2\n" in text
    files, options = separated(read_options(tmp_path / "run" / "training.yaml"))
    assert {**make_config(options).flat(), "groups": []} == options
    assert set(files) == {"data"}
    assert (options["seed"], options["model"], options["schedule"]["name"]) == (5, "noneq-dcm", "linear")


def test_typed_parts_are_taken_as_they_are() -> None:
    schedule, loss = ScheduleConfig(name="linear"), LossConfig(weights={"energy": 3.0})
    config = make_config({"model": "aimnet2", "schedule": schedule, "loss": loss})
    assert (config.optimize.schedule, config.loss) == (schedule, loss)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 3, "loop": {"epochs": 4}}, r"^epochs is given twice, as epochs and as loop.epochs: leave one"),
        ({"loop": {"epochs": 4}, "epochs": 4}, r"^epochs is given twice"),
        ({"loop": {"epoch": 3}}, r"^loop: unknown key 'epoch' \(did you mean 'epochs'\?\); valid keys: accumulate, "),
        ({"loop": {"optimizer": "adam"}}, r"^loop: unknown key 'optimizer'; it belongs to optimize"),
        ({"loop": 3}, r"^loop: 3 is a int; expected a mapping"),
        ({"lop": {}}, r"^unknown key 'lop' \(did you mean 'loop'\?\); valid keys: accumulate, allow_overlap, .*loop"),
        ({"weights": {}}, r"^unknown key 'weights'"),
        ({"loop": {"epochs": "x"}}, r"^epochs: 'x' is a str; expected int"),
        (
            {"fidelities": {"pbe0": {"functinal": "x"}}},
            r"fidelities.pbe0: unknown key 'functinal' \(did you",
        ),
        ({"fidelities": {"pbe0": {"functional": 3}}}, r"fidelities.pbe0: functional: 3 is a int; expected str"),
        (
            {"fidelities": {"pbe0": {"functional": "pbbe0"}}},
            r"fidelities.pbe0: functional 'pbbe0' .* near pbe0, .*: cor",
        ),
        ({"fidelities": {"pbe0": 3}}, r"fidelities.pbe0: 3 is a int; expected a mapping"),
        ({"fidelities": 3}, r"fidelities: 3 is a int; expected a mapping"),
        ({"fidelities": {"pbe0": {"name": "x"}}}, r"fidelities.pbe0: unknown key 'name'"),
        ({"fidelities": {"pbe0": {"subtract_dispersion": True}}}, r"fidelities.pbe0: subtract_dispersion needs"),
        ({"seed": "x"}, r"^seed: 'x' is a str; expected int"),
    ],
)
def test_a_wrong_key_or_value_is_named_with_its_place(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_config({"model": "aimnet2", **options})


def test_settings_of_the_command_line_may_name_the_part() -> None:
    assert parse_setting("loop.epochs=3") == parse_setting("epochs=3") == {"epochs": 3}
    assert parse_setting("optimize.schedule.name=linear") == {"schedule": {"name": "linear"}}


def test_parts_are_keywords_of_fit(tmp_path: Path) -> None:
    data = copied("co2_esp.db", tmp_path)
    with pytest.raises(ConfigError, match="valid is given twice, as valid and as split.valid"):
        fit(data, "noneq-dcm", output=tmp_path / "run", valid=0.2, split={"valid": 0.3})
    with pytest.raises(DatasetError, match="nothing to validate on"):
        fit(data, "noneq-dcm", output=tmp_path / "run", split={"valid": 0})


def test_given_weights_are_warmed_up_unless_a_user_says_otherwise() -> None:
    assert make_config({"model": "aimnet2", "init": "wb97m-d3"}).optimize.schedule.warmup == 0.1
    assert make_config({"model": "aimnet2"}).optimize.schedule.warmup == 0.02
    said = {"model": "aimnet2", "init": "wb97m-d3", "schedule": {"warmup": 0.0}}
    assert make_config(said).optimize.schedule.warmup == 0.0
