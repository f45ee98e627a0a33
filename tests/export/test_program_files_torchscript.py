"""The exported program against the calculator, and by itself."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from torch import Tensor

from molcalc.calculators import AIMNet2
from molcalc.dispersion.parameters import D3Parameters
from molcalc.errors import ConfigError
from molcalc.export import export
from molcalc.fidelity import Fidelity
from molcalc.io.checkpoint import Checkpoint
from tests.helpers.exported_inputs import inputs, padded
from tests.helpers.networks import FIDELITY_KINDS, tiny_checkpoint, uneven_checkpoint
from tests.helpers.structures import charged_molecules, organic

ENERGY, FORCE = 1e-5, 1e-5
"""eV and eV/Å: what is asked of an exported file."""
SAME = 1e-9
"""What holds in double precision."""

pytestmark = [
    pytest.mark.filterwarnings("ignore::molcalc.errors.OpenShellWarning"),
    pytest.mark.usefixtures("_as_written"),
]


@pytest.fixture
def _as_written() -> Iterator[None]:
    """Run programs as they are: optimizing them for every new shape takes longer than these tests."""
    with torch.jit.optimized_execution(False):
        yield


@pytest.fixture(scope="module")
def simple(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Program of a closed-shell model."""
    return program(tiny_checkpoint(), tmp_path_factory.mktemp("simple") / "x.jpt")


def program(model: Any, path: Path, **options: Any) -> Any:
    export(model, path, **options)
    return torch.jit.load(path)


def differences(found: dict[str, Tensor], calc: AIMNet2, atoms: Atoms) -> dict[str, float]:
    """Largest differences between a program's results and a calculator's."""
    calc.calculate(atoms)
    theirs = {**calc.results, **calc.extras, "spin_charges": calc.results.get("magmoms")}
    result = {}
    for name, value in found.items():
        own = value[: len(atoms)] if value.ndim else value
        result[name] = float(np.abs(own.numpy() - theirs[name]).max())
    return result


