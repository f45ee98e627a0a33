"""Errors of a model on labelled data: in all, by group, by structure, and by fidelity."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect

from molcalc.assembly.opening import open_model
from molcalc.batch import AtomicBatch
from molcalc.errors import CellError, ConfigError, DatasetError, FidelityError, UnsupportedElementError
from molcalc.fidelity import Fidelity
from molcalc.io.checkpoint import Checkpoint
from molcalc.train import evaluate
from molcalc.train.data import open_dataset
from molcalc.train.data.comparison import USUAL, Comparison
from molcalc.train.report.esp_plots import chosen_examples, esp_examples
from molcalc.train.report.evaluation import KEPT_SAMPLES, Evaluation, Evaluator, evaluate_part, potential_spread
from molcalc.train.report.prediction_writer import PredictionWriter
from tests.helpers.calculators import tiny_calculator
from tests.helpers.networks import tiny_checkpoint, tiny_dcm
from tests.helpers.structures import organic
from tests.helpers.training_runs import copied

SHIFT = 0.25
"""eV that the labels of one kind of molecule are wrong by."""
ALL_POINTS = Comparison(esp_radius_factor=0.0)
EXACT = 1e-9


@pytest.fixture(scope="module")
def shifted_db(labelled_db: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labels are what the model predicts, but energies of methanol are too low, and row 3 has no forces."""
    path = tmp_path_factory.mktemp("shifted") / "shifted.db"
    with connect(labelled_db) as source, connect(path) as target:
        for row in source.select():
            atoms = row.toatoms()
            results = {name: atoms.calc.results[name] for name in ("energy", "forces", "charges", "dipole")}
            if row.formula == "CH4O":
                results["energy"] -= SHIFT
            if row.id == 3:
                del results["forces"]
            atoms.calc = SinglePointCalculator(atoms, **results)
            target.write(atoms, total_charge=0, site=f"row {row.id}", data=row.data)
    return path


@pytest.fixture(scope="module")
def model() -> Checkpoint:
    return tiny_checkpoint()


def evaluator(model: Checkpoint, comparison: Comparison = ALL_POINTS) -> Evaluator:
    return Evaluator(open_model(model), comparison, device=torch.device("cpu"))


@pytest.fixture(scope="module")
def found(shifted_db: Path, model: Checkpoint) -> Evaluation:
    return evaluate_part(evaluator(model), open_dataset(shifted_db))


def test_a_known_shift_is_found_in_the_right_unit_and_group(found: Evaluation) -> None:
    assert found.overall["energy"]["mae"] == pytest.approx(SHIFT / 6, abs=EXACT)
    assert found.overall["energy"]["rmse"] == pytest.approx(SHIFT / np.sqrt(6), abs=EXACT)
    by_formula = {name: row["energy"]["mae"] for name, row in found.groups["formula"].items()}
    assert by_formula["CH4O"] == pytest.approx(SHIFT, abs=EXACT)
    assert max(mae for name, mae in by_formula.items() if name != "CH4O") < EXACT
    assert found.groups["n_atoms"]["6"]["energy"]["n"] == 12  # methanol and ethene
    assert found.overall["forces"]["mae"] < 1e-6


def test_missing_labels_do_not_count(found: Evaluation) -> None:
    atoms = 36 // 6 * (5 + 3 + 4 + 6 + 3 + 6) - 4  # row 3 is ammonia
    assert found.overall["forces"]["n"] == 3 * atoms
    assert np.isnan(found.system_rmse["forces"][2])
    assert np.isfinite(found.system_rmse["energy"]).all()


def test_errors_by_element_add_up_to_all(found: Evaluation) -> None:
    by_element = found.groups["element"]
    assert set(by_element) == {"H", "C", "N", "O"}
    assert sum(row["forces"]["n"] for row in by_element.values()) == found.overall["forces"]["n"]
    assert "energy" not in by_element["H"]


def test_samples_of_energies_are_relative_to_the_atoms(found: Evaluation) -> None:
    label, prediction = found.samples["energy"].T
    assert np.abs(label).max() < 500.0  # total energies are thousands of eV
    assert sorted(set(np.round(prediction - label, 6))) == [0.0, SHIFT]
    assert len(found.samples["forces"]) == found.overall["forces"]["n"] < KEPT_SAMPLES


