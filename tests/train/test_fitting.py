"""From a database to a calculator in one call."""

from __future__ import annotations

import re
import resource
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect

from molcalc.calculators import AIMNet2, NonEquivariantDCM, PhysNetDCM
from molcalc.dispersion.d3 import D3Dispersion
from molcalc.errors import (
    CheckpointMismatchError,
    ConfigError,
    DatasetError,
    NonFiniteResultError,
    ResourceError,
    UnitMismatchError,
)
from molcalc.registry import MODELS
from molcalc.train import FitResult, evaluate, fit
from molcalc.train.data import open_dataset
from molcalc.train.loop.run_folder import RunFolder
from tests.helpers.forks import Fork
from tests.helpers.networks import tiny_checkpoint
from tests.helpers.structures import rattled
from tests.helpers.training_runs import TINY

SHORT = {"epochs": 2, "batch_size": 8, "batch_mode": "molecules", "progress": False, "plots": False}


def altered(source: Path, target: Path, change) -> Path:
    """A copy of a database; ``change(k, results, keys)`` edits each row in place."""
    with connect(source) as old, connect(target) as new:
        for k, row in enumerate(old.select()):
            atoms = row.toatoms()
            results = {name: row.get(name) for name in ("energy", "forces", "charges", "dipole")}
            keys = {"total_charge": 0, "multiplicity": 1}
            change(k, results, keys)
            atoms.calc = SinglePointCalculator(atoms, **{n: v for n, v in results.items() if v is not None})
            new.write(atoms, data=row.data, **keys)
    return target


@pytest.mark.parametrize(
    ("model", "calculator"),
    [("aimnet2", AIMNet2), ("physnet-dcm", PhysNetDCM), ("noneq-dcm", NonEquivariantDCM)],
)
def test_a_database_becomes_a_calculator(labelled_db: Path, tmp_path: Path, model: str, calculator) -> None:
    result = fit(labelled_db, model, output=tmp_path / "run", arguments=TINY[model], **SHORT)
    assert {"energy", "forces", "dipole"} <= result.metrics["test"].keys()
    assert result.metrics["valid"]["energy"]["n"] == 4
    calc = result.calculator(dtype="float64")
    assert isinstance(calc, calculator)
    with connect(labelled_db) as db:
        atoms = db.get(id=1).toatoms()
        atoms.calc = calc
        assert atoms.get_forces().shape == (5, 3)
    assert calc.todict()["model"] == "run"


@pytest.mark.parametrize("model", MODELS)
def test_every_model_learns_with_products_in_bfloat16(labelled_db: Path, tmp_path: Path, model: str) -> None:
    options = {**SHORT, "epochs": 1, "test": 0, "arguments": TINY[model]}
    result = fit(labelled_db, model, output=tmp_path / "run", precision="bf16", **options)
    assert np.isfinite(result.history[-1]["valid_loss"])


def test_errors_fall_while_training(labelled_db: Path, tmp_path: Path) -> None:
    result = fit(
        labelled_db, "aimnet2", output=tmp_path / "run", arguments=TINY["aimnet2"],
        **{**SHORT, "epochs": 14, "learning_rate": 1e-2},
    )  # fmt: skip
    assert result.history[-1]["forces_mae"] < 0.6 * result.history[0]["forces_mae"]
    assert evaluate(labelled_db, tmp_path / "run")["forces"]["mae"] < result.history[0]["forces_mae"]


def test_the_reported_errors_are_those_of_the_calculator(labelled_db: Path, tmp_path: Path) -> None:
    """Per row through ASE and in batches: the same numbers, so neither padding nor batching enters."""
    fit(labelled_db, "aimnet2", output=tmp_path / "run", arguments=TINY["aimnet2"], **SHORT)
    calc = AIMNet2(tmp_path / "run", dtype="float64")
    errors = []
    with connect(labelled_db) as db:
        for row in db.select():
            atoms = row.toatoms()
            label = row.forces
            atoms.calc = calc
            errors.append(np.abs(atoms.get_forces() - label).ravel())
    found = evaluate(labelled_db, tmp_path / "run")["forces"]
    assert found["mae"] == pytest.approx(float(np.concatenate(errors).mean()), rel=1e-6)
    assert found["n"] == len(np.concatenate(errors))


def test_training_starts_from_given_weights(labelled_db: Path, tmp_path: Path) -> None:
    """Only the reference energies move before the first step; the labels come from the same weights."""
    from molcalc.io import checkpoint

    checkpoint.save(tmp_path / "start", tiny_checkpoint())
    fit(labelled_db, output=tmp_path / "run", init=tmp_path / "start", learning_rate=0.0, **SHORT)  # its kind is known
    assert evaluate(labelled_db, tmp_path / "run")["forces"]["mae"] < 1e-5
    assert evaluate(labelled_db, tmp_path / "run")["energy"]["mae"] < 1e-4


