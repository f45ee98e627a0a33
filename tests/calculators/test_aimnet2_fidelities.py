"""Several levels of theory in one calculator: own energies, cache, dispersion, charge and state of the process."""

from __future__ import annotations

import copy
import json
import pickle
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import Calculator
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.calculators.mixing import SumCalculator
from ase.db import connect
from ase.mep import NEB

from molcalc.calculators import D3, AIMNet2
from molcalc.errors import CheckpointMismatchError, ConfigError, FidelityError
from molcalc.io.checkpoint import Checkpoint, load, save
from molcalc.models.fidelity_transfer import with_fidelities
from molcalc.registry import build_members, checkpoint_of
from molcalc.testing import check_calculator
from tests.helpers.calculators import tiny_calculator
from tests.helpers.checks import fourth_order, state_of_process
from tests.helpers.networks import FIDELITIES, tiny_checkpoint, tiny_multifidelity_checkpoint
from tests.helpers.structures import crystal, organic, rattled

NAMES = tuple(level.name for level in FIDELITIES)
COMPLETED_BY = {"pbe0": "d3bj:pbe0", "gfn2": "in labels", "b3lyp": "d3bj:b3lyp"}
DIFFERENT = 1e-3
"""eV; what levels of theory differ by at least."""


@pytest.fixture(scope="module")
def several() -> Checkpoint:
    return tiny_multifidelity_checkpoint()


def energies(checkpoint: Checkpoint, atoms: Atoms, **options: Any) -> dict[str, float]:
    """Energy at each fidelity, each from a calculator of its own."""
    return {
        name: tiny_calculator(checkpoint, fidelity=name, **options).get_potential_energy(atoms.copy()) for name in NAMES
    }


def test_every_fidelity_has_its_own_energy(several: Checkpoint, tmp_path: Path) -> None:
    found = energies(several, organic())
    values = sorted(found.values())
    assert min(b - a for a, b in zip(values, values[1:])) > DIFFERENT
    save(tmp_path / "model", several)
    assert energies(load(tmp_path / "model"), organic()) == found


def test_fidelities_are_known_by_name_not_by_place(several: Checkpoint) -> None:
    order = [2, 0, 1]
    network = with_fidelities(build_members(several)[0], order)  # type: ignore[arg-type]
    config = replace(several.config, fidelities=tuple(FIDELITIES[k] for k in order))
    permuted = energies(checkpoint_of(config, [network]), organic())
    assert permuted == pytest.approx(energies(several, organic()), abs=1e-10)


def test_a_model_of_several_fidelities_wants_a_name(several: Checkpoint) -> None:
    with pytest.raises(FidelityError, match="several fidelities: choose one with fidelity=NAME: 'pbe0', 'gfn2', 'b3l"):
        tiny_calculator(several)
    with pytest.raises(FidelityError, match=r"fidelity='pbe'.*did you mean 'pbe0'.*has 'pbe0', 'gfn2', 'b3lyp'"):
        tiny_calculator(several, fidelity="pbe")
    calc = tiny_calculator(several, fidelity="pbe0")
    for wrong in ("pbeo", None, 1):
        with pytest.raises(FidelityError, match="'pbe0', 'gfn2', 'b3lyp'"):
            calc.fidelity = wrong
    assert calc.fidelity == "pbe0"


def test_a_model_of_one_fidelity_accepts_its_name_only(closed_shell: Checkpoint) -> None:
    calc = tiny_calculator(closed_shell, fidelity="pbe0")
    assert calc.fidelity == tiny_calculator(closed_shell).fidelity == calc.todict()["fidelity"] == "pbe0"
    with pytest.raises(FidelityError, match="fidelity='gfn2': 'pbe0' has 'pbe0'"):
        tiny_calculator(closed_shell, fidelity="gfn2")
    assert D3("pbe0").fidelity is None
    with pytest.raises(FidelityError):
        D3("pbe0").set(fidelity="pbe0")


def test_a_model_that_names_more_fidelities_than_it_has_is_refused(several: Checkpoint) -> None:
    config = replace(several.config, fidelities=FIDELITIES[:2])
    with pytest.raises(CheckpointMismatchError, match="names 2 fidelities, but its network has 3"):
        tiny_calculator(Checkpoint(config, several.weights), fidelity="pbe0")
    single = tiny_checkpoint()
    with pytest.raises(CheckpointMismatchError, match="names 3 fidelities, but its network has 1"):
        tiny_calculator(Checkpoint(replace(single.config, fidelities=FIDELITIES), single.weights), fidelity="pbe0")