def test_the_function_for_users_returns_plain_errors(shifted_db: Path, model: Checkpoint) -> None:
    errors = evaluate(str(shifted_db), model, esp_radius_factor=0.0)
    assert errors["energy"]["mae"] == pytest.approx(SHIFT / 6, abs=EXACT)
    assert errors["esp"]["n"] == 36 * 20
    assert errors["esp"]["rmse"] < 1e-5


def test_several_runs_are_compared_as_one_ensemble(shifted_db: Path, model: Checkpoint) -> None:
    other, data = tiny_checkpoint(seed=9), open_dataset(shifted_db)
    runs = (model, other, [model, other])
    opened = [Evaluator(open_model(run), ALL_POINTS, device=torch.device("cpu")) for run in runs]
    first, second, mean = (evaluate_part(each, data).samples["energy"][:, 1] for each in opened)
    assert np.abs(first - second).min() > 1e-3
    assert np.allclose(mean, (first + second) / 2, atol=EXACT, rtol=0)
    assert set(evaluate(str(shifted_db), [model, other])) == set(evaluate(str(shifted_db), model))


def test_an_option_that_an_evaluation_does_not_have_is_named(shifted_db: Path, model: Checkpoint) -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'esp_radius' \(did you mean 'esp_radius_factor'\?\)"):
        evaluate(str(shifted_db), model, esp_radius=0.0)
    with pytest.raises(ConfigError, match="esp_radius_factor=-1.0; expected at least 0"):
        evaluate(str(shifted_db), model, esp_radius_factor=-1)


def test_data_of_a_named_fidelity_meet_the_fidelity_of_that_name(shifted_db: Path) -> None:
    model = tiny_checkpoint(n_fidelities=2)
    config = replace(model.config, fidelities=tuple(Fidelity(name=name) for name in ("low", "high")))
    seen = []

    def keep(systems: np.ndarray, batch: AtomicBatch, results: object) -> None:
        seen.append(set(batch.fidelity.tolist()))

    both = evaluator(Checkpoint(config, model.weights))
    evaluate_part(both, open_dataset({"high": str(shifted_db)}), on_batch=keep)
    evaluate_part(both, open_dataset(shifted_db), fidelity="high", on_batch=keep)
    assert all(found == {1} for found in seen)
    with pytest.raises(FidelityError, match="the model has the fidelities low, high: say which one"):
        evaluate_part(both, open_dataset(shifted_db))
    with pytest.raises(FidelityError, match=r"unknown fidelity 'hihg' \(did you mean 'high'\?\)"):
        evaluate_part(both, open_dataset({"hihg": str(shifted_db)}))


def test_labels_with_dispersion_are_compared_with_the_energy_of_the_calculator(
    model: Checkpoint, tmp_path: Path
) -> None:
    calc = tiny_calculator(model)  # with the D3 that the model declares
    with connect(tmp_path / "d3.db") as db:
        for seed in range(3):
            atoms = organic(seed)
            atoms.calc = calc
            results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
            atoms.calc = SinglePointCalculator(atoms, **results)
            db.write(atoms)
    path = str(tmp_path / "d3.db")
    assert evaluate(path, model)["energy"]["mae"] > 0.05
    errors = evaluate(path, model, with_dispersion=True)
    assert errors["energy"]["mae"] < 1e-8
    assert errors["forces"]["mae"] < 1e-7


def test_elements_and_labels_that_do_not_fit_are_refused(tmp_path: Path, model: Checkpoint) -> None:
    from ase.build import molecule

    with connect(tmp_path / "sulfur.db") as db:
        atoms = molecule("SH2")
        atoms.calc = SinglePointCalculator(atoms, energy=-1.0)
        db.write(atoms)
    with connect(tmp_path / "bare.db") as db:
        db.write(molecule("H2O"))
    with pytest.raises(UnsupportedElementError, match=r"the data have S \(Z=16\), which the model does not know"):
        evaluate(str(tmp_path / "sulfur.db"), model)
    with pytest.raises(DatasetError, match="no labels that the model predicts; labels found: none"):
        evaluate(str(tmp_path / "bare.db"), model)


