"""What people get: archives that are built, checked, installed into empty environments and used there.

Environments are layers: one holds the wheel without extras, and each extra is installed into one of its own that sees
the first. Versions are those of ``constraints.txt``, or the lowest ones that ``setup.cfg`` allows.
"""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from molcalc._version import __version__
from tests.helpers import installed_smoke
from tests.helpers.lowest_versions import lowest_versions

REPOSITORY = Path(__file__).parents[1]
SMOKE = Path(installed_smoke.__file__)
LOWEST_PYTHON = ("python3.10", "python3.11")
"""That the oldest versions of numpy and scipy have wheels for."""
FOR_DEVELOPERS = {"test", "docs", "peers", "qm", "release"}
"""Extras that nothing of the package asks for."""
BUILT_FROM_SOURCE = {"scatter"}
"""Extras that compile for minutes."""
PINNED = REPOSITORY / "constraints.txt"


def settings() -> configparser.ConfigParser:
    parsed = configparser.ConfigParser()
    parsed.read(REPOSITORY / "setup.cfg", encoding="utf-8")
    return parsed


def requirements() -> list[str]:
    """What setup.cfg requires, without extras."""
    return settings()["options"]["install_requires"].strip().splitlines()


def run(*words: str | Path, cwd: Path | None = None) -> str:
    """Output of a program that must succeed, which sees nothing of the checkout."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MOLCALC_CACHE")}
    environment = {**kept, "MOLCALC_CACHE": str((cwd or Path.cwd()) / "cache"), "PYTHONSAFEPATH": "1"}
    done = subprocess.run([*map(str, words)], cwd=cwd, env=environment, capture_output=True, text=True, timeout=3000)
    assert done.returncode == 0, f"{' '.join(map(str, words))}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
    return done.stdout


def new_environment(folder: Path, below: Path | None = None, python: str = sys.executable) -> Path:
    """Interpreter of a new environment, which sees the packages and the examples of the one below."""
    run(python, "-m", "venv", folder)
    if below is not None:
        packages = next(below.parents[1].glob("lib/python*/site-packages"))
        next(folder.glob("lib/python*/site-packages")).joinpath("below.pth").write_text(f"{packages}\n")
        (folder / "share").mkdir(exist_ok=True)
        (folder / "share" / "molcalc").symlink_to(below.parents[1] / "share" / "molcalc")
    return folder / "bin" / "python"


def works(python: str) -> bool:
    """Whether an interpreter is there; pyenv has names for those that it does not start."""
    return (
        shutil.which(python) is not None and subprocess.run([python, "--version"], capture_output=True).returncode == 0
    )


def install(python: Path, *wanted: str | Path, constraints: Path = PINNED) -> None:
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--constraint", constraints, *wanted)


def smoke(python: Path, name: str, folder: Path) -> None:
    """Use the installed package in an empty folder."""
    folder.mkdir(exist_ok=True)
    shutil.copy(SMOKE, folder)
    assert "works" in run(python, SMOKE.name, name, cwd=folder)


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the wheel and the source archive; building leaves files, so it is done in a copy."""
    source, built = tmp_path_factory.mktemp("source") / "molcalc", tmp_path_factory.mktemp("dist")
    left = (REPOSITORY / ".gitignore").read_text().split()
    shutil.copytree(REPOSITORY, source, ignore=shutil.ignore_patterns(".git", *(name.strip("/") for name in left)))
    run(sys.executable, "-m", "build", "--outdir", built, source)
    return built


@pytest.fixture(scope="module")
def wheel(archives: Path) -> Path:
    return next(archives.glob("*.whl"))


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Interpreter of an environment with the wheel and nothing more."""
    folder = tmp_path_factory.mktemp("bare")
    python = new_environment(folder)
    install(python, wheel)
    yield python
    shutil.rmtree(folder)


def extras() -> list[str]:
    """Extras of people who use the package, each with a smoke test."""
    return [name for name in settings()["options.extras_require"] if name not in FOR_DEVELOPERS | BUILT_FROM_SOURCE]


def test_every_extra_is_tried() -> None:
    assert set(extras()) | {"without_extras"} == installed_smoke.SMOKE.keys()
    assert set(settings()["options.extras_require"]) >= FOR_DEVELOPERS | BUILT_FROM_SOURCE


def test_every_requirement_has_a_lowest_version() -> None:
    for line in requirements():
        assert re.match(r"[\w-]+ >= [\d.]+(;.*)?$", line), f"{line}: write the lowest version that the tests pass with"


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_archives_are_in_order_and_hold_what_they_should(archives: Path, wheel: Path) -> None:
    run(sys.executable, "-m", "twine", "check", "--strict", *archives.iterdir())
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in ("molcalc/py.typed", "molcalc/pretrained/models/small-species/weights.safetensors", "LICENSE"):
        assert any(name.endswith(wanted) for name in names), wanted
    assert not [name for name in names if name.split("/")[0] in ("tests", "docs", "benchmarks")]
    with tarfile.open(next(archives.glob("*.tar.gz"))) as source:
        names = source.getnames()
    for wanted in ("tests/test_release.py", "tests/conftest.py", "tests/data", "constraints.txt", "docs/index.md"):
        assert f"molcalc-{__version__}/{wanted}" in names, wanted


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_wheel_works_without_extras(bare: Path, tmp_path: Path) -> None:
    smoke(bare, "without_extras", tmp_path)
    run(bare, "-m", "pip", "check")


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("extra", extras())
def test_the_wheel_works_with_each_extra_alone(bare: Path, wheel: Path, extra: str, tmp_path: Path) -> None:
    python = new_environment(tmp_path / "environment", below=bare)
    install(python, f"molcalc[{extra}] @ file://{wheel}")
    smoke(python, extra, tmp_path / "work")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_wheel_works_with_the_lowest_versions(wheel: Path, tmp_path: Path) -> None:
    python = next(filter(works, LOWEST_PYTHON), None)
    if python is None:
        pytest.skip(f"none of {', '.join(LOWEST_PYTHON)} is installed")
    lowest = tmp_path / "lowest.txt"
    lowest.write_text("\n".join(lowest_versions(REPOSITORY / "setup.cfg")) + "\n")
    environment = new_environment(tmp_path / "environment", python=python)
    install(environment, wheel, constraints=lowest)
    smoke(environment, "without_extras", tmp_path / "work")
    shutil.rmtree(tmp_path / "environment")