@pytest.mark.parametrize("how", ["attribute", "set"])
def test_a_changed_fidelity_discards_results(several: Checkpoint, how: str) -> None:
    expected = energies(several, organic())
    atoms = organic()
    calc = atoms.calc = tiny_calculator(several, fidelity="pbe0")
    for name in ("pbe0", "gfn2", "b3lyp", "gfn2", "pbe0"):
        if how == "attribute":
            calc.fidelity = name
        else:
            calc.set(fidelity=name)
        assert calc.results == {}
        assert atoms.get_potential_energy() == expected[name]
        assert calc.todict()["fidelity"] == calc.fidelity == name
    with pytest.raises(ConfigError, match="unknown option 'fidelty'.*did you mean 'fidelity'"):
        calc.set(fidelty="gfn2")


@pytest.mark.parametrize("how", ["sum", "deepcopy", "pickle"])
def test_no_copy_and_no_wrapper_serves_the_energy_of_another_fidelity(several: Checkpoint, how: str) -> None:
    """A SumCalculator keeps results of its own whatever changes below it, unless use_cache is off."""
    expected = energies(several, organic())
    calc = tiny_calculator(several, fidelity="pbe0")
    calc.get_potential_energy(organic())
    if how == "sum":
        atoms = organic()
        atoms.calc = SumCalculator([calc, tiny_calculator(several, fidelity="gfn2")])
        atoms.calc.use_cache = False
        assert atoms.get_potential_energy() == pytest.approx(expected["pbe0"] + expected["gfn2"], abs=1e-9)
        calc.fidelity = "b3lyp"
        assert atoms.get_potential_energy() == pytest.approx(expected["b3lyp"] + expected["gfn2"], abs=1e-9)
        return
    other = copy.deepcopy(calc) if how == "deepcopy" else pickle.loads(pickle.dumps(calc))  # noqa: S301
    assert other.fidelity == "pbe0"
    other.fidelity = "gfn2"
    assert other.get_potential_energy(organic()) == expected["gfn2"]
    assert calc.fidelity == "pbe0"
    assert calc.get_potential_energy(organic()) == expected["pbe0"]


@pytest.mark.parametrize("name", NAMES)
def test_each_fidelity_is_completed_by_its_own_dispersion(several: Checkpoint, name: str) -> None:
    bare = tiny_calculator(several, fidelity=name, dispersion=None)
    calc = tiny_calculator(several, fidelity=name)
    added = calc.get_potential_energy(organic()) - bare.get_potential_energy(organic())
    expected = 0.0 if name == "gfn2" else D3(name).get_potential_energy(organic())
    assert added == pytest.approx(expected, abs=1e-10)
    assert calc.todict()["dispersion"] == COMPLETED_BY[name]
    assert bare.todict()["dispersion"] == "none"


def test_an_explicit_dispersion_is_for_the_fidelity_it_was_given_with(several: Checkpoint) -> None:
    expected = energies(several, organic())
    calc = tiny_calculator(several, fidelity="pbe0", dispersion=None)
    calc.fidelity = "b3lyp"
    assert calc.get_potential_energy(organic()) == expected["b3lyp"]
    assert calc.todict()["dispersion"] == "d3bj:b3lyp"
    calc.fidelity = "pbe0"
    bare = expected["pbe0"] - D3("pbe0").get_potential_energy(organic())
    assert calc.get_potential_energy(organic()) == pytest.approx(bare, abs=1e-10)
    with pytest.raises(ConfigError, match="fidelity 'gfn2' already contain dispersion"):
        tiny_calculator(several, fidelity="gfn2", dispersion="d3bj:pbe0")


