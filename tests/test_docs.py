"""The pages for people who change the package say what is there."""

from __future__ import annotations

import argparse
import ast
import itertools
import re
import shlex
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from ase.io import write

from molcalc.cli import build_parser, failures
from molcalc.conformers.vae.config import VAE_PARTS
from molcalc.export import export
from molcalc.io import checkpoint
from molcalc.registry import MODELS
from molcalc.state import STATE_KEYS
from molcalc.train.config import CONFIG_PARTS
from molcalc.train.data.declared_units import QUANTITIES
from molcalc.train.data.formats.molecule_groups import LAYOUTS
from molcalc.train.fitting import fit
from molcalc.train.loop.losses import LossConfig
from molcalc.train.optimize.schedules import ScheduleConfig
from tests.helpers.calculators import tiny_calculator
from tests.helpers.networks import small_checkpoint
from tests.helpers.structures import rattled
from tests.helpers.training_runs import fit_molecules
from tests.test_architecture import LEVELS, functions

REPOSITORY = Path(__file__).parents[1]
ROOT = REPOSITORY / "molcalc"
PAGES = {page.name: page for page in (*sorted((REPOSITORY / "docs").glob("*.md")), REPOSITORY / "CONTRIBUTING.md")}
ARCHITECTURE = PAGES["architecture.md"].read_text()


def section(title: str) -> str:
    """Text of a section of the page about the architecture."""
    return ARCHITECTURE.split(f"## {title}\n")[1].split("\n## ")[0]


def hops(text: str) -> list[tuple[str, str]]:
    """File and function of everything written as `file.py:function`."""
    return [(file, name) for file, name in re.findall(r"`([\w/]+\.py):([\w.]+)`", text)]


def test_the_drawing_shows_the_levels_of_the_architecture_test() -> None:
    drawing = section("The house").split("```")[1]
    levels = [re.findall(r"(?m)^(\w+) {2,}\S", level) for level in re.split(r"-{20,}", drawing)]
    there = [sorted(room for room in level if (ROOT / room).is_dir() or (ROOT / f"{room}.py").is_file())
             for level in reversed(LEVELS)]  # fmt: skip
    assert [sorted(level) for level in levels] == there


@pytest.mark.parametrize("page", PAGES)
def test_every_function_that_a_page_names_exists(page: str) -> None:
    for file, name in hops(PAGES[page].read_text()):
        tree = ast.parse((ROOT / file).read_text())
        known = {found for found, _ in functions(tree)} | {n.name for n in tree.body if isinstance(n, ast.ClassDef)}
        assert name in known, f"{page}: {file}:{name}"


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_names_exists(page: str) -> None:
    text = PAGES[page].read_text()
    named = re.findall(r"`((?:molcalc|tests|examples|docs|benchmarks)/[\w/.]*?)(?::[\w.]+)?`", text)
    named += re.findall(r"\]\((?!made/|tutorials/)([\w./]+)\)", text)  # tests/test_site.py
    for name in named:
        assert any((place / name).exists() for place in (REPOSITORY, PAGES[page].parent)), f"{page}: {name}"


def test_there_are_pages_with_names_to_check() -> None:
    assert len(hops(ARCHITECTURE)) > 25
    assert {"architecture.md", "extending.md", "CONTRIBUTING.md"} <= PAGES.keys()


def test_readme_and_contributing_link_to_both_pages() -> None:
    for name in ("README.md", "CONTRIBUTING.md"):
        text = (REPOSITORY / name).read_text()
        assert "(docs/architecture.md)" in text
        assert "(docs/extending.md)" in text


@contextmanager
def first_calls() -> Iterator[list[tuple[str, str]]]:
    """File and plain name of every function of the package, in the order of their first calls."""
    found: dict[tuple[str, str], None] = {}
    root = f"{ROOT}/"

    def note(frame: FrameType, event: str, argument: Any) -> None:
        file = frame.f_code.co_filename
        if event == "call" and file.startswith(root):
            found.setdefault((file.removeprefix(root), frame.f_code.co_name))

    ordered: list[tuple[str, str]] = []
    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield ordered
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
        ordered.extend(found)