def test_examples_of_the_potential_are_the_median_and_the_worst(shifted_db: Path, model: Checkpoint) -> None:
    data = open_dataset(shifted_db)
    usual = evaluator(model, USUAL)
    found = evaluate_part(usual, data)
    chosen, radial = chosen_examples(found)
    assert found.system_rmse["esp"][chosen["largest error"]] == np.nanmax(found.system_rmse["esp"])
    assert len(radial) == np.isfinite(found.system_rmse["esp"]).sum()
    (worst,) = esp_examples(usual, data, np.array([chosen["largest error"]]))
    assert worst.rmse == pytest.approx(found.system_rmse["esp"][chosen["largest error"]], rel=1e-6)
    assert len(worst.points) == 20
    distance, element = worst.nearest()
    assert distance.min() > 1.0
    assert set(element) <= set(worst.numbers)
    assert chosen_examples(Evaluation({})) == ({}, pytest.approx(np.empty(0)))


def test_predictions_go_into_a_new_database(shifted_db: Path, model: Checkpoint, tmp_path: Path) -> None:
    data = open_dataset(shifted_db)
    results = PredictionWriter(data)
    evaluate_part(evaluator(model), data, on_batch=results)
    assert results.write(tmp_path / "out.db", {"model": "tiny"}) == 36
    original = connect(shifted_db)
    for row in connect(tmp_path / "out.db").select():
        source = original.get(row.source_row)
        shift = SHIFT if source.formula == "CH4O" else 0.0
        assert row.formula == source.formula
        assert row.energy_error == pytest.approx(shift, abs=EXACT)
        assert row.energy - row.label_energy == pytest.approx(shift, abs=EXACT)
        assert row.forces.shape == (row.natoms, 3)
        assert ("forces_rmse" in row) == (source.id != 3)
        assert (row.source_file, row.site) == ("shifted.db", source.site)


def test_predictions_are_added_to_the_rows_they_are_of(shifted_db: Path, model: Checkpoint, tmp_path: Path) -> None:
    import shutil

    copy = Path(shutil.copy(shifted_db, tmp_path / "copy.db"))
    with connect(copy) as db:
        db.delete([1])
    data = open_dataset(copy)
    results = PredictionWriter(data)
    evaluate_part(evaluator(model), data, on_batch=results)
    results.annotate("tiny")
    original = connect(shifted_db)
    for row in connect(copy).select():
        shift = SHIFT if row.formula == "CH4O" else 0.0
        assert row.tiny_energy == pytest.approx(original.get(row.id).energy + shift, abs=1e-6)
        assert row.energy == original.get(row.id).energy
        assert row.data["tiny_forces"].shape == (row.natoms, 3)
        assert row.data["esp"].shape == (20,)
    with pytest.raises(DatasetError, match="cannot begin the name of a key"):
        results.annotate("1 x")


def test_a_potential_that_turns_with_the_molecule_does_not_spread(tmp_path: Path) -> None:
    model = tiny_dcm("physnet-dcm")
    data = open_dataset(copied("co2_esp.db", tmp_path))
    assert potential_spread(model, data, USUAL, seed=0) < 1e-9


def test_a_crystal_and_a_sum_for_molecules_name_the_row(model: Checkpoint, tmp_path: Path) -> None:
    with connect(tmp_path / "mixed.db") as db:
        for pbc in (False, True):
            atoms = organic()
            atoms.center(vacuum=4.0)
            atoms.pbc = pbc
            atoms.calc = SinglePointCalculator(atoms, energy=0.0)
            db.write(atoms, total_charge=0)
    with pytest.raises(CellError, match=r"mixed.db row 2: SimpleCoulomb: .*coulomb='dsf'"):
        evaluate(tmp_path / "mixed.db", model)
    assert evaluate(tmp_path / "mixed.db", model, coulomb="dsf")["energy"]["n"] == 2