@pytest.mark.parametrize("name", NAMES)
def test_charge_and_spin_are_used_at_every_fidelity(name: str) -> None:
    checkpoint = tiny_multifidelity_checkpoint(charge_channels=2)
    water = molecule("H2O")
    found = {}
    for charge in (-1, 0, 1):
        with_info = water.copy()
        with_info.info["charge"] = charge
        calc = tiny_calculator(checkpoint, fidelity=name)
        late = tiny_calculator(checkpoint, fidelity="pbe0")
        late.get_potential_energy(water)
        late.set(charge=charge, fidelity=name)
        ways = [
            tiny_calculator(checkpoint, fidelity=name, charge=charge).get_potential_energy(water),
            calc.get_potential_energy(with_info),
            calc.evaluate([water, with_info])[1]["energy"],
            calc.compare_fidelities(with_info)[name]["energy"],
            late.get_potential_energy(water),
        ]
        assert ways == pytest.approx([ways[0]] * len(ways), abs=1e-10)
        found[charge] = ways[0]
    assert len({round(energy, 3) for energy in found.values()}) == 3
    calc = tiny_calculator(checkpoint, fidelity=name)
    singlet = calc.get_potential_energy(water)
    calc.multiplicity = 3
    assert abs(calc.get_potential_energy(water) - singlet) > DIFFERENT


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("changes", [{}, {"bases": (None, 0, 1)}, {"charge_heads": True}], ids=str)
def test_forces_equal_minus_energy_gradient_at_every_fidelity(name: str, changes: dict[str, Any]) -> None:
    atoms = rattled("CH3OH", seed=2)
    atoms.calc = tiny_calculator(tiny_multifidelity_checkpoint(**changes), fidelity=name)
    forces = atoms.get_forces()
    assert np.abs(forces).max() > 0.1
    numeric = fourth_order(lambda step: calculate_numerical_forces(atoms, eps=step, iatoms=[0, 2]))
    assert np.abs(forces[[0, 2]] - numeric).max() < 1e-6


def test_the_hessian_is_that_of_the_chosen_fidelity(several: Checkpoint) -> None:
    atoms, step = molecule("H2O"), 1e-4
    calc = tiny_calculator(several, fidelity="pbe0")
    matrices = []
    for name in ("gfn2", "b3lyp"):
        calc.fidelity = name
        forces = []
        for sign in (1, -1):
            image = atoms.copy()
            image.positions[1, 2] += sign * step
            forces.append(calc.get_forces(image))
        matrices.append(calc.get_hessian(atoms))
        assert matrices[-1][1, 2] == pytest.approx(-(forces[0] - forces[1]) / (2 * step), abs=1e-5)
    assert np.abs(matrices[0] - matrices[1]).max() > 0.1


def test_stress_of_every_fidelity_is_the_derivative_by_strain(several: Checkpoint) -> None:
    atoms = crystal()
    calc = atoms.calc = tiny_calculator(several, fidelity="pbe0", coulomb="dsf")
    compared = calc.compare_fidelities(atoms)
    for name in NAMES:
        calc.fidelity = name
        numeric = fourth_order(lambda step: calculate_numerical_stress(atoms, eps=step))
        assert atoms.get_stress() == pytest.approx(numeric, abs=1e-8)
        assert compared[name]["stress"] == pytest.approx(atoms.get_stress(), abs=1e-11)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_differences_between_fidelities_lose_nothing_to_single_precision(dtype: str) -> None:
    """Total energies of some −2e4 eV, in a molecule that is large enough for products in single precision."""
    atoms = organic()
    for k in range(1, 5):
        other = organic(k)
        other.translate([5.0 * k, 0.0, 0.0])
        atoms += other
    assert len(atoms) > 32
    network = with_fidelities(build_members(tiny_checkpoint())[0].double(), [0, 0, 0])  # type: ignore[arg-type]
    difference = 1.2345678901234e-5
    network.shifts.data[1, 1] += difference
    levels = tuple(replace(level, dispersion=None) for level in FIDELITIES)
    checkpoint = tiny_multifidelity_checkpoint(fidelities=levels)
    checkpoint = checkpoint_of(checkpoint.config, [network])
    found = tiny_calculator(checkpoint, dtype, fidelity="pbe0").compare_fidelities(atoms)
    hydrogens = int((atoms.numbers == 1).sum())
    assert abs(found["pbe0"]["energy"]) > 1e4
    assert found["gfn2"]["energy"] - found["pbe0"]["energy"] == pytest.approx(hydrogens * difference, abs=2e-10)
    assert found["b3lyp"]["energy"] == pytest.approx(found["pbe0"]["energy"], abs=2e-10)
    calc = tiny_calculator(tiny_multifidelity_checkpoint(), dtype, fidelity="gfn2")
    exact = energies(tiny_multifidelity_checkpoint(), atoms)
    gfn2 = calc.get_potential_energy(atoms)
    calc.fidelity = "pbe0"
    assert calc.get_potential_energy(atoms) - gfn2 == pytest.approx(exact["pbe0"] - exact["gfn2"], abs=1e-5)


