"""Several fidelities in one run, and runs that start from the weights of another model."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect

from molcalc import AIMNet2
from molcalc.errors import CheckpointMismatchError, ConfigError, DatasetError, UnsupportedElementError
from molcalc.io import checkpoint
from molcalc.io.checkpoint import Checkpoint
from molcalc.models.aimnet2 import AIMNet2Network
from molcalc.pretrained.sources import read_model
from molcalc.registry import build_members
from molcalc.train import evaluate, fit
from molcalc.train.config import FitConfig, make_config
from molcalc.train.data import open_dataset
from molcalc.train.data.parts import open_parts
from molcalc.train.loop.processes import joined
from molcalc.train.loop.run_folder import RunFolder
from molcalc.train.loop.task import checkpointed
from molcalc.train.preparation import prepare
from molcalc.train.start.initial_model import new_model
from tests.helpers.model_files import multifidelity_state
from tests.helpers.networks import tiny_checkpoint, tiny_dcm, tiny_multifidelity, tiny_multifidelity_checkpoint
from tests.helpers.training_runs import OFFSET, PAIR_HEAD, TINY, copied

SHORT = {"epochs": 2, "batch_size": 8, "batch_mode": "molecules", "progress": False, "plots": False}


@pytest.fixture(scope="module")
def without_nitrogen(labelled_db: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("few") / "few.db"
    with connect(labelled_db) as old, connect(path) as new:
        for row in old.select():
            if 7 not in row.numbers:
                new.write(row, total_charge=0, multiplicity=1)
    return path


@pytest.fixture(scope="module")
def two_levels(labelled_db: Path, low_db: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on two fidelities."""
    output = tmp_path_factory.mktemp("runs") / "two"
    data = {"high": labelled_db, "low": low_db}
    fit(data, "aimnet2", output=output, arguments=TINY["aimnet2"], fidelity_weights={"high": 1.0, "low": 3.0}, **SHORT)
    return output


def start(data: dict[str, Path] | Path, **options: Any) -> Checkpoint:
    """A model before its first step."""
    sources = {k: str(v) for k, v in data.items()} if isinstance(data, dict) else str(data)
    size = {} if "init" in options else {"arguments": TINY["aimnet2"]}
    config = make_config({"model": "aimnet2", **size, **options})
    model = new_model(config.start, open_dataset(sources), config.seed)
    return checkpointed(model.config, model.network.state_dict())


def saved(path: Path, model: Checkpoint) -> str:
    checkpoint.save(path, model)
    return str(path)


def named(model: Checkpoint, name: str) -> Checkpoint:
    level = replace(model.config.fidelities[0], name=name)
    return Checkpoint(replace(model.config, fidelities=(level,)), model.weights)


def test_two_fidelities_train_into_one_model(two_levels: Path, labelled_db: Path, low_db: Path) -> None:
    model = checkpoint.load(two_levels)
    assert [level.name for level in model.config.fidelities] == ["high", "low"]
    assert [level.elements for level in model.config.fidelities] == [(1, 6, 7, 8), (1, 6, 7, 8)]
    found = evaluate({"low": str(low_db), "high": str(labelled_db)}, two_levels)
    assert found["energy"]["n"] == 72
    assert found["dipole"]["n"] == 3 * 36  # the low level has none


def test_heads_are_different_tensors_after_training(two_levels: Path) -> None:
    """Spec 6.9: heads that were one object had equal weights to the last bit."""
    (network,) = build_members(checkpoint.load(two_levels))
    assert isinstance(network, AIMNet2Network)
    high, low = (dict(head.named_parameters()) for head in network.energy_heads)
    for name in high:
        assert high[name].data_ptr() != low[name].data_ptr()
        assert not torch.equal(high[name], low[name]), name
    assert not torch.equal(network.embedding[0], network.embedding[1])  # they began equal


def test_every_fidelity_has_self_atomic_energies_of_its_own(labelled_db: Path, low_db: Path) -> None:
    model = start({"high": labelled_db, "low": low_db})
    (network,) = build_members(model)
    shifts = network.shifts.detach().numpy()
    difference = shifts[1, [1, 6, 7, 8]] - shifts[0, [1, 6, 7, 8]]
    assert difference == pytest.approx(list(OFFSET.values()), abs=1e-6)


