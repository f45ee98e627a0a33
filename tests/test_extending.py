"""The examples of docs/extending.md work, in the places of the package that the page names."""

from __future__ import annotations

import importlib
import math
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.calculators.fd import calculate_numerical_forces
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from ase.optimize import BFGS
from ase.units import _amu, _c, _e
from torch import nn

from molcalc import cli
from molcalc.assembly.terms import REPULSIONS
from molcalc.batch import AtomicBatch, collate
from molcalc.calculators.base import MolCalculator
from molcalc.errors import ConfigError, DatasetError, UnsafeCheckpointError
from molcalc.models.network import NoNetwork
from molcalc.potential import Potential
from molcalc.prediction.options import PredictorOptions
from molcalc.predictor import Predictor
from molcalc.properties import CYCLIC, from_voigt
from molcalc.registry import MODELS, build_members
from molcalc.testing import check_calculator, check_potential
from molcalc.train import create_optimizer, fit
from molcalc.train.data import open_dataset
from molcalc.train.data.convert import convert
from molcalc.train.data.formats import FORMATS
from molcalc.train.loop.losses import TERMS, LossConfig
from molcalc.train.loop.predictions import predict
from molcalc.train.optimize.optimizers import OPTIMIZERS
from molcalc.units import HARTREE
from tests.helpers.calculators import periodic_calculator
from tests.helpers.checks import assert_smooth_at
from tests.helpers.networks import dcm_batch, dcm_potential, tiny_checkpoint, tiny_dcm
from tests.helpers.structures import crystal, organic, random_rotation
from tests.helpers.training_runs import copied

REPOSITORY = Path(__file__).parents[1]
QUICK = {"valid": 0.1, "test": 0.1, "batch_size": 8, "batch_mode": "molecules", "progress": False, "plots": False}
TINY_DCM = {"n_features": 8, "n_radial": 8, "n_modules": 1, "head_features": 8, "n_dcm": 2}


def example(name: str) -> ModuleType:
    """A module of examples/extending, as if it were imported for the first time."""
    sys.modules.pop(f"examples.extending.{name}", None)
    return importlib.import_module(f"examples.extending.{name}")


def test_code_on_the_page_is_that_of_the_examples() -> None:
    page = (REPOSITORY / "docs" / "extending.md").read_text()
    examples = "".join(path.read_text() for path in sorted((REPOSITORY / "examples" / "extending").glob("*.py")))
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 8
    assert all(block in examples for block in blocks)


# -- a loss ------------------------------------------------------------------------------------------