def test_two_calculators_of_one_checkpoint_do_not_disturb_each_other(several: Checkpoint) -> None:
    molecules = [molecule("H2O"), organic()]
    expected = {name: [tiny_calculator(several, fidelity=name).get_potential_energy(m) for m in molecules]
                for name in NAMES}  # fmt: skip
    calcs = {name: tiny_calculator(several, fidelity=name) for name in ("pbe0", "gfn2")}
    for _ in range(2):
        for k, atoms in enumerate(molecules):
            for name, calc in calcs.items():
                assert calc.get_potential_energy(atoms) == pytest.approx(expected[name][k], abs=1e-10)
    calcs["pbe0"].fidelity = "b3lyp"
    assert calcs["gfn2"].get_potential_energy(molecules[0]) == pytest.approx(expected["gfn2"][0], abs=1e-10)
    assert calcs["pbe0"].get_potential_energy(molecules[0]) == pytest.approx(expected["b3lyp"][0], abs=1e-10)


def test_a_path_with_a_shared_calculator_follows_its_fidelity(several: Checkpoint) -> None:
    calc = tiny_calculator(several, fidelity="pbe0")
    start, end = molecule("NH3"), molecule("NH3")
    end.positions[1:, 2] *= -1
    images = [start.copy() for _ in range(3)] + [end]
    for image in images:
        image.calc = calc
    neb = NEB(images, allow_shared_calculator=True, method="improvedtangent")
    neb.interpolate()
    for name in ("pbe0", "gfn2"):
        calc.fidelity = name
        neb.get_forces()
        alone = [tiny_calculator(several, fidelity=name).get_potential_energy(image) for image in images]
        assert neb.energies[1:-1] == pytest.approx(alone[1:-1], abs=1e-9)


def test_two_threads_at_two_fidelities_never_mix(several: Checkpoint) -> None:
    calcs = {name: tiny_calculator(several, fidelity=name) for name in ("pbe0", "gfn2")}
    expected = {name: calc.get_potential_energy(molecule("NH3")) for name, calc in calcs.items()}
    wrong = []

    def work(name: str) -> None:
        for _ in range(30):
            calcs[name].reset()
            if calcs[name].get_potential_energy(molecule("NH3")) != expected[name]:
                wrong.append(name)

    threads = [threading.Thread(target=work, args=(name,)) for name in calcs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_global_state_is_left_alone_at_every_fidelity(several: Checkpoint) -> None:
    before = state_of_process()
    calc = tiny_calculator(several, "float32", fidelity="pbe0")
    calc.get_potential_energy(organic())
    calc.compare_fidelities(organic())
    calc.fidelity = "gfn2"
    calc.get_potential_energy(organic())
    with pytest.raises(FidelityError):
        calc.fidelity = "ccsd"
    assert state_of_process() == before


def test_a_database_row_says_which_fidelity_made_it(several: Checkpoint, tmp_path: Path) -> None:
    atoms = organic()
    calc = atoms.calc = tiny_calculator(several, fidelity="pbe0")
    with connect(tmp_path / "a.db") as db:
        for name in NAMES:
            calc.fidelity = name
            atoms.get_forces()
            db.write(atoms)
    rows = list(connect(tmp_path / "a.db").select())
    for name, row in zip(NAMES, rows):
        assert row.calculator_parameters["fidelity"] == name
        assert row.calculator_parameters["dispersion"] == COMPLETED_BY[name]
        assert row.calculator_parameters["model_hash"] == several.hash
    assert len({row.energy for row in rows}) == 3
    assert all(isinstance(value, (str, int, float, bool)) for value in calc.todict().values())
    json.dumps(calc.todict())


@pytest.mark.filterwarnings("ignore::molcalc.errors.OpenShellWarning")
@pytest.mark.parametrize(
    ("dtype", "name"), [pytest.param("float32", "gfn2", marks=pytest.mark.slow), ("float64", "b3lyp")]
)
def test_calculator_passes_the_public_kit_at_any_fidelity(several: Checkpoint, dtype: str, name: str) -> None:
    def switched() -> Calculator:
        calc = tiny_calculator(several, dtype, fidelity="pbe0", coulomb="dsf")
        calc.fidelity = name
        return calc

    report = check_calculator(switched, quiet=True, memory_steps=50)
    assert report.ok, report.failures


def test_a_run_folder_is_opened_at_a_fidelity(several: Checkpoint, tmp_path: Path) -> None:
    save(tmp_path / "run", several)
    calc = AIMNet2(tmp_path / "run", fidelity="gfn2", dtype="float64")
    assert calc.get_potential_energy(organic()) == energies(several, organic())["gfn2"]
    assert calc.todict()["model"] == "run"
