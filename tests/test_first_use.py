"""Public names that are imported on first use."""

from __future__ import annotations

import ast
import importlib
import pydoc
from collections.abc import Iterator
from pathlib import Path

import pytest

import molcalc
from molcalc.first_use import on_first_use

ROOT = Path(molcalc.__file__).parent


def lazy_packages() -> Iterator[str]:
    """Packages whose names are imported on first use."""
    for file in sorted(ROOT.rglob("__init__.py")):
        if "on_first_use(__name__" in file.read_text():
            yield ".".join(file.relative_to(ROOT.parent).parent.parts)


def told_to_editors(tree: ast.Module) -> dict[str, str]:
    """Module of each name that is imported for those who run nothing."""
    blocks = (node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    imports = (node for block in blocks for node in block.body if isinstance(node, ast.ImportFrom))
    return {alias.asname or alias.name: str(node.module) for node in imports for alias in node.names}


@pytest.mark.parametrize("package", [*lazy_packages()])
def test_editors_completion_and_imports_know_the_same_names(package: str) -> None:
    module = importlib.import_module(package)
    homes = next(value for name, value in vars(module).items() if name.endswith("HOMES"))
    assert told_to_editors(ast.parse(Path(str(module.__file__)).read_text())) == homes
    assert set(homes) <= set(dir(module))
    assert set(homes) <= set(module.__all__)
    for name, home in homes.items():
        value = getattr(module, name)
        assert getattr(value, "__module__", home) == home, f"{name} is not at home in {home}"


def test_there_are_such_packages() -> None:
    assert {"molcalc", "molcalc.train", "molcalc.analysis", "molcalc.conformers"} <= set(lazy_packages())


@pytest.mark.parametrize("room", molcalc.ROOMS)
def test_rooms_need_no_import_of_their_own(room: str) -> None:
    assert room in dir(molcalc)
    assert getattr(molcalc, room) is importlib.import_module(f"molcalc.{room}")


def test_help_begins_with_everything_that_is_public() -> None:
    text = pydoc.plain(pydoc.render_doc(molcalc))
    overview = text.partition("PACKAGE CONTENTS")[0]
    for name in (*molcalc.HOMES, *(f"molcalc.{room}" for room in molcalc.ROOMS)):
        assert f"`{name}`" in overview
    assert "relax(images" in text


def test_a_name_that_is_not_public_is_refused_by_its_package() -> None:
    attribute, names = on_first_use("molcalc.train", {"fit": "molcalc.train.fitting"})
    assert attribute("fit") is molcalc.fit
    assert "fit" in names()
    with pytest.raises(AttributeError, match=r"module 'molcalc.train' has no attribute 'fitt'"):
        attribute("fitt")