MODELS: dict[str, tuple[Checkpoint, dict[str, Any]]] = {
    "closed shell": (tiny_checkpoint(1), {}),
    "open shell": (tiny_checkpoint(2), {}),
    "ensemble": (tiny_checkpoint(1, n_members=2), {}),
    "inexact charges": (tiny_checkpoint(1, exact_charges=False), {}),
    "several fidelities": (uneven_checkpoint(), {"fidelity": "pbe0"}),
    "corrections and charge heads": (uneven_checkpoint(2, **FIDELITY_KINDS["all"]), {"fidelity": "pbe0"}),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_program_equals_the_calculator_on_85_molecules(name: str, tmp_path: Path) -> None:
    """All padded in one batch, and every fourth by itself."""
    model, options = MODELS[name]
    calc = AIMNet2(model, dtype="float64", **options)
    run = program(model, tmp_path / "x.jpt", **options)
    images = charged_molecules(2 if "magmoms" in calc.implemented_properties else 1)
    assert len(images) == 85
    batch = run(padded(images))
    assert batch["energy"].dtype == batch["forces"].dtype == torch.float64
    assert batch.keys() >= {"energy", "forces", "charges"}
    for k, atoms in enumerate(images):
        row = {key: value[k] for key, value in batch.items()}
        for found in (row,) if k % 4 else (row, run(inputs(atoms))):
            assert found.keys() == batch.keys()
            worst = differences(found, calc, atoms)
            assert max(worst.values()) < SAME, (str(atoms.symbols), worst)
        assert not row["forces"][len(atoms) :].any()
        assert not row["charges"][len(atoms) :].any()


def without_coulomb(**changes: Any) -> Checkpoint:
    model = tiny_checkpoint()
    return replace(model, config=replace(model.config, coulomb=None, coulomb_range=None, **changes))


@pytest.mark.parametrize(
    ("model", "options"),
    [
        (tiny_checkpoint(), {"dispersion": None}),
        (tiny_checkpoint(), {"dispersion": "d3bj:b3lyp"}),
        (tiny_checkpoint(), {"dispersion": D3Parameters(s6=0.9, s8=0.5, a1=0.4, a2=5.0)}),
        (without_coulomb(), {}),
        (without_coulomb(repulsion="zbl"), {}),
        (without_coulomb(fidelities=(Fidelity(name="wb97m", dispersion_in_labels=True),)), {}),
        (tiny_checkpoint(n_members=2), {"member": 1}),
    ],
    ids=["no D3", "D3 of b3lyp", "own D3", "no Coulomb", "repulsion", "D3 in labels", "member"],
)
def test_every_term_and_option_is_that_of_the_calculator(
    model: Checkpoint, options: dict[str, Any], tmp_path: Path
) -> None:
    calc = AIMNet2(model, dtype="float64", min_distance=0.1, **options)
    run = program(model, tmp_path / "x.jpt", **options)
    far = Atoms("OCO", [(0, 0, 0), (0, 0.3, 31.0), (12.0, 21.5, 0)])  # near the cutoffs of D3
    close = Atoms("OH", [(0, 0, 0), (0.3, 0.1, 0.2)], info={"charge": -1})
    for atoms in (organic(), far, close):
        worst = differences(run(inputs(atoms)), calc, atoms)
        assert max(worst.values()) < SAME, worst


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.usefixtures("published")
def test_published_weights_keep_their_energies_and_forces(dtype: str, tmp_path: Path) -> None:
    """In single precision the noise of forces is 1.4e-5 eV/Å over 66 molecules; the calculator computes these in
    double."""
    calc = AIMNet2("wb97m-d3", dtype=dtype)
    run = program("wb97m-d3", tmp_path / "x.jpt", dtype=dtype)
    ion = molecule("CH3O", info={"charge": -1})
    for atoms in (molecule("C6H6"), molecule("SiH4"), molecule("CH3SH"), molecule("ClNO"), ion):
        worst = differences(run(inputs(atoms)), calc, atoms)
        assert worst["energy"] < (SAME if dtype == "float64" else ENERGY)
        assert worst["forces"] < (SAME if dtype == "float64" else 2 * FORCE)


def test_padding_changes_nothing(simple: Any) -> None:
    atoms = organic()
    single = simple(inputs(atoms))
    for extra in (0, 1, 30):
        batch = padded([atoms, molecule("H2")], extra)
        batch["coord"][batch["numbers"] == 0] = torch.nan
        row = {name: value[0] for name, value in simple(batch).items()}
        assert row["energy"].item() == pytest.approx(single["energy"].item(), abs=1e-11)
        assert torch.allclose(row["forces"][: len(atoms)], single["forces"], rtol=0, atol=1e-12)


def test_an_isolated_atom_has_no_forces_and_carries_the_charge(simple: Any) -> None:
    found = simple(inputs(Atoms("O", info={"charge": -2})))
    assert found["energy"].shape == ()
    assert torch.isfinite(found["energy"])
    assert found["forces"].tolist() == [[0.0, 0.0, 0.0]]
    assert found["charges"].tolist() == pytest.approx([-2.0])


def test_two_atoms_pull_each_other_as_the_energy_says(simple: Any) -> None:
    pair = {**inputs(Atoms("OH", [(0, 0, 0), (0, 0, 1.0)], info={"charge": -1}))}
    step = torch.zeros(2, 3, dtype=torch.float64)
    step[1, 2] = 1e-4
    up, down = (simple({**pair, "coord": pair["coord"] + sign * step})["energy"].item() for sign in (1, -1))
    forces = simple(pair)["forces"]
    assert forces[1, 2].item() == pytest.approx(-(up - down) / 2e-4, abs=1e-5)
    assert torch.allclose(forces.sum(dim=0), torch.zeros(3, dtype=torch.float64), atol=1e-10)


def test_inputs_may_be_in_single_precision_and_stay_as_they_are(simple: Any) -> None:
    atoms = organic()
    data = {**inputs(atoms), "coord": torch.tensor(atoms.positions, dtype=torch.float32)}
    kept = {name: value.clone() for name, value in data.items()}
    with torch.no_grad():
        found = simple(data)
    assert found["forces"].dtype == torch.float64
    assert not found["energy"].requires_grad
    assert all(torch.equal(data[name], value) for name, value in kept.items())
    assert not data["coord"].requires_grad
    assert torch.is_grad_enabled()


def test_energies_and_forces_stay_differentiable_where_positions_are(simple: Any) -> None:
    data = inputs(molecule("H2O"))
    coord = data["coord"].requires_grad_()
    found = simple(data)
    (gradient,) = torch.autograd.grad(found["energy"], coord, retain_graph=True)
    assert torch.allclose(-gradient, found["forces"], rtol=0, atol=1e-12)
    (row,) = torch.autograd.grad(found["forces"][0, 2], coord)
    step = torch.zeros_like(coord)
    step[0, 2] = 1e-4
    up, down = (simple({**data, "coord": (coord + sign * step).detach()})["forces"] for sign in (1, -1))
    assert torch.allclose(row, (up - down)[:, :] / 2e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"numbers": torch.tensor([8, 1, 5])}, "element Z=5 is not covered by this model .*H .Z=1., C .Z=6."),
        ({"numbers": torch.tensor([8, 1, 208])}, "element Z=208 is not covered"),
        ({"numbers": torch.tensor([8, 1, -1])}, "element Z=-1 is not covered"),
        ({"numbers": torch.tensor([8, 1])}, r"coord has shape \[3, 3\], numbers \[2\]; expected"),
        ({"numbers": torch.tensor([0, 0, 0])}, "a structure has no atoms"),
        ({"charge": torch.tensor([0.0, 1.0])}, "charge has 2 values for 1 structures"),
        ({"charge": torch.tensor(torch.nan)}, "coord or charge is not finite"),
        ({"coord": torch.full((3, 3), torch.nan)}, "coord or charge is not finite"),
        ({"coord": torch.zeros(3, 3)}, "two atoms are at the same place"),
        ({"mult": torch.tensor(3)}, "mult is not 1: this model describes closed shells only"),
        ({"mult": torch.tensor(0)}, "mult is below 1"),
        ({"cell": torch.eye(3)}, "cell is not used.*molecules only"),
        ({"coord": None}, "coord is missing"),
        ({"charge": None}, "charge is missing"),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else "",
)
def test_input_that_means_nothing_is_refused(simple: Any, change: dict[str, Any], message: str) -> None:
    data = {**inputs(molecule("H2O")), **change}
    with pytest.raises(torch.jit.Error, match=message):  # type: ignore[attr-defined]
        simple({name: value for name, value in data.items() if value is not None})


