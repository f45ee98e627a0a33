"""Programs of torch.export: any number of structures and atoms, with forces, without this package."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from molcalc.calculators import AIMNet2
from molcalc.export import export
from molcalc.export.program_files import OLDEST_TORCH
from molcalc.io.checkpoint import Checkpoint
from molcalc.models.aimnet2 import AIMNet2Config
from molcalc.models.aimnet2 import AIMNet2Network as Network
from molcalc.pretrained.foreign.exported import read_contents
from molcalc.registry import checkpoint_of
from tests.helpers.exported_inputs import padded
from tests.helpers.networks import ELEMENTS, tiny_checkpoint, uneven_checkpoint
from tests.helpers.structures import charged_molecules

SAME = 1e-9
ARGUMENTS = ("coord", "numbers", "charge", "mult")
Run = Callable[..., dict[str, Tensor]]

pytestmark = [
    pytest.mark.filterwarnings("ignore::molcalc.errors.OpenShellWarning"),
    pytest.mark.skipif(torch.__version__ < OLDEST_TORCH, reason=f"torch before {OLDEST_TORCH} makes no such programs"),
]


def two_passes() -> Checkpoint:
    """A network of two passes: tracing takes time for every operation."""
    torch.manual_seed(1)
    config = AIMNet2Config(elements=ELEMENTS, hidden=((8,), (8,)), aim_size=8, energy_hidden=(8,), max_number=8)
    given = tiny_checkpoint().config
    return checkpoint_of(replace(given, arguments=config.to_dict()), [Network(config).initialize()])


def batch(images: list[Any]) -> list[Tensor]:
    found = padded(images)
    return [found["coord"], found["numbers"], found["charge"].double(), found["mult"].double()]


def check(run: Run, calc: AIMNet2, charge_channels: int = 1) -> None:
    """Compare a program with a calculator for batches of several sizes."""
    images = charged_molecules(charge_channels)
    for chosen in (images[:1], images[1:4], images[4:10], images[10:]):
        found = run(*batch(chosen))
        for k, atoms in enumerate(chosen):
            calc.calculate(atoms)
            assert found["energy"][k].item() == pytest.approx(calc.results["energy"], abs=SAME)
            for name in ("forces", "charges"):
                assert torch.allclose(found[name][k, : len(atoms)], torch.tensor(calc.results[name]), rtol=0, atol=SAME)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without dispersion, whose tracing takes as long as all else; the slow tests below have it."""
    return export(two_passes(), tmp_path_factory.mktemp("package") / "x.pt2", dispersion=None).path


def test_the_program_equals_the_calculator(file: Path) -> None:
    program = torch.export.load(file).module()
    check(program, AIMNet2(two_passes(), dtype="float64", dispersion=None))  # type: ignore[arg-type]
    arguments = batch(charged_molecules()[:1])
    for z in (5, 92):
        numbers = torch.full_like(arguments[1], z)
        with pytest.raises(RuntimeError, match="numbers holds an element that is not covered by this model"):
            program(arguments[0], numbers, *arguments[2:])


def test_the_file_says_what_it_is_and_names_no_folder(file: Path) -> None:
    found = json.loads(file.with_name(f"{file.name}.json").read_text())
    assert found["form"] == "torch.export"
    with zipfile.ZipFile(file) as archive:
        contents = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    assert json.loads(contents["extra/molcalc.json"])["hash"] == found["hash"]
    assert not any(str(Path(__file__).parents[2]).encode() in content for content in contents.values())


@pytest.mark.slow
def test_the_program_runs_where_molcalc_is_not(file: Path, tmp_path: Path) -> None:
    code = (
        "import importlib.util, sys; sys.path[:0] = sys.argv[1].split(':')\n"
        "assert importlib.util.find_spec('molcalc') is None\n"
        "import torch\n"
        "run = torch.export.load(sys.argv[2]).module()\n"
        "one = torch.ones(1, dtype=torch.float64)\n"
        "print(run(torch.zeros(1, 1, 3, dtype=torch.float64), torch.tensor([[8]]), 0 * one, one)['energy'].item())\n"
    )
    packages = [path for path in sys.path if path.endswith("site-packages")]
    command = [sys.executable, "-I", "-S", "-W", "ignore", "-c", code, ":".join(packages), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert torch.isfinite(torch.tensor(float(done.stdout)))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_open_shells_ensembles_and_several_fidelities_equal_the_calculator(tmp_path: Path) -> None:
    model = uneven_checkpoint(2, n_members=2, charge_heads=True, bases=(None, 0, 1))
    done = export(model, tmp_path / "x.pt2", fidelity="pbe0")
    program = torch.export.load(done.path).module()
    check(program, AIMNet2(model, fidelity="pbe0", dtype="float64"), 2)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_compiled_programs_equal_the_calculator(tmp_path: Path) -> None:
    done = export(two_passes(), tmp_path / "x.pt2", aot=True)
    inside = read_contents(done.path.read_bytes(), done.path)
    assert inside is not None
    assert inside.form == done.contents.form == "aotinductor"
    run = torch._inductor.aoti_load_package(str(done.path))
    check(run, AIMNet2(two_passes(), dtype="float64"))