def test_an_element_that_one_fidelity_lacks_is_stated_in_the_model(labelled_db: Path, without_nitrogen: Path) -> None:
    model = start({"high": without_nitrogen, "low": labelled_db})
    assert [level.elements for level in model.config.fidelities] == [(1, 6, 8), (1, 6, 7, 8)]
    assert model.config.arguments["elements"] == (1, 6, 7, 8)
    evaluate({"low": str(labelled_db)}, model)
    with pytest.raises(UnsupportedElementError, match=r"N \(Z=7\), which the model does not know at fidelity 'high'"):
        evaluate({"high": str(labelled_db)}, model)


def test_the_fidelity_of_the_given_weights_predicts_the_same_before_the_first_step(
    labelled_db: Path, low_db: Path, tmp_path: Path
) -> None:
    given = named(tiny_checkpoint(), "high")
    model = start({"low": low_db, "high": labelled_db}, init=saved(tmp_path / "given", given))
    before, after = evaluate({"high": str(labelled_db)}, given), evaluate({"high": str(labelled_db)}, model)
    for name, errors in before.items():
        assert after[name]["mae"] == pytest.approx(errors["mae"], abs=1e-9), name
    low = evaluate({"low": str(low_db)}, model)
    assert low["energy"]["mae"] == pytest.approx(0.0, abs=1e-6)  # starts from it, with atoms of its own
    assert low["forces"]["mae"] < 1e-6


