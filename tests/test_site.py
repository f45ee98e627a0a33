"""The site of docs/: pages that are made from the package, and the whole of it."""

from __future__ import annotations

import importlib.util
import inspect
import re
import subprocess
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import ModuleType

import pytest

import molcalc.errors
from molcalc.cli import COMMANDS
from molcalc.conformers.vae.config import VAE_PARTS
from molcalc.train.config import CONFIG_PARTS
from molcalc.train.optimize.schedules import SCHEDULES

DOCS = Path(__file__).parents[1] / "docs"


def module(name: str) -> ModuleType:
    """A file of the settings of the site."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec
    assert spec.loader
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.fixture(scope="module")
def pages() -> ModuleType:
    return module("generated_pages")


def test_every_option_of_training_is_on_its_page_with_words(pages: ModuleType) -> None:
    rows = dict(re.findall(r"(?m)^\| `([\w.]+)` \|.*\| ([^|]+) \|$", pages.options_page()))
    for kind in {*CONFIG_PARTS.values(), *VAE_PARTS.values()}:
        for field in fields(kind):
            words, _, allowed = rows[field.name].partition("*")
            assert words.strip(), f"{field.name}: no words in the docstring of {kind.__name__}"
            assert allowed or is_dataclass(field.default_factory), field.name
    assert "one of hash, random, block" in rows["split_method"]


def test_sizes_of_every_network_are_on_the_page_of_options_with_words(pages: ModuleType) -> None:
    rows = re.findall(r"(?m)^\| `arguments\.(\w+)` \|.*\| ([^|]+) \|$", pages.options_page())
    assert {"n_features", "head_cutoff", "trunk_features", "charge_channels", "energy_hidden"} <= {
        name for name, _ in rows
    }
    assert not [name for name, words in rows if words.strip().startswith("*")]


def test_every_schedule_has_a_picture_of_a_rate_that_rises_and_falls() -> None:
    pictures = module("schedule_pictures")
    assert {path.stem for path in pictures.FILES} == set(SCHEDULES)
    for path in pictures.FILES:
        factors = pictures.factors(path)
        assert factors.max() == pytest.approx(1.0, abs=1e-3), path.stem
        assert path.stem == "constant" or factors.min() < 0.1, path.stem


def test_every_command_is_on_its_page(pages: ModuleType) -> None:
    page = pages.commands_page()
    for name in (*COMMANDS, "db repair"):
        assert f"\n## molcalc {name}\n" in page


def test_troubleshooting_knows_every_error_and_warning(pages: ModuleType) -> None:
    text = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    kinds = [name for name, kind in vars(molcalc.errors).items() if inspect.isclass(kind)
             and issubclass(kind, Exception) and kind.__module__ == "molcalc.errors"]  # fmt: skip
    assert len(kinds) > 25
    for name in set(kinds) - {"MolcalcError"}:
        assert f"`{name}`" in text, name
        assert f"| `{name}` |" in pages.errors_page()


def test_pages_link_to_made_pages_that_are_made(pages: ModuleType) -> None:
    links = [name for page in DOCS.glob("*.md") for name in re.findall(r"made/(\w+)", page.read_text(encoding="utf-8"))]
    assert set(links) == pages.MADE.keys()


def test_the_gallery_has_every_script_and_links_lead_to_them() -> None:
    gallery = module("gallery")
    scripts = {path.stem for path in gallery.EXAMPLES.glob("*.py")}
    assert set(gallery.ORDER) == scripts - {*gallery.HELPERS}
    assert gallery.ARGUMENTS.keys() <= scripts
    assert gallery.NEEDS.keys() <= {path.stem for path in gallery.EXAMPLES.rglob("*.py")}
    links = [name for page in DOCS.glob("*.md") for name in re.findall(r"tutorials/(\w+)", page.read_text("utf-8"))]
    assert set(links) <= {"index", "engines", *scripts}
    named = re.findall(r"<(\S+)>`__", (gallery.EXAMPLES / "README.rst").read_text(encoding="utf-8"))
    assert {Path(name).stem for name in named} == {"README", *gallery.ORDER}
    assert all((gallery.EXAMPLES / name).is_file() for name in named)


def test_tutorials_say_how_much_shorter_they_are_on_the_page() -> None:
    gallery = module("gallery")
    for name, words in gallery.ARGUMENTS.items():
        text = " ".join((gallery.EXAMPLES / f"{name}.py").read_text("utf-8").replace("\n#", "").split())
        said = re.search(r"on this page (?:once|(?:\d+ epochs of )?\d+ \w+)", text, re.IGNORECASE)
        assert said, name
        assert [value for value in words if value.isdigit()] in ([*re.findall(r"\d+", said[0])], ["1"]), name


def test_parameters_are_words_and_not_types() -> None:
    lines = [
        "What.",
        "",
        "Parameters",
        "----------",
        "a, b : Å; of",
        "    two lines.",
        "",
        "Returns",
        "-------",
        "a",
        "b",
    ]
    changed = module("docstrings").for_napoleon(lines)
    assert changed[2:7] == ["Parameters", "----------", "a, b", "    Å; of", "    two lines."]
    assert ":returns: a b" in changed


@pytest.mark.slow
def test_the_site_is_made_without_a_warning_and_reads_nothing_from_a_network(tmp_path: Path) -> None:
    pytest.importorskip("sphinx", reason="make docs installs it")
    unexecuted = ("-D", "plot_gallery=0")  # tests/test_examples.py runs the tutorials
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", *unexecuted, DOCS, tmp_path / "site"]
    made = subprocess.run(command, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    for page in (tmp_path / "site").rglob("*.html"):
        loaded = re.findall(r'<(?:script|img|iframe)[^>]+src="(https?:[^"]+)"', page.read_text(encoding="utf-8"))
        loaded += re.findall(r'<link[^>]+rel="stylesheet"[^>]+href="(https?:[^"]+)"', page.read_text(encoding="utf-8"))
        assert not loaded, f"{page.name}: {loaded}"