def relaxed_once(folder: Path) -> Callable[[], object]:
    """Forces of a molecule."""
    atoms = molecule("CH3OH")
    atoms.calc = tiny_calculator(small_checkpoint())  # of a form that has no compiled step
    return atoms.get_forces


def trained_once(folder: Path) -> Callable[[], object]:
    """An epoch of training."""
    return lambda: fit_molecules(folder / "run", epochs=1)


@pytest.mark.parametrize(
    ("title", "prepared"), [("From Atoms to results", relaxed_once), ("From a row to the loss", trained_once)]
)
def test_a_walk_is_what_happens(
    title: str,
    prepared: Callable[[Path], Callable[[], object]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each function of the table is called, for the first time, after the one above it."""
    monkeypatch.setenv("MOLCALC_CACHE", str(tmp_path / "cache"))  # the data are read, whoever read them before
    run = prepared(tmp_path)
    table = [(file, name.split(".")[-1]) for row in re.findall(r"(?m)^\| (`\S+`) \|", section(title))
             for file, name in hops(row)]  # fmt: skip
    with first_calls() as called:
        run()
    assert [hop for hop in called if hop in table] == table


def code(text: str, language: str) -> list[str]:
    """Blocks of code of a page in one language; "" is that of blocks without one."""
    found: list[str] = []
    fences = re.split(r"(?m)^```(.*)$", text)
    for opening, block in zip(fences[1::4], fences[2::4]):
        if opening.strip() == language:
            found.append(block)
    return found


def documented_commands() -> Iterator[tuple[str, list[str]]]:
    """Page and words of every command on a page, also behind torchrun, without what the shell does with its output."""
    for name, page in {"README.md": REPOSITORY / "README.md", **PAGES}.items():
        text = page.read_text()
        for block in (*code(text, ""), *code(text, "bash")):
            for line in re.sub(r"\$\w+", "1", re.sub(r"\\\n\s*", " ", block)).splitlines():
                words = shlex.split(line, comments=True) if re.match(r"(srun |torchrun |molcalc )", line) else []
                if "molcalc" in words and "…" not in line and "COMMAND" not in line:
                    command = words[words.index("molcalc") + 1 :]
                    yield name, list(itertools.takewhile(lambda word: word not in (">", "|"), command))


def test_every_command_on_a_page_has_options_that_exist() -> None:
    parser = build_parser()
    commands = list(documented_commands())
    for page, words in commands:
        args, unknown = parser.parse_known_args(words)
        assert not unknown, f"{page}: molcalc {' '.join(words)}"
    assert len(commands) > 30


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    """Options of a command and of those below it."""
    found = {option for action in parser._actions for option in action.option_strings}
    return found.union(*(options_of(below) for below in commands_of(parser).values()))


def commands_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Parsers of the commands below a parser, by name."""
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return {name: command for action in below for name, command in action.choices.items()}


@pytest.mark.parametrize("page", ["README.md", *PAGES])
def test_commands_and_options_within_sentences_exist(page: str) -> None:
    text = PAGES[page].read_text() if page in PAGES else (REPOSITORY / page).read_text()
    commands = commands_of(build_parser())
    for words in re.findall(r"`molcalc ([a-z][^`]*)`", text):
        command = commands[words.split()[0]]
        assert set(re.findall(r"(?<![\w-])--[a-z][\w-]*", words)) <= options_of(command), words


@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith("from_")])
def test_what_takes_the_place_of_other_programs_exists(page: str) -> None:
    """In the right column of the tables: options of any command, and keys of training and of generators."""
    options = options_of(build_parser()) | {"--no-python"}  # of torchrun
    keys = {field.name for part in (*CONFIG_PARTS.values(), *VAE_PARTS.values()) for field in fields(part)}
    keys |= {field.name for entry in MODELS.values() for field in fields(entry.config)}
    keys |= {field.name for kind in (ScheduleConfig, LossConfig) for field in fields(kind)}
    keys |= {"key", "member", "split"}  # any, of calculators, short for split_method
    for row in re.findall(r"(?m)^\|.*? \| (.*)\|$", PAGES[page].read_text()):
        taken = re.sub(r"[^|.;]*are not offered", "", row)
        assert set(re.findall(r"(?<![\w-])--[a-z][\w-]*", taken)) <= options, row
        for key in re.findall(r"`(?:--set )?((?:loss\.|schedule\.|arguments\.)?[a-z_]+)(?:=|: )", taken):
            assert key.split(".")[-1] in keys, f"{key}: {row}"