def test_dispersion_in_labels_is_taken_out_and_added_again(labelled_db: Path, tmp_path: Path) -> None:
    """With the network that made the labels, labels + D3 and subtraction give the calculator back labels + D3."""
    from molcalc.calculators import D3
    from molcalc.io import checkpoint

    d3 = D3("pbe0")

    def add(k: int, results: dict, keys: dict) -> None:
        with connect(labelled_db) as db:
            atoms = db.get(id=k + 1).toatoms()
        atoms.calc = d3
        results["energy"] += atoms.get_potential_energy()
        results["forces"] = results["forces"] + atoms.get_forces()

    db = altered(labelled_db, tmp_path / "d3.db", add)
    checkpoint.save(tmp_path / "start", tiny_checkpoint())
    level = {"functional": "pbe0", "dispersion": "d3bj:pbe0", "dispersion_in_labels": True, "subtract_dispersion": True}
    fit(db, "aimnet2", output=tmp_path / "run", init=tmp_path / "start", learning_rate=0.0,
        fidelities={"default": level}, **SHORT)  # fmt: skip
    calc = AIMNet2(tmp_path / "run", dtype="float64")
    assert any(isinstance(term, D3Dispersion) for term in calc.potential.terms)
    with connect(db) as rows:
        row = rows.get(id=4)
        atoms = row.toatoms()
        atoms.calc = calc
        np.testing.assert_allclose(atoms.get_forces(), row.forces, atol=1e-5)


def test_validation_data_may_be_a_file_of_its_own(labelled_db: Path, tmp_path: Path) -> None:
    result = fit(
        labelled_db,
        "aimnet2",
        output=tmp_path / "run",
        arguments=TINY["aimnet2"],
        valid=labelled_db,
        test=0,
        allow_overlap=True,
        **SHORT,
    )
    assert result.metrics["valid"]["energy"]["n"] == 36
    assert "test" not in result.metrics


def test_missing_labels_are_masked(labelled_db: Path, tmp_path: Path) -> None:
    def drop(k: int, results: dict, keys: dict) -> None:
        results["dipole" if k % 2 else "forces"] = None

    db = altered(labelled_db, tmp_path / "partial.db", drop)
    result = fit(db, "aimnet2", output=tmp_path / "run", arguments=TINY["aimnet2"], **SHORT)
    assert np.isfinite(result.history[-1]["valid_loss"])
    assert result.metrics["valid"]["dipole"]["n"] < 3 * result.metrics["valid"]["energy"]["n"]