def test_weights_of_several_fidelities_go_on_with_those_of_the_data(
    two_levels: Path, labelled_db: Path, low_db: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        model = start({"low": low_db}, init=str(two_levels))
    assert "also has the fidelities high, which have no data here and are left out; keep_fidelities=True" in caplog.text
    assert [level.name for level in model.config.fidelities] == ["low"]
    expected = evaluate({"low": str(low_db)}, two_levels)["energy"]["mae"]
    assert evaluate({"low": str(low_db)}, model)["energy"]["mae"] == pytest.approx(expected, abs=1e-9)


def test_a_weight_file_of_several_fidelities_goes_on(labelled_db: Path, low_db: Path, tmp_path: Path) -> None:
    torch.save({"model": multifidelity_state(tiny_multifidelity().float())}, tmp_path / "three.pt")
    model = start(
        {"high": labelled_db, "0": low_db}, init=str(tmp_path / "three.pt"), fidelities={"high": {"like": "2"}}
    )
    given = read_model(tmp_path / "three.pt")
    assert [level.name for level in model.config.fidelities] == ["high", "0"]
    for name, source in (("embedding", [2, 0]), ("energy_heads.{}.0.weight", [2, 0])):
        for f, k in enumerate(source):
            key = f"members.0.{name}"
            found, old = model.weights[key.format(f)], given.weights[key.format(k)]
            assert torch.equal(*((found, old) if "{}" in name else (found[f, [1, 6, 7, 8]], old[k, [1, 6, 7, 8]])))
    assert torch.equal(model.weights["members.0.shifts"][1], given.weights["members.0.shifts"][0])


def test_a_fidelity_is_added_in_one_call(two_levels: Path, labelled_db: Path, low_db: Path, tmp_path: Path) -> None:
    frozen = [{"pattern": "^passes|^conv|^embedding", "freeze": True}]
    fit({"best": labelled_db}, "aimnet2", output=tmp_path / "run", init=str(two_levels), keep_fidelities=True,
        fidelities={"best": {"like": "high"}}, groups=frozen, ema=0.0, weight_decay=0.1, **SHORT)  # fmt: skip
    model = checkpoint.load(tmp_path / "run")
    assert [level.name for level in model.config.fidelities] == ["best", "high", "low"]
    for name, path in (("high", labelled_db), ("low", low_db)):
        kept, old = evaluate({name: str(path)}, model), evaluate({name: str(path)}, two_levels)
        assert kept["energy"]["mae"] == pytest.approx(old["energy"]["mae"], abs=1e-10), name


def test_corrections_start_at_the_energy_of_their_base(labelled_db: Path, low_db: Path, tmp_path: Path) -> None:
    data, levels = {"low": low_db, "high": labelled_db}, {"high": {"base": "low"}}
    model = start(data, init=saved(tmp_path / "given", tiny_checkpoint()), fidelities=levels)
    assert model.config.arguments["bases"] == (None, 0)
    assert evaluate({"high": str(labelled_db)}, model)["energy"]["mae"] == pytest.approx(0.0, abs=1e-6)
    fresh = start(data, fidelities=levels)
    assert not fresh.weights["members.0.energy_heads.1.2.weight"].any()


def test_charge_heads_can_be_added_to_given_weights(labelled_db: Path, low_db: Path, tmp_path: Path) -> None:
    options = {"init": saved(tmp_path / "given", tiny_checkpoint()), "arguments": {"charge_heads": True}}
    model = start({"low": low_db, "high": labelled_db}, **options)
    assert evaluate({"high": str(labelled_db)}, model)["charges"]["mae"] == pytest.approx(0.0, abs=1e-7)


def test_atoms_that_the_data_lack_are_not_known_after_transfer(without_nitrogen: Path, tmp_path: Path) -> None:
    """Their reference energies are those of another level: predictions for them would be wrong by thousands of eV."""
    model = start(without_nitrogen, init=saved(tmp_path / "given", tiny_checkpoint()))
    assert model.config.arguments["elements"] == (1, 6, 8)
    (network,) = build_members(model)
    assert network.elements == (1, 6, 8)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"fidelities": {"high": {"base": "lwo"}}}, ConfigError, r"base='lwo' \(did you mean 'low'\?\)"),
        ({"fidelities": {"high": {"like": "best"}}}, ConfigError, "like='best'.* has pbe0"),
        ({"arguments": {"n_radial": 8}}, ConfigError, "with init they are given"),
        ({"model": "physnet-dcm"}, CheckpointMismatchError, "holds a 'aimnet2' model; model='physnet-dcm'"),
    ],
)
def test_wishes_that_do_not_fit_the_given_weights(
    labelled_db: Path, low_db: Path, tmp_path: Path, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    init = saved(tmp_path / "given", tiny_checkpoint())
    with pytest.raises(error, match=message):
        start({"low": low_db, "high": labelled_db}, init=init, **options)


def test_elements_that_the_given_weights_do_not_know(tmp_path: Path) -> None:
    atoms = Atoms("HF", [[0, 0, 0], [0, 0, 0.92]])
    atoms.calc = SinglePointCalculator(atoms, energy=-2700.0, forces=np.zeros((2, 3)))
    with connect(tmp_path / "hf.db") as db:
        db.write(atoms, total_charge=0, multiplicity=1)
    with pytest.raises(DatasetError, match=r"was not trained on F \(Z=9\); known: H .Z=1."):
        start(tmp_path / "hf.db", init=saved(tmp_path / "given", tiny_checkpoint()))


def test_held_out_data_may_have_the_fidelities_in_another_order_or_not_all(
    labelled_db: Path, low_db: Path, tmp_path: Path
) -> None:
    data = {"high": str(labelled_db), "low": str(low_db)}
    arguments: dict[str, Any] = {"arguments": TINY["aimnet2"], "seed": 3, **SHORT, "epochs": 1, "allow_overlap": True}
    errors = []
    for k, held_out in enumerate(({"low": str(low_db), "high": str(labelled_db)}, {"high": str(labelled_db)})):
        result = fit(data, "aimnet2", output=tmp_path / str(k), valid=held_out, test=0, **arguments)
        errors.append(result.history[-1])
    assert errors[0]["high_energy_mae"] == pytest.approx(errors[1]["high_energy_mae"])
    assert "low_energy_mae" in errors[0]
    assert errors[0]["valid_loss"] != errors[1]["valid_loss"]


def test_every_fidelity_counts_equally_in_the_validation_loss(low_db: Path, labelled_db: Path, tmp_path: Path) -> None:
    with connect(labelled_db) as old, connect(tmp_path / "few.db") as new:
        for row in old.select(limit=12):
            new.write(row, total_charge=0, multiplicity=1, data=row.data)
    data = {"high": str(tmp_path / "few.db"), "low": str(low_db)}
    losses = {}
    options: dict[str, Any] = {"arguments": TINY["aimnet2"], "test": 0, **SHORT, "epochs": 1, "ema": 0.0,
                               "allow_overlap": True}  # fmt: skip
    fit(data, "aimnet2", output=tmp_path / "run", valid=data, **options)
    for name, valid in (("both", data), *(((name, {name: path}) for name, path in data.items()))):
        config = make_config({"model": "aimnet2", "init": str(tmp_path / "run"), "allow_overlap": True})
        losses[name] = validation_loss(config, data, valid, tmp_path / f"again_{name}")
    assert losses["both"] == pytest.approx(0.5 * (losses["high"] + losses["low"]), rel=1e-6)
    assert losses["high"] != pytest.approx(losses["low"], rel=1e-2)


def validation_loss(config: FitConfig, data: dict[str, str], valid: dict[str, str], folder: Path) -> float:
    """Loss of the weights that a run starts from."""
    parts = open_parts(data, config.split, valid=valid, test=data)
    with joined(torch.device("cpu"), 60.0) as processes:
        _, trainer = prepare(config, set(), parts, RunFolder(folder), processes, torch.device("cpu"))
        return trainer.validate()[0]


@pytest.mark.parametrize(("name", "value"), [("n_fidelities", 3), ("bases", [None])])
def test_what_follows_from_the_data_is_no_argument(labelled_db: Path, name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"arguments.{name} follows from the data"):
        start(labelled_db, model="aimnet2", arguments={**TINY["aimnet2"], name: value})


def test_a_model_of_one_fidelity_that_stays_one_is_taken_as_it_is(
    labelled_db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Energies that it explains are computed as a calculator computes them, whatever fidelities could be copied."""
    from molcalc.train.start import transfer

    monkeypatch.setattr(transfer, "with_fidelities", None)
    given = saved(tmp_path / "given", tiny_checkpoint())
    assert start(labelled_db, init=given).config.fidelities[0].name == "default"


def test_a_repulsion_is_taken_out_before_reference_energies_are_fitted(
    labelled_db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old, long ZBL is worth several eV in every bond, so that it shows in the fit."""
    shifts = start(labelled_db).weights["members.0.shifts"]
    monkeypatch.setattr("molcalc.train.start.initial_model.REPULSION_OF_NEW_MODELS", {})
    repelled = start(labelled_db, repulsion="zbl")
    assert (shifts - repelled.weights["members.0.shifts"])[0, [1, 6, 7, 8]].min() > 0.5
    monkeypatch.undo()
    assert start(labelled_db, repulsion="zbl").config.repulsion == "zbl-close"


def test_given_reference_energies_are_those_of_the_model_and_said(labelled_db: Path, low_db: Path) -> None:
    energies = {"H": -13.0, "C": -1030.0, "N": -1480.0, "O": -2040.0, "Br": -70000.0}
    model = start({"high": labelled_db, "low": low_db}, reference_energies={"low": energies})
    assert model.weights["members.0.shifts"][1, [1, 6, 7, 8]].tolist() == [-13.0, -1030.0, -1480.0, -2040.0]
    assert model.config.provenance["reference_energies"] == "high: fit, low: given"
    with pytest.raises(ConfigError, match=r"fidelity 'low': reference_energies: given: no energy of N \(Z=7\)"):
        start({"high": labelled_db, "low": low_db}, reference_energies={"low": {"H": -13.0, "C": -1.0, "O": -2.0}})
    with pytest.raises(DatasetError, match=r"no neutral single atom with an energy of H \(Z=1\), C"):
        start(labelled_db, reference_energies="isolated")


def test_a_fidelity_that_goes_on_keeps_its_reference_energies(two_levels: Path, labelled_db: Path) -> None:
    with pytest.raises(ConfigError, match="fidelity 'high' goes on from .* with those it has"):
        start({"high": labelled_db}, init=str(two_levels), reference_energies={"high": {"H": -13.0}})


def test_given_weights_go_on_with_another_sum_of_their_coulomb_energy(two_levels: Path, labelled_db: Path) -> None:
    model = start({"high": labelled_db}, init=str(two_levels), coulomb="dsf", coulomb_options={"cutoff": 9.0})
    assert (model.config.coulomb, model.config.coulomb_sum) == ("simple", "dsf")
    assert model.config.coulomb_options == {"cutoff": 9.0}
    with pytest.raises(ConfigError, match="was trained with simple; it can be summed as simple, dsf, ewald, pme"):
        start({"high": labelled_db}, init=str(two_levels), coulomb="physnet")


def test_a_fidelity_that_goes_on_keeps_what_is_not_said_of_its_labels(labelled_db: Path, tmp_path: Path) -> None:
    model = tiny_checkpoint()
    level = replace(model.config.fidelities[0], name="high", functional="pbe0", dispersion="d3bj:pbe0")
    given = saved(tmp_path / "given", Checkpoint(replace(model.config, fidelities=(level,)), model.weights))

    def goes_on(**said: Any) -> Any:
        return start({"high": labelled_db}, init=given, fidelities={"high": said}).config.fidelities[0]

    assert (goes_on().functional, goes_on().dispersion) == ("pbe0", "d3bj:pbe0")
    assert (goes_on(dispersion=None).functional, goes_on(dispersion=None).dispersion) == ("pbe0", None)
    assert goes_on(dispersion="d3bj:PBE").dispersion == "d3bj:pbe"
    new = start({"other": labelled_db}, init=given).config.fidelities[0]
    assert (new.functional, new.dispersion) == (None, None)


@pytest.fixture(scope="module")
def co2_esp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copied("co2_esp.db", tmp_path_factory.mktemp("esp"))


def test_a_head_is_put_on_a_model_and_leaves_its_energies(co2_esp: Path, tmp_path: Path) -> None:
    """Energies, dispersion, elements and what the model knows are those of the model below; the head learns."""
    below = saved(tmp_path / "below", tiny_checkpoint())
    result = fit(
        co2_esp, "aimnet2-dcm", output=tmp_path / "run", init=below, arguments=PAIR_HEAD, **{**SHORT, "epochs": 8},
        validate_every=8, test=0,
    )  # fmt: skip
    old, new = checkpoint.load(below), checkpoint.load(tmp_path / "run")
    assert new.config.kind == "aimnet2-dcm"
    assert new.config.fidelities == (replace(old.config.fidelities[0], name="default", elements=(1, 6, 7, 8)),)
    assert all(torch.equal(new.weights[name], value) for name, value in old.weights.items())
    assert result.history[-1]["esp_rmse"] < 0.7 * result.history[0]["esp_rmse"]
    assert {"energy_mae", "forces_mae"}.isdisjoint(result.history[0])
    atoms = Atoms("CO2", [[0, 0, 0], [0, 0, 1.2], [0, 0, -1.1]])
    energies = [model.get_potential_energy(atoms) for model in (AIMNet2(below), result.calculator())]
    assert energies[0] == energies[1]
    again = fit(output=tmp_path / "run", resume=True, epochs=9)  # knows what it was trained on
    assert checkpoint.load(tmp_path / "run").config.fidelities == new.config.fidelities
    assert again.history[-1]["epoch"] == 9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arguments": {"aim_size": 8}}, "arguments.aim_size belongs to init=.*gets a head"),
        ({"arguments": {"n_dcm": 2, "multipoles": True}}, "n_dcm=2 with multipoles=True"),
        ({"arguments": {"channels": 2}}, "channels"),
        ({"coulomb": "dsf"}, "coulomb are those of init="),
        ({"fidelities": {"default": {"functional": "pbe0"}}}, "a head on .* leaves its energies as they are"),
    ],
)  # fmt: skip
def test_what_belongs_to_the_model_below_a_head_is_refused(
    labelled_db: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    below = saved(tmp_path / "below", tiny_checkpoint())
    with pytest.raises(ConfigError, match=message):
        start(labelled_db, model="aimnet2-dcm", init=below, **options)


def test_a_head_is_put_on_its_own_kind_of_model_only(labelled_db: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointMismatchError, match="holds a 'physnet-dcm' model; model='aimnet2-dcm'"):
        start(labelled_db, model="aimnet2-dcm", init=saved(tmp_path / "below", tiny_dcm()))


def test_a_head_stands_on_one_of_several_levels(labelled_db: Path, tmp_path: Path) -> None:
    below = tiny_multifidelity_checkpoint()
    found = start(
        {"gfn2": labelled_db}, model="aimnet2-dcm", init=saved(tmp_path / "below", below), arguments=PAIR_HEAD
    )
    assert [each.name for each in found.config.fidelities] == ["gfn2"]
    assert found.config.fidelities[0].dispersion_in_labels
    assert torch.equal(found.weights["members.0.shifts"][0], below.weights["members.0.shifts"][1])