@pytest.fixture
def quadrupole_loss(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setitem(TERMS, "quadrupole_tensor", TERMS["quadrupole"])  # is taken out again
    return example("quadrupole_tensor_loss")


@pytest.fixture(scope="module")
def quadrupoles() -> AtomicBatch:
    """Three orientations of one error: predictions, and labels that differ from them."""
    potential = dcm_potential(tiny_dcm())
    images = []
    for seed in range(3):
        atoms = organic()
        atoms.positions[:] = atoms.positions @ random_rotation(seed).T
        images.append(dcm_batch(atoms, potential))
    batch = collate(images)
    found = predict(potential, batch, ("quadrupole",))["quadrupole"]
    return replace(batch, labels={"quadrupole": 0.5 * found, "prediction": found})


def test_the_quadrupole_loss_does_not_depend_on_orientation_where_the_plain_one_does(
    quadrupole_loss: ModuleType, quadrupoles: AtomicBatch
) -> None:
    def alone(name: str) -> list[float]:
        """The term of each orientation, the labels of the others missing."""
        (term,) = LossConfig(weights={name: 1.0}).terms()
        values = []
        for k in range(quadrupoles.n_systems):
            label = torch.full_like(quadrupoles.labels["quadrupole"], torch.nan)
            label[k] = quadrupoles.labels["quadrupole"][k]
            batch = replace(quadrupoles, labels={"quadrupole": label})
            total = term.total({"quadrupole": quadrupoles.labels["prediction"]}, batch)
            values.append(float(total / term.count(batch)))
        return values

    error = from_voigt(0.5 * quadrupoles.labels["prediction"][0], CYCLIC)
    assert alone("quadrupole_tensor") == pytest.approx([float(error.square().mean())] * 3, rel=1e-9)
    assert np.ptp(alone("quadrupole")) > 0.01 * np.mean(alone("quadrupole"))


def test_a_fit_with_the_quadrupole_loss_lowers_it(quadrupole_loss: ModuleType, tmp_path: Path) -> None:
    potential = dcm_potential(tiny_dcm())
    with connect(tmp_path / "data.db") as db:
        for seed in range(16):
            atoms = molecule("H2O")
            atoms.rattle(0.1, seed=seed)
            atoms.positions[:] = atoms.positions @ random_rotation(seed).T
            found = predict(potential, dcm_batch(atoms, potential), ("quadrupole",))
            atoms.calc = SinglePointCalculator(atoms, energy=float(found["energy"]))
            db.write(atoms, total_charge=0, data={"quadrupole": found["quadrupole"][0].numpy()})
    weights = {"energy": 0.01, "forces": 0.0, "dipole": 0.0, "esp": 0.0, "quadrupole_tensor": 10.0}
    result = fit(
        tmp_path / "data.db", "physnet-dcm", output=tmp_path / "run", loss={"weights": weights}, epochs=10,
        learning_rate=0.01, arguments={**TINY_DCM, "head_radial": 8}, **QUICK,
    )  # fmt: skip
    errors = [row["train_quadrupole_tensor"] for row in result.history]
    assert 0.0 < errors[-1] < 0.5 * errors[0]


def test_the_quadrupole_loss_says_what_it_needs(
    quadrupole_loss: ModuleType, linear: ModuleType, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="quadrupole_tensor.*needs charges"):
        _fit_linear(tmp_path, loss={"weights": {"energy": 1.0, "quadrupole_tensor": 1.0}}, quadrupoles=True)


# -- an energy term ----------------------------------------------------------------------------------


@pytest.fixture
def morse() -> ModuleType:
    return example("morse_term")


def h2(length: float = 0.9) -> Atoms:
    """Oblique to all axes."""
    return Atoms("H2", [[0.1, 0.2, 0.3], np.array([0.1, 0.2, 0.3]) + length * np.array([0.48, -0.6, 0.64])])


def morse_calculator(morse: ModuleType, **options: float) -> MolCalculator:
    potential = Potential([NoNetwork((1,))], [morse.MorseTerm(**options)])
    return MolCalculator(Predictor(potential, model="morse", depends_on=()))


def test_h2_has_the_length_the_depth_and_the_frequency_of_the_handbook(morse: ModuleType) -> None:
    """Huber, Herzberg (1979): rₑ 0.74144 Å, ωₑ 4401.2 1/cm; the cutoff changes little there."""
    atoms = h2()
    atoms.calc = morse_calculator(morse, cutoff=20.0)
    BFGS(atoms, logfile=None).run(fmax=1e-5)
    assert atoms.get_distance(0, 1) == pytest.approx(0.7414, abs=1e-3)
    assert atoms.get_potential_energy() == pytest.approx(-4.748, abs=5e-3)
    bond = (atoms.positions[1] - atoms.positions[0]) / atoms.get_distance(0, 1)
    stiffness = bond @ atoms.calc.get_hessian(atoms)[1, :, 1, :] @ bond * _e * 1e20  # N/m
    reduced = atoms.get_masses()[0] / 2 * _amu
    assert math.sqrt(stiffness / reduced) / (2 * math.pi * _c * 100) == pytest.approx(4401, rel=0.01)


def test_forces_of_the_morse_energy_equal_finite_differences(morse: ModuleType) -> None:
    atoms = molecule("CH4")
    atoms.rattle(0.1, seed=1)
    potential = Potential([NoNetwork((1, 6))], [morse.MorseTerm((6, 1), 4.5, 1.8, 1.09, cutoff=2.5)])
    atoms.calc = MolCalculator(Predictor(potential, model="morse", depends_on=()))
    assert abs(atoms.get_forces()).max() > 0.5
    np.testing.assert_allclose(atoms.get_forces(), calculate_numerical_forces(atoms, eps=1e-4), atol=1e-6)


def test_the_morse_energy_ends_smoothly_at_its_cutoff(morse: ModuleType) -> None:
    calc = morse_calculator(morse, cutoff=3.0)
    assert calc.get_property("energy", h2(2.5)) < -1e-3
    assert calc.get_property("energy", h2(3.001)) == 0.0
    assert_smooth_at(morse.MorseTerm((1, 8), cutoff=3.0), 3.0, closest=0.7)


def test_the_morse_term_keeps_the_contract_alone_and_beside_a_network(morse: ModuleType) -> None:
    for members in ([NoNetwork((1,))], build_members(tiny_checkpoint())):
        report = check_potential(Potential(members, [morse.MorseTerm(cutoff=4.0)]), quiet=True)
        assert report.ok, str(report)


def test_the_morse_term_is_part_of_the_energy_of_a_crystal(morse: ModuleType) -> None:
    atoms = crystal()
    without, added = (periodic_calculator(tiny_checkpoint(), terms) for terms in ((), (morse.MorseTerm(),)))
    energies = [calc.get_property("energy", atoms) for calc in (without, added)]
    assert energies[1] < energies[0] - 0.1
    assert abs(added.get_property("stress", atoms) - without.get_property("stress", atoms)).max() > 1e-4


def test_a_model_is_trained_with_the_morse_energy_and_computes_with_it(
    morse: ModuleType, linear: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(REPULSIONS, "morse", morse.MorseTerm)
    reference = morse_calculator(morse, cutoff=6.0)
    with connect(tmp_path / "h2.db") as db:
        for length in np.linspace(0.6, 1.5, 20):
            atoms = h2(length)
            results = {name: reference.get_property(name, atoms) for name in ("energy", "forces")}
            atoms.calc = SinglePointCalculator(atoms, **results)
            db.write(atoms, total_charge=0)
    result = fit(tmp_path / "h2.db", "linear-pairs", output=tmp_path / "run", repulsion="morse", epochs=1, **QUICK)
    calc = result.calculator(dtype="float64")
    assert [type(term) for term in calc.potential.energy_terms] == [morse.MorseTerm]
    assert result.metrics["test"]["forces"]["mae"] < 0.2  # what a network of random weights adds
    change, expected = (
        each.get_property("energy", h2(1.2)) - each.get_property("energy", h2(0.75)) for each in (calc, reference)
    )
    assert change == pytest.approx(expected, abs=0.1)


# -- a network ---------------------------------------------------------------------------------------


@pytest.fixture
def linear(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = example("linear_network")
    monkeypatch.setitem(MODELS, "linear-pairs", module.ENTRY)
    return module


def _fit_linear(folder: Path, quadrupoles: bool = False, **options):
    data = copied("small_molecules.db", folder)
    if quadrupoles:
        with connect(data) as old, connect(folder / "with_quadrupoles.db") as new:
            for row in old.select():
                new.write(row.toatoms(), total_charge=row.get("total_charge", 0), data={"quadrupole": np.zeros(6)})
        data = folder / "with_quadrupoles.db"
    return fit(data, options.pop("model", "linear-pairs"), output=folder / "run", **{**QUICK, "epochs": 2, **options})


def test_the_linear_network_keeps_the_contract(linear: ModuleType) -> None:
    report = check_potential("linear-pairs", quiet=True)
    assert report.ok, str(report)


def test_the_linear_network_is_linear_in_its_weights(linear: ModuleType) -> None:
    network = linear.LinearPairs(linear.LinearPairsConfig(elements=(1, 6, 7, 8))).initialize().double()
    calc = MolCalculator(Predictor(Potential([network]), options=PredictorOptions(dtype="float64"), model="linear"))
    energies = []
    for factor in (1.0, 3.0, -2.0):
        network.weights.data *= factor
        energies.append(calc.predictor.evaluate([organic()], ("energy",))[0]["energy"])
    assert energies[1:] == pytest.approx([3 * energies[0], -6 * energies[0]], rel=1e-9)


def test_the_linear_network_is_trained_saved_loaded_and_used(linear: ModuleType, tmp_path: Path) -> None:
    result = _fit_linear(tmp_path)
    losses = [row["train_loss"] for row in result.history]
    assert len(losses) == 2
    assert losses[1] < losses[0]
    calc = linear.LinearPairsCalculator(tmp_path / "run", dtype="float64")
    assert isinstance(result.calculator(), linear.LinearPairsCalculator)
    report = check_calculator(lambda: linear.LinearPairsCalculator(tmp_path / "run", dtype="float64"), quiet=True)
    assert report.ok, str(report)
    assert "stress" in calc.implemented_properties


def test_a_model_of_an_unknown_kind_is_refused(
    linear: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The table is closed: without the entry, its files are only files."""
    _fit_linear(tmp_path, epochs=1)
    monkeypatch.delitem(MODELS, "linear-pairs")
    with pytest.raises(UnsafeCheckpointError, match="unknown architecture 'linear-pairs'"):
        linear.LinearPairsCalculator(tmp_path / "run")


# -- a data format -----------------------------------------------------------------------------------


@pytest.fixture
def json_lines(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = example("json_lines")
    monkeypatch.setitem(sys.modules, "molcalc.train.data.formats.json_lines", module)
    monkeypatch.setitem(FORMATS, ".jsonl", module.ENTRY)
    return module


@pytest.mark.parametrize("name", ["small_molecules.db", "co2_esp.db"])
def test_data_that_go_through_lines_of_json_are_the_same(json_lines: ModuleType, tmp_path: Path, name: str) -> None:
    """Ions and radicals; charges, dipoles and potentials."""
    before = open_dataset(copied(name, tmp_path))
    assert convert(tmp_path / name, tmp_path / "lines.jsonl") == len(before)
    after = open_dataset(tmp_path / "lines.jsonl")
    assert before.counts() == after.counts()
    for label in before.labels:
        np.testing.assert_array_equal(before.labels[label], after.labels[label])
    for what in ("numbers", "positions", "total_charge", "multiplicity", "pbc"):
        np.testing.assert_array_equal(getattr(before, what), getattr(after, what))


def test_a_crystal_with_its_stress_goes_through_lines_of_json(json_lines: ModuleType, tmp_path: Path) -> None:
    atoms = crystal()
    stress = np.arange(6.0) / 100
    atoms.calc = SinglePointCalculator(atoms, energy=-3.0, stress=stress)
    with connect(tmp_path / "crystal.db") as db:
        db.write(atoms, total_charge=0, source="test")
    convert(tmp_path / "crystal.db", tmp_path / "crystal.jsonl")
    dataset = open_dataset(tmp_path / "crystal.jsonl")
    np.testing.assert_array_equal(dataset.cell[0], atoms.cell.array)
    assert dataset.labels["stress"][0, 1, 2] == stress[3]
    assert dataset.key_texts("source") is not None


def test_lines_that_cannot_be_read_are_named(json_lines: ModuleType, tmp_path: Path) -> None:
    good = '{"numbers": [1, 1], "positions": [[0, 0, 0], [0, 0, 0.74]], "energy": -31.7, "total_charge": 0}\n'
    for wrong, words in (
        ("[1, 2]", "line 2: .*expected an object"),
        ('{"numbers": [1], "pos', "line 2"),
        (good.replace("0.74]", '0.74], [0, 0, "x"]'), "line 2"),
        (good.replace("-31.7", "[-31.7]"), "line 2: energy is not a number"),
    ):
        (tmp_path / "wrong.jsonl").write_text(good + wrong)
        with pytest.raises(DatasetError, match=words):
            open_dataset(tmp_path / "wrong.jsonl")


def test_units_of_lines_of_json_can_be_declared(json_lines: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "h2.jsonl").write_text('{"numbers": [1, 1], "positions": [[0, 0, 0], [0, 0, 0.74]], "energy": -1.0}\n')
    dataset = open_dataset(tmp_path / "h2.jsonl", units={"energy": "Hartree"})
    assert dataset.labels["energy"][0] == -HARTREE


# -- an optimizer ------------------------------------------------------------------------------------


@pytest.fixture
def lion(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = example("lion")
    monkeypatch.setitem(OPTIMIZERS, "lion", module.ENTRY)
    return module


def test_lion_moves_weights_by_the_sign_of_its_momentum(lion: ModuleType) -> None:
    """Two steps by hand, of the equations in the paper."""
    weight = nn.Parameter(torch.tensor([[1.0, -2.0]], dtype=torch.float64))
    optimizer = create_optimizer("lion", learning_rate=0.1, weight_decay=0.5)([("weight", weight)])
    weight.grad = torch.tensor([[3.0, -0.2]], dtype=torch.float64)
    optimizer.step()  # m = 0.01 g, u = sign(g)
    torch.testing.assert_close(weight.detach(), torch.tensor([[0.95 - 0.1, -1.9 + 0.1]], dtype=torch.float64))
    weight.grad = torch.tensor([[-0.2, -0.2]], dtype=torch.float64)
    optimizer.step()  # u = sign(0.9 m + 0.1 g): 0.027 − 0.02 > 0 still goes the old way
    expected = torch.tensor([[0.85 * 0.95 - 0.1, -1.8 * 0.95 + 0.1]], dtype=torch.float64)
    torch.testing.assert_close(weight.detach(), expected)
    optimizer.step()  # m = 0.99 · 0.03 − 0.01 · 0.2, and 0.9 m − 0.02 > 0 still
    torch.testing.assert_close(weight.detach(), expected * 0.95 + torch.tensor([[-0.1, 0.1]], dtype=torch.float64))


def test_lion_trains_a_network(lion: ModuleType, linear: ModuleType, tmp_path: Path) -> None:
    result = _fit_linear(tmp_path, optimizer="lion", learning_rate=0.01, epochs=4)
    losses = [row["train_loss"] for row in result.history]
    assert losses[-1] < 0.8 * losses[0]


def test_options_that_lion_does_not_have_are_errors(lion: ModuleType) -> None:
    with pytest.raises(ConfigError, match=r"'lion' does not accept .*betas=\(2.0, 0.5\)"):
        create_optimizer("lion", 1e-3, betas=(2.0, 0.5))


# -- a command ---------------------------------------------------------------------------------------


@pytest.fixture
def formula(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "molcalc.cli.formula", example("formula"))
    monkeypatch.setattr(cli, "COMMANDS", (*cli.COMMANDS, "formula"))


def test_the_command_prints_formulas_electrons_and_masses(
    formula: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    ion = molecule("OH")
    ion.info["charge"] = -1
    for name, atoms in (("ion.xyz", ion), ("ethanol.xyz", molecule("CH3CH2OH"))):
        atoms.write(name, format="extxyz")
    assert cli.main(["formula", "ethanol.xyz", "ion.xyz"]) == 0
    header, *rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert header == ["structure", "formula", "atoms", "electrons", "mass/u"]
    assert [row[-4:] for row in rows] == [["C2H6O", "9", "26", "46.069"], ["HO", "2", "10", "17.007"]]


def test_the_command_has_help_and_clear_errors(
    formula: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["formula", "--help"]) == 0
    assert "molcalc formula water.xyz" in capsys.readouterr().out
    assert cli.main(["formula", str(tmp_path / "nothing.xyz")]) == 2
    assert "no file" in capsys.readouterr().err