def test_a_result_shows_the_errors_of_every_part() -> None:
    errors = {"energy": {"mae": 0.0123, "rmse": 0.02, "r2": 0.99, "n": 5}}
    result = FitResult("runs/<x>", {"valid": errors, "test": errors}, {"test": {"pbe0": errors, "gfn2": {}}}, [])
    assert repr(result) == "<FitResult runs/<x>: energy 12.3 meV (MAE of the test part)>"
    table = result._repr_html_()
    captions = re.findall("<caption>(.*?)</caption>", table)
    assert captions == [
        f"FitResult runs/&lt;x&gt;: errors on the {part}" for part in ("valid part", "test part", "test part at pbe0")
    ]
    assert table.count("<td>12.3 meV</td>") == 3
    nothing = FitResult("runs/x", {}, {}, [])
    assert "nothing held out" in repr(nothing)
    assert "nothing held out" in nothing._repr_html_()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"epoch": 3}, ConfigError, "unknown key 'epoch' .did you mean 'epochs'"),
        ({"optimizer": "sgd"}, ConfigError, "optimizer='sgd'.*adam, adamw, rmsprop, muon"),
        ({"loss": {"weights": {"spin_charges": 1.0}}}, DatasetError, "'spin_charges': no training system"),
        ({"loss": {"weights": {"monopol": 1.0}}}, ConfigError, "did you mean 'monopole'"),
        ({"valid": 0}, DatasetError, "nothing to validate on"),
        ({"valid": 40}, DatasetError, "40"),
        ({"arguments": {"hidden": "big"}}, ConfigError, "hidden"),
        ({"arguments": {"cutoff": -1.0}}, ConfigError, "cutoff=-1.0"),
        ({"preset": "huge"}, ConfigError, "preset='huge'"),
        ({"init": "no-such-model"}, Exception, "no-such-model"),
        ({"fidelities": {"pbe0": {}}}, ConfigError, "'pbe0'.*is not in the data"),
        ({"batch_size": 0}, ConfigError, "batch_size=0"),
        ({"ema": 1.0}, ConfigError, "ema=1.0"),
    ],
)
def test_wrong_options_are_refused_before_any_work(
    labelled_db: Path, tmp_path: Path, options: dict, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        fit(labelled_db, "aimnet2", output=tmp_path / "run", **{**SHORT, **options})
    assert not (tmp_path / "run" / "config.json").exists()


def test_an_unknown_model_lists_the_known_ones(labelled_db: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'physnet'.*known: aimnet2, .*physnet-dcm, noneq-dcm"):
        fit(labelled_db, "physnet", output=tmp_path / "run")


def test_labels_that_ase_dropped_because_atoms_moved_are_counted(tmp_path: Path, caplog: Any) -> None:
    """ASE writes no results of a calculator whose structure is another one by now."""
    with connect(tmp_path / "moved.db") as db:
        for k in range(12):
            atoms = rattled("H2O", seed=k)
            atoms.calc = SinglePointCalculator(atoms, energy=-2000.0 - 0.01 * k, forces=np.full((3, 3), 0.1))
            if k < 3:
                atoms.positions += [[0.1, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
            db.write(atoms)
    fit(tmp_path / "moved.db", "aimnet2", output=tmp_path / "run", arguments=TINY["aimnet2"], **SHORT)
    assert re.search(r"\d of \d+ training systems have energy; the others are masked", caplog.text)
    with pytest.raises(DatasetError, match=r"9 of 12 structures have energy \(missing: moved.db row 1"):
        open_dataset(tmp_path / "moved.db", require=("energy",))


def test_energies_that_look_like_hartree_ask_for_the_unit(labelled_db: Path, tmp_path: Path) -> None:
    def shrink(k: int, results: dict, keys: dict) -> None:
        results["energy"] /= 27.211386

    db = altered(labelled_db, tmp_path / "hartree.db", shrink)
    with pytest.raises(UnitMismatchError, match="Declare the units"):
        fit(db, "aimnet2", output=tmp_path / "run", **SHORT)


def test_elements_of_the_validation_part_must_be_trained_on(labelled_db: Path, tmp_path: Path) -> None:
    def keep(part: set[int]):
        def change(k: int, results: dict, keys: dict) -> None:
            keys["part"] = "valid" if k % 6 in part else "train"

        return change

    db = altered(labelled_db, tmp_path / "split.db", keep({2}))  # ammonia: the only nitrogen
    with pytest.raises(DatasetError, match=r"validation part has N \(Z=7\), which"):
        fit(db, "aimnet2", output=tmp_path / "run", split_key="part", **SHORT)


def test_high_spins_are_refused_by_models_that_do_not_see_them(labelled_db: Path, tmp_path: Path) -> None:
    def triplet(k: int, results: dict, keys: dict) -> None:
        keys["multiplicity"] = 3 if k == 4 else 1

    db = altered(labelled_db, tmp_path / "spins.db", triplet)
    with pytest.raises(
        DatasetError, match=r"1 of \d+ systems of the .* part .*spins.db row 5: mul.* 3.*charge_channels"
    ):
        fit(db, "aimnet2", output=tmp_path / "run", arguments=TINY["aimnet2"], **SHORT)
    open_shell = {**TINY["aimnet2"], "charge_channels": 2}
    assert fit(db, "aimnet2", output=tmp_path / "open", arguments=open_shell, **SHORT).metrics["valid"]


def test_odd_electrons_are_named_for_models_that_do_not_see_them(
    labelled_db: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def ionized(k: int, results: dict, keys: dict) -> None:
        keys.update(total_charge=1, multiplicity=2)
        del results["charges"]

    db = altered(labelled_db, tmp_path / "ions.db", ionized)
    with caplog.at_level("WARNING"):
        fit(db, "aimnet2", output=tmp_path / "run", arguments=TINY["aimnet2"], **SHORT)
    assert re.search(r"(\d+) of \1 systems of the training part have an odd number of electrons", caplog.text)


def test_several_levels_of_theory_are_refused_by_models_of_one(labelled_db: Path, tmp_path: Path) -> None:
    """One set of reference energies and heads would average them without a word."""
    copy = altered(labelled_db, tmp_path / "copy.db", lambda k, results, keys: None)
    with pytest.raises(ConfigError, match="2 fidelities; physnet-dcm learns one level.*or train aimnet2"):
        fit({"low": labelled_db, "high": copy}, "physnet-dcm", output=tmp_path / "run", **SHORT)


def test_weights_of_another_kind_are_refused(labelled_db: Path, tmp_path: Path) -> None:
    from molcalc.io import checkpoint

    checkpoint.save(tmp_path / "start", tiny_checkpoint())
    with pytest.raises(CheckpointMismatchError, match="holds a 'aimnet2' model; model='physnet-dcm'"):
        fit(labelled_db, "physnet-dcm", output=tmp_path / "run", init=tmp_path / "start", **SHORT)


def test_a_loss_that_is_not_finite_names_the_rows_and_keeps_the_last_state(
    labelled_db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from molcalc.train.loop import losses

    original, calls = losses.Loss.__call__, []

    def poisoned(self, results, batch, counts):
        loss, parts = original(self, results, batch, counts)
        calls.append(loss.requires_grad)
        return (loss * torch.nan if sum(calls) == 5 and loss.requires_grad else loss), parts

    monkeypatch.setattr(losses.Loss, "__call__", poisoned)
    with pytest.raises(NonFiniteResultError, match=r"step 4 .*labelled.db row \d+"):
        fit(labelled_db, "aimnet2", output=tmp_path / "run", arguments=TINY["aimnet2"], **SHORT)
    model, state = RunFolder(tmp_path / "run").load_last()
    assert state["progress"]["step"] == 4
    assert all(bool(torch.isfinite(value).all()) for value in model.weights.values())


def test_a_full_disk_keeps_the_last_good_state(labelled_db: Path, tmp_path: Path) -> None:
    """No file may grow beyond 60 kB; the first state fits, the one with moments of the optimizer does not."""

    def fill() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        original, saved = RunFolder.save_last, []

        def save_last(self: RunFolder, *state: Any) -> None:
            if saved:
                resource.setrlimit(resource.RLIMIT_FSIZE, (20000, resource.RLIM_INFINITY))
            saved.append(1)
            original(self, *state)

        RunFolder.save_last = save_last  # type: ignore[method-assign]
        try:
            fit(labelled_db, "aimnet2", output=tmp_path / "run", arguments=TINY["aimnet2"], **SHORT)
        except ResourceError as error:
            print(error)
            sys.exit(7)

    run = Fork(fill)
    assert run.wait() == 7, run.err
    assert "cannot write" in run.out
    _, state = RunFolder(tmp_path / "run").load_last()
    assert state["progress"]["step"] == 0
    assert not list((tmp_path / "run" / "last").glob(".*.tmp*"))


def test_an_output_that_cannot_be_written_is_refused_before_any_work(labelled_db: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="cannot write"):
        fit(labelled_db, "aimnet2", output=tmp_path / "file" / "run", **SHORT)


def _numpy_state() -> np.ndarray:
    return np.random.get_state()[1].copy()  # noqa: NPY002


def test_settings_around_training_change_nothing(labelled_db: Path, tmp_path: Path) -> None:
    """Nor do they change what :func:`molcalc.train.evaluate` finds."""
    plain = fit(labelled_db, "aimnet2", output=tmp_path / "plain", arguments=TINY["aimnet2"], **SHORT)
    torch.set_default_dtype(torch.float64)
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16), torch.inference_mode(), torch.device("meta"):
            inside = fit(labelled_db, "aimnet2", output=tmp_path / "inside", arguments=TINY["aimnet2"], **SHORT)
            found = evaluate(labelled_db, tmp_path / "plain")
    finally:
        torch.set_default_dtype(torch.float32)
    assert [row["train_loss"] for row in inside.history] == [row["train_loss"] for row in plain.history]
    assert found == evaluate(labelled_db, tmp_path / "plain")


def test_settings_of_the_process_are_left_alone(labelled_db: Path, tmp_path: Path) -> None:
    """Generators, number of threads, default dtype, and signal handlers."""
    before = torch.get_rng_state(), _numpy_state(), torch.get_num_threads()
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    fit(labelled_db, "aimnet2", output=tmp_path / "run", arguments=TINY["aimnet2"], threads=1, **SHORT)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(_numpy_state(), before[1])
    assert torch.get_num_threads() == before[2]
    assert torch.get_default_dtype() == torch.float32
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_memory_stays_flat_over_two_thousand_steps(labelled_db: Path, tmp_path: Path) -> None:
    import psutil

    from molcalc.train.report import recording

    sizes, original = [], recording.Console._update

    def update(self, trainer) -> None:
        original(self, trainer)
        sizes.append(psutil.Process().memory_info().rss)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recording.Console, "_update", update)
        fit(labelled_db, "aimnet2", output=tmp_path / "run", arguments=TINY["aimnet2"],
            **{**SHORT, "epochs": 525, "validate_every": 100})  # fmt: skip
    assert len(sizes) >= 2000
    slope = np.polyfit(np.arange(500, len(sizes)), sizes[500:], 1)[0]
    print(f"{slope:.0f} bytes per step, {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB at most")
    assert slope * len(sizes) < 8 * 2**20