def test_the_page_of_files_has_every_variable_that_is_read_and_every_exit_status() -> None:
    page = PAGES["files.md"].read_text()
    sources = [path.read_text() for path in ROOT.glob("**/*.py")]
    read = {name for text in sources for name in re.findall(r"environ(?:\.get\(|\[)\"(\w+)\"", text)}
    read |= {name for text in sources for name in re.findall(r"VARIABLE\w* = \"(\w+)\"", text)}
    assert {"MOLCALC_CACHE", "MOLCALC_WEIGHTS", "MOLCALC_EXPANSION", "WORLD_SIZE"} <= read
    assert not [name for name in read if f"`{name}" not in page]
    statuses = [value for name, value in vars(failures).items() if name.isupper() and isinstance(value, int)]
    known = re.findall(r"(?m)^\| ([\d, ]+) \|", page)
    assert {value for value in statuses if value <= 143} <= {int(number) for row in known for number in row.split(",")}


def test_every_unit_key_and_published_layout_is_on_the_page_of_formats() -> None:
    page = PAGES["formats.md"].read_text()
    units = {unit for quantity in QUANTITIES.values() for unit in quantity.factors}
    assert not [unit for unit in units if f"`{unit}`" not in page]
    assert not [key for key in STATE_KEYS if f"`{key}`" not in page]
    assert not [layout.title for layout in LAYOUTS if layout.title not in page]


def test_the_python_of_a_page_runs_as_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    run_page("conformers.md")
    assert capsys.readouterr().out


def run_page(page: str) -> None:
    """Run the Python of a page, one block after the other."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in code(PAGES[page].read_text(), "python"):
        exec(compile(block, page, "exec"), names)  # noqa: S102


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that pages speak of."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "runs").mkdir()
    for name in ("x", "tuned"):
        checkpoint.save(folder / "runs" / name, small_checkpoint())
    shutil.copytree(ROOT / "pretrained/models/small-species", folder / "runs" / "both")
    shutil.copy(REPOSITORY / "examples/data/urea.cif", folder)
    shutil.copy(REPOSITORY / "examples/data/co2_pbe0.db", folder / "co2.db")
    export(folder / "runs/both", folder / "model_pbe0.jpt", fidelity="pbe0")
    rows, calc = [rattled("CH3OH", 0.05, seed) for seed in range(40)], tiny_calculator(small_checkpoint())
    for atoms in rows:
        energy, forces = calc.get_potential_energy(atoms), calc.get_forces(atoms)
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
    for name, part in {"good.db": rows[:12], "cheap_1.db": rows[12:26], "cheap_2.db": rows[26:]}.items():
        for atoms in part:
            connect(folder / name).write(atoms)
    for atoms in rows:
        atoms.info["REF_energy"], atoms.arrays["REF_forces"] = atoms.get_potential_energy(), atoms.get_forces()
        atoms.calc = None
    write(folder / "mace.xyz", rows)
    return folder


@pytest.mark.slow
@pytest.mark.usefixtures("published")
@pytest.mark.filterwarnings("ignore:Use thermalize_momenta:DeprecationWarning")
@pytest.mark.parametrize(
    "page", [name for name, text in PAGES.items() if code(text.read_text(), "python") and name != "extending.md"]
)
def test_all_code_on_a_page_runs(page: str, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    monkeypatch.setattr("molcalc.train.fitting.fit", lambda *data, **options: fit(*data, **{"epochs": 2, **options}))
    run_page(page)
