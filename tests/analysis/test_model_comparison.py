"""Comparison of models."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule
from ase.db import connect

from molcalc.analysis.model_comparison import ModelComparison, compare_models, structures_of
from molcalc.errors import ConfigError, DatasetError, FidelityError
from molcalc.io import checkpoint
from molcalc.train import evaluate
from molcalc.train.data import open_dataset
from molcalc.train.data.kept_parts import KeptParts
from tests.analysis.conftest import TRAINED_BRIEFLY
from tests.helpers.networks import tiny_dcm, tiny_multifidelity_checkpoint

Compared = tuple[Path, ModelComparison]


def test_errors_are_those_of_the_structures_that_no_run_has_seen(compared: Compared) -> None:
    folder, comparison = compared
    data = open_dataset(folder / "co2_esp.db")
    kept = KeptParts.read(folder / "runs" / "noneq-dcm" / "parts.csv")
    assert kept is not None
    assert comparison.n_structures == int((kept.parts == 2).sum()) == 4
    assert comparison.left_out == {"seen in training": 16}
    rows = [line.split(",") for line in (folder / "runs" / "noneq-dcm" / "parts.csv").read_text().splitlines()]
    of_test = [int(row[2]) for row in rows if row[0] == "test"]
    _, ids = data.row_ids()
    test = data.subset(np.flatnonzero(np.isin(ids, of_test)))
    for model in comparison.models:
        expected = evaluate(test, folder / "runs" / model.name)
        assert model.errors.keys() == expected.keys()
        assert model.errors["esp"] == pytest.approx(expected["esp"])


def test_dipole_and_potential_are_compared_by_what_charges_make_them(compared: Compared) -> None:
    folder, comparison = compared
    physnet, plain = comparison.models
    assert physnet.errors_by_charges["distributed"]["esp"] == pytest.approx(physnet.errors["esp"])
    assert physnet.errors_by_charges["distributed"]["dipole"] == pytest.approx(physnet.errors["dipole"])
    assert plain.errors_by_charges["charges"]["dipole"] == pytest.approx(plain.errors["dipole"])
    for model in comparison.models:
        distributed, atoms = (model.errors_by_charges[source]["esp"]["rmse"] for source in ("distributed", "charges"))
        assert distributed != pytest.approx(atoms, rel=1e-6)


def test_symmetry_time_and_size_are_there(compared: Compared) -> None:
    physnet, plain = compared[1].models
    assert physnet.equivariance.of("rotation", "dcm_dipole").largest < 1e-5
    assert not plain.equivariance.of("rotation", "dcm_dipole").declared
    assert physnet.n_parameters > plain.n_parameters > 1000
    assert physnet.step is not None
    assert physnet.step.median > 0
    assert (physnet.one.ratio, physnet.n_dcm, physnet.learned) == (1.0, 3, ("energy", "forces", "dipole", "esp"))
    values = json.loads(json.dumps(compared[1].to_dict()))
    assert values["models"][0]["equivariance"]["kept"] is True


def test_the_same_call_goes_on_where_it_was_interrupted(compared: Compared, tmp_path: Path) -> None:
    folder, comparison = compared
    data = shutil.copy(folder / "co2_esp.db", tmp_path)
    shutil.copytree(folder / "runs" / "physnet-dcm", tmp_path / "runs" / "physnet-dcm")
    again = compare_models(data, output=tmp_path / "runs", **TRAINED_BRIEFLY)
    assert [model.model_hash for model in again.models] == [model.model_hash for model in comparison.models]
    before, after = (place / "runs" / "physnet-dcm" / "history.csv" for place in (folder, tmp_path))
    assert after.read_text() == before.read_text()


def test_trained_models_are_taken_as_they_are_and_restricted_to_what_all_know(
    compared: Compared, tmp_path: Path
) -> None:
    folder, _ = compared
    checkpoint.save(tmp_path / "other", tiny_dcm("physnet-dcm"))
    with connect(tmp_path / "mixed.db") as database:
        for name in ("CO2", "H2O", "CO2"):
            atoms = molecule(name)
            atoms.rattle(0.05, seed=len(database))
            database.write(atoms, data={"dipole": [0.0, 0.0, 0.0]})
    options = {"train": False, "memory": False, "rounds": 1}
    models = [folder / "runs" / "noneq-dcm", tmp_path / "other"]
    found = compare_models(tmp_path / "mixed.db", models, **options)
    assert found.left_out == {"elements that not every model knows": 1}
    assert [model.name for model in found.models] == ["noneq-dcm", "other"]
    assert found.models[1].epochs is None
    assert found.models[1].step is None
    assert found.models[0].step is not None
    assert found.settings == {}
    with pytest.raises(DatasetError, match=r"none of the 1 structures.*1 elements that not every model knows"):
        compare_models(f"{tmp_path / 'mixed.db'}@1:2", models, **options)


def test_models_that_have_seen_everything_cannot_be_compared(compared: Compared) -> None:
    folder, _ = compared
    data = open_dataset(folder / "co2_esp.db")
    kept = KeptParts.read(folder / "runs" / "noneq-dcm" / "parts.csv")
    assert kept is not None
    seen = data.subset(kept.applied(data, _all_in_test(len(data))).train)
    with pytest.raises(DatasetError, match=r"none of the \d+ structures can be compared on \(\d+ seen in training\)"):
        compare_models(seen, [folder / "runs" / "noneq-dcm"], train=False)


def _all_in_test(n: int) -> object:
    from molcalc.train.data.split import Split

    return Split(np.arange(0), np.arange(0), np.arange(n))


def test_a_level_is_asked_of_models_that_have_several(compared: Compared, tmp_path: Path) -> None:
    folder, _ = compared
    checkpoint.save(tmp_path / "several", tiny_multifidelity_checkpoint())
    options = {"train": False, "memory": False, "rounds": 1, "structures": 2}
    models = [tmp_path / "several", folder / "runs" / "noneq-dcm"]
    found = compare_models(folder / "co2_esp.db", models, fidelity="gfn2", **options)
    assert found.models[0].errors["energy"]["mae"] != found.models[1].errors["energy"]["mae"]
    with pytest.raises(FidelityError, match="pbe0"):
        compare_models(folder / "co2_esp.db", models, **options)
    with pytest.raises(ConfigError, match="none of the models has several"):
        compare_models(folder / "co2_esp.db", models[1:], fidelity="gfn2", **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"output": None}, "name a folder"),
        ({"train": False, "epochs_": 3}, "unknown key"),
        ({"train": False, "batch_size": 3}, "batch_size is an option of training"),
        ({"train": False, "n_dcm": [1]}, "n_dcm is an option of training"),
        ({"output": "x", "model": "aimnet2"}, "model='aimnet2'"),
    ],
)
def test_options_that_mean_nothing_are_refused(compared: Compared, options: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        compare_models(compared[0] / "co2_esp.db", **options)  # type: ignore[arg-type]


def test_structures_of_a_dataset_keep_their_state(tmp_path: Path) -> None:
    with connect(tmp_path / "ion.db") as database:
        database.write(molecule("OH"), total_charge=-1, data={"dipole": [0.0, 0.0, 0.0]})
    (atoms,) = structures_of(open_dataset(tmp_path / "ion.db"), [0])
    assert atoms.info == {"charge": -1, "multiplicity": 1}
    assert atoms.positions == pytest.approx(molecule("OH").positions)