def test_open_shells_need_a_multiplicity_and_neutral_models_no_charge(tmp_path: Path) -> None:
    data = inputs(molecule("H2O"))
    without = {name: value for name, value in data.items() if name != "mult"}
    run = program(tiny_checkpoint(2), tmp_path / "open.jpt")
    with pytest.raises(torch.jit.Error, match="mult .2S.1. is missing"):  # type: ignore[attr-defined]
        run(without)
    model = tiny_checkpoint()
    neutral = replace(model, config=replace(model.config, neutral_only=True))
    run = program(neutral, tmp_path / "neutral.jpt")
    assert torch.isfinite(run(without)["energy"])
    with pytest.raises(torch.jit.Error, match="neutral molecules only"):  # type: ignore[attr-defined]
        run({**without, "charge": torch.tensor(1)})


def test_elements_that_a_fidelity_does_not_know_are_refused(tmp_path: Path) -> None:
    run = program(uneven_checkpoint(), tmp_path / "x.jpt", fidelity="wb97m")
    assert torch.isfinite(run(inputs(molecule("H2O")))["energy"])
    with pytest.raises(torch.jit.Error, match="element Z=7 is not covered"):  # type: ignore[attr-defined]
        run(inputs(molecule("NH3")))


def test_terms_without_a_padded_form_are_refused(tmp_path: Path) -> None:
    for wish, message in (
        ("d4:pbe0", "D4Dispersion cannot be exported into a program"),
        (D3Parameters(s6=1.0, s8=0.5, a1=0.4, a2=5.0, s9=1.0), "three-body term .s9=1. cannot be exported"),
    ):
        with pytest.raises(ConfigError, match=message):
            export(tiny_checkpoint(), tmp_path / "x.jpt", dispersion=wish)
        assert not list(tmp_path.iterdir())


ALONE = """
import importlib.util, sys
sys.path[:0] = sys.argv[1].split(":")
assert importlib.util.find_spec("molcalc") is None
import torch
run = torch.jit.load(sys.argv[2])
coord = torch.tensor([[0.0, 0.0, 0.12], [0.0, 0.76, -0.47], [0.0, -0.76, -0.47]], dtype=torch.float64)
found = run({"coord": coord, "numbers": torch.tensor([8, 1, 1]), "charge": torch.tensor(0.0)})
print(found["energy"].item(), found["forces"].abs().max().item(), run.cutoff, run.cutoff_lr)
"""


def test_the_program_runs_where_molcalc_is_not(tmp_path: Path) -> None:
    export(tiny_checkpoint(), tmp_path / "x.jpt")
    packages = [path for path in sys.path if path.endswith("site-packages")]
    command = [sys.executable, "-I", "-S", "-c", ALONE, ":".join(packages), str(tmp_path / "x.jpt")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    energy, force, cutoff, range_of_all = map(float, done.stdout.split())
    atoms = Atoms("OHH", [(0.0, 0.0, 0.12), (0.0, 0.76, -0.47), (0.0, -0.76, -0.47)])
    atoms.calc = AIMNet2(tiny_checkpoint(), dtype="float64")
    assert energy == pytest.approx(atoms.get_potential_energy(), abs=SAME)
    assert force == pytest.approx(np.abs(atoms.get_forces()).max(), abs=SAME)
    assert (cutoff, range_of_all) == (5.0, np.inf)


def test_the_file_names_no_folder_of_the_machine_that_wrote_it(tmp_path: Path) -> None:
    export(tiny_checkpoint(), tmp_path / "x.jpt")
    root = str(Path(__file__).parents[2]).encode()
    with zipfile.ZipFile(tmp_path / "x.jpt") as archive:
        contents = [archive.read(name) for name in archive.namelist()]
    assert not any(text in content for content in contents for text in (root, str(tmp_path).encode()))


def test_writing_the_same_model_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    first = export(tiny_checkpoint(), tmp_path / "a.jpt")
    second = export(tiny_checkpoint(), tmp_path / "b.jpt")
    assert first.path.read_bytes() == second.path.read_bytes()
