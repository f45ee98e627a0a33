"""Calculators of molcalc as ASE sees them: cache, charge and spin, copies, threads, state of the process."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import all_properties
from ase.calculators.mixing import SumCalculator
from ase.db import connect
from ase.io.jsonio import encode
from ase.mep import NEB
from ase.optimize import BFGS

from molcalc import D3, D4, AIMNet2, NonEquivariantDCM, PhysNetDCM
from molcalc.errors import ConfigError
from molcalc.io.checkpoint import Checkpoint
from molcalc.testing import check_calculator
from tests.helpers.calculators import periodic_calculator, tiny_calculator
from tests.helpers.checks import state_of_process
from tests.helpers.networks import tiny_checkpoint
from tests.helpers.structures import crystal, organic


def water(charge: int | None = None) -> Atoms:
    atoms = molecule("H2O")
    if charge is not None:
        atoms.info["charge"] = charge
    return atoms


def counted(calc):  # type: ignore[no-untyped-def]
    """Calculator that counts its passes."""
    passes = []
    original = calc.calculate

    def calculate(*args: object, **kwargs: object) -> None:
        passes.append(1)
        original(*args, **kwargs)

    calc.calculate = calculate
    return calc, passes


@pytest.mark.parametrize("calculator", [AIMNet2, PhysNetDCM, NonEquivariantDCM, D3, D4])
def test_help_shows_no_arguments_that_only_ase_has(calculator: type) -> None:
    assert "restart" not in str(inspect.getdoc(calculator.__init__))


def test_one_pass_fills_everything(open_shell: Checkpoint) -> None:
    calc, passes = counted(periodic_calculator(open_shell))
    atoms = crystal()
    atoms.calc = calc
    for name in calc.implemented_properties:
        calc.get_property(name, atoms)
    assert len(passes) == 1
    assert set(calc.results) == set(calc.implemented_properties) <= set(all_properties)
    assert isinstance(atoms.get_potential_energy(), float)
    assert isinstance(atoms.get_potential_energy(force_consistent=True), float)
    arrays = {k: v for k, v in calc.results.items() if isinstance(v, np.ndarray)}
    assert all(v.dtype == np.float64 for v in arrays.values())
    assert {k: v.shape for k, v in arrays.items()} == {
        "energies": (7,), "forces": (7, 3), "stress": (6,), "charges": (7,), "dipole": (3,), "magmoms": (7,),
    }  # fmt: skip
    assert calc.results["energies"].sum() == pytest.approx(calc.results["energy"], abs=1e-9)


def test_ensemble_gives_means_and_standard_deviations() -> None:
    checkpoint = tiny_checkpoint(n_members=3)
    calc = tiny_calculator(checkpoint)
    calc.calculate(organic())
    members = [tiny_calculator(checkpoint, member=k) for k in range(3)]
    for member in members:
        member.calculate(organic())
    for name in ("energy", "forces", "charges"):
        values = np.array([member.results[name] for member in members])
        assert np.allclose(calc.results[name], values.mean(axis=0), rtol=1e-12, atol=1e-11)
        assert np.allclose(calc.extras[f"{name}_std"], values.std(axis=0, ddof=1), rtol=1e-6, atol=1e-11)
    assert isinstance(calc.extras["energy_std"], float)
    assert not members[0].extras


def test_charge_in_info_is_noticed_without_moving_atoms(closed_shell: Checkpoint) -> None:
    atoms = organic()
    atoms.calc = tiny_calculator(closed_shell)
    neutral = atoms.get_potential_energy()
    atoms.info["charge"] = 2
    charged = atoms.get_potential_energy()
    del atoms.info["charge"]
    assert atoms.get_potential_energy() == neutral
    assert abs(charged - neutral) > 1e-3


def test_charge_does_not_leak_to_the_next_molecule(closed_shell: Checkpoint) -> None:
    calc = tiny_calculator(closed_shell)
    expected = tiny_calculator(closed_shell).get_potential_energy(water())
    calc.get_potential_energy(water(charge=-2))
    assert calc.get_potential_energy(water()) == expected


@pytest.mark.parametrize("how", ["attribute", "set"])
def test_changed_charge_of_the_calculator_discards_results(closed_shell: Checkpoint, how: str) -> None:
    atoms = organic()
    calc = atoms.calc = tiny_calculator(closed_shell)
    before = atoms.get_potential_energy()
    if how == "attribute":
        calc.charge = 2
    else:
        calc.set(charge=2)
    assert calc.results == {}
    after = atoms.get_potential_energy()
    assert after == tiny_calculator(closed_shell, charge=2).get_potential_energy(organic())
    assert abs(after - before) > 1e-3


def test_multiplicity_of_the_calculator_is_used(open_shell: Checkpoint) -> None:
    calc = tiny_calculator(open_shell)
    singlet = calc.get_potential_energy(organic())
    calc.multiplicity = 3
    assert abs(calc.get_potential_energy(organic()) - singlet) > 1e-3
    assert calc.get_magnetic_moments(organic()).sum() == pytest.approx(2.0, abs=1e-9)


def test_misspelt_option_is_refused(closed_shell: Checkpoint) -> None:
    with pytest.raises(ConfigError, match="'chrage'"):
        tiny_calculator(closed_shell).set(chrage=1)


def test_results_belong_to_the_caller(closed_shell: Checkpoint) -> None:
    atoms = organic()
    atoms.calc = tiny_calculator(closed_shell)
    forces = atoms.get_forces()
    kept = forces.copy()
    forces[:] = 0.0
    assert np.array_equal(atoms.get_forces(), kept)
    atoms.rattle(0.1, seed=1)
    atoms.get_forces()
    assert not forces.any()


def test_failed_call_leaves_nothing_behind(closed_shell: Checkpoint) -> None:
    calc = tiny_calculator(closed_shell)
    good, bad = organic(), organic()
    energy = calc.get_potential_energy(good)
    bad.positions[0] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        calc.get_potential_energy(bad)
    assert calc.results == {}
    assert calc.get_potential_energy(good) == energy


@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
def test_copies_compute_the_same_and_share_nothing(open_shell: Checkpoint, how: str) -> None:
    calc = tiny_calculator(open_shell)
    energy = calc.get_potential_energy(organic())
    other = copy.deepcopy(calc) if how == "deepcopy" else pickle.loads(pickle.dumps(calc))  # noqa: S301
    assert other.get_potential_energy(organic()) == energy
    other.charge = 2
    assert calc.get_potential_energy(organic()) == energy


def test_database_row_says_what_made_it(closed_shell: Checkpoint, tmp_path: Path) -> None:
    atoms = organic()
    atoms.calc = tiny_calculator(closed_shell)
    forces = atoms.get_forces()
    with connect(tmp_path / "a.db") as db:
        db.write(atoms, total_charge=0)
    row = connect(tmp_path / "a.db").get(1)
    assert np.array_equal(row.forces, forces)
    assert row.energy == atoms.get_potential_energy()
    assert row.calculator == "aimnet2"
    parameters = row.calculator_parameters
    assert parameters["model"] == "pbe0"
    assert parameters["model_hash"] == closed_shell.hash
    assert parameters["dispersion"] == "d3bj:pbe0"
    json.loads(encode(atoms.calc.todict()))
    assert all(isinstance(v, (str, int, float, bool)) for v in atoms.calc.todict().values())


def test_model_directory_leaves_no_path_in_results(closed_shell: Checkpoint, tmp_path: Path) -> None:
    from molcalc.calculators import AIMNet2
    from molcalc.io import checkpoint

    checkpoint.save(tmp_path / "my_model", closed_shell)
    calc = AIMNet2(tmp_path / "my_model")
    assert calc.todict()["model"] == "my_model"
    assert str(tmp_path) not in encode(calc.todict())


def test_two_threads_never_get_a_wrong_number(closed_shell: Checkpoint) -> None:
    calc = tiny_calculator(closed_shell)
    images = [organic(1), molecule("NH3")]
    expected = [calc.get_potential_energy(atoms) for atoms in images]
    wrong = []

    def work(k: int) -> None:
        for _ in range(100):
            if calc.get_potential_energy(images[k]) != expected[k]:
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_global_state_is_left_alone(closed_shell: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = state_of_process()
    calc = tiny_calculator(closed_shell)
    calc.get_potential_energy(organic())
    assert state_of_process() == before
    with torch.no_grad():
        assert np.abs(calc.get_forces(organic(4))).max() > 0.1
    with pytest.raises(ValueError, match="no atoms"):
        calc.get_potential_energy(Atoms())
    assert state_of_process() == before
    assert not list(tmp_path.iterdir())


def test_path_with_a_shared_calculator(closed_shell: Checkpoint) -> None:
    calc = tiny_calculator(closed_shell)
    start = molecule("NH3")
    end = start.copy()
    end.positions[1:, 2] *= -1
    images = [start.copy() for _ in range(3)] + [end]
    for image in images:
        image.calc = calc
    neb = NEB(images, allow_shared_calculator=True, method="improvedtangent")
    neb.interpolate()
    neb.get_forces()
    separate = [tiny_calculator(closed_shell).get_potential_energy(image) for image in images]
    assert neb.energies[1:-1] == pytest.approx(separate[1:-1], abs=1e-9)


def test_sum_with_another_calculator(closed_shell: Checkpoint) -> None:
    atoms = crystal()
    first, second = periodic_calculator(closed_shell), periodic_calculator(closed_shell)
    atoms.calc = SumCalculator([first, second])
    assert np.allclose(atoms.get_stress(), 2 * first.get_stress(crystal()), atol=1e-12)


def test_evaluate_batches_large_lists(closed_shell: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    calc = tiny_calculator(closed_shell)
    images = [organic(k) for k in range(7)] + [molecule("H2O")]
    whole = calc.evaluate(images)
    monkeypatch.setattr("molcalc.predictor.BATCH_ATOMS", 20)
    parts = calc.evaluate(images)
    for atoms, a, b in zip(images, whole, parts):
        assert a["energy"] == pytest.approx(b["energy"], abs=1e-10)
        assert a["energy"] == pytest.approx(calc.get_potential_energy(atoms), abs=1e-10)
        assert a["forces"].shape == (len(atoms), 3)
    assert calc.evaluate([]) == []


def test_optimization_lowers_the_energy(closed_shell: Checkpoint) -> None:
    atoms = molecule("CH3OH")
    atoms.calc = tiny_calculator(closed_shell)
    before = atoms.get_potential_energy()
    BFGS(atoms, logfile=None).run(fmax=0.05, steps=100)
    assert atoms.get_potential_energy() < before


@pytest.mark.filterwarnings("ignore::molcalc.errors.OpenShellWarning")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_calculator_passes_the_public_kit(closed_shell: Checkpoint, dtype: str) -> None:
    report = check_calculator(lambda: tiny_calculator(closed_shell, dtype), quiet=True, memory_steps=200)
    assert report.ok, report.failures


def test_a_shallow_copy_has_a_charge_of_its_own(closed_shell: Checkpoint) -> None:
    first = tiny_calculator(closed_shell, charge=2)
    energy = first.get_potential_energy(organic())
    second = copy.copy(first)
    second.charge = -2
    assert first.charge == 2
    assert first.get_potential_energy(organic()) == energy
    assert second.get_potential_energy(organic()) != energy


def test_what_is_printed_tells_model_fidelity_and_charge_rule(closed_shell: Checkpoint) -> None:
    calc = tiny_calculator(closed_shell)
    shown = calc.todict()
    text = repr(calc)
    assert shown["model_hash"] in text
    assert f"fidelity {shown['fidelity']}" in text
    assert "charge of each structure" in text
    calc.charge = -1
    assert "charge -1" in repr(calc)
    table = calc._repr_html_()
    assert f"<td>{shown['dtype']}</td>" in table
    calc.predictor._provenance["model"] = "<script>"
    assert "<script>" not in calc._repr_html_()
