"""The shape of the package: imports go downward, one module differentiates, importing is cheap."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path, PurePath

import pytest

import molcalc

ROOT = Path(molcalc.__file__).parent
TESTS = Path(__file__).parent
LEVELS = [
    {"_version", "units", "errors", "first_use", "notebook_tables", "progress"},
    {"citations", "cells", "devices", "elements", "knowledge", "properties", "surroundings"},
    {"fidelity", "state"},
    {"io"},
    {"structure_files"},
    {"kernels"},
    {"neighbors", "nn"},
    {"batch"},
    {"energy_term"},
    {"models", "electrostatics", "dispersion"},
    {"potential"},
    {"derivatives"},
    {"second_derivatives", "steps"},
    {"registry"},
    {"pretrained"},
    {"assembly"},
    {"prediction"},
    {"predictor"},
    {"testing"},
    {"calculators", "train"},
    {"engines", "export", "simulate", "analysis"},
    {"conformers"},
    {"cli"},
]
"""Rooms from the bottom to the top: each imports from levels below its own only, never from its neighbors."""
LEVEL = {name: k for k, names in enumerate(LEVELS) for name in names}
NOT_YET: set[tuple[str, str]] = set()
"""Pairs of rooms that still break the rule."""
NAMED_ABOVE = {("registry", "calculators")}
"""Pairs of rooms where the lower one names modules of the upper one in a closed table, and imports them when asked."""
DIFFERENTIATE = {
    ("derivatives.py", "_gradients"),
    ("derivatives.py", "term_derivatives"),
    ("models/aimnet2_hessian.py", "DisplacedAIMNet2._differentiate"),
    ("second_derivatives.py", "_hessian_of_terms"),
    ("second_derivatives.py", "_jacobian"),
    ("second_derivatives.py", "_own_gradient"),
    ("second_derivatives.py", "_shared_hessian"),
    ("second_derivatives.py", "_slopes_of_dipole"),
    ("export/program.py", "gradient"),
    ("kernels/differentiation.py", "CompiledFunction.torch_gradient"),
}
"""Functions that call autograd for derivatives: of results, and of what is compiled. The export runs where
molcalc.derivatives does not."""
CROSS_CUTTING = {
    "faults/test_crowds",
    "faults/test_damaged_files",
    "faults/test_mutated_inputs",
    "faults/test_system_calls",
    "test_annotations",
    "test_architecture",
    "test_docs",
    "test_examples",
    "test_extending",
    "test_peers",
    "test_planted_errors",
    "test_release",
    "test_safety",
    "test_site",
}
"""Suites of the whole package; every other one stands where what it tests stands."""
ASE_EDGES = {
    *(
        "batch",
        "neighbors",
        "units",
        "properties",
        "errors",
        "elements",
        "structure_files",
        "prediction",
        "predictor",
        "testing",
        "calculators",
        "simulate",
        "analysis",
        "conformers",
        "engines",
        "cli",
    ),
}


@functools.cache
def modules() -> tuple[tuple[str, Path, ast.Module], ...]:
    """Room, file and tree of every module."""
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        place = path.relative_to(ROOT).with_suffix("").parts
        if place not in (("__init__",), ("__main__",)):
            found.append((place[0], path, ast.parse(path.read_text())))
    return tuple(found)


def imported(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Full names of what a module imports, and the lines. What is public in ``molcalc`` is named by its room."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            yield "." * node.level + (node.module or ""), node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module == "molcalc":
            yield from ((f"{molcalc.HOMES.get(name.name, f'molcalc.{name.name}')}", node.lineno) for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, node.lineno
        elif isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)


def named(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Modules of the package that are named in strings, by which they could be imported; docstrings may name all."""
    statements = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in statements:
            yield from ((name, node.lineno) for name in re.findall(r"\bmolcalc\.\w+", node.value))


def rooms_at_or_above(place: str, names: Iterator[tuple[str, int]]) -> Iterator[tuple[str, int]]:
    """Other rooms that are not below the place, of the names that belong to the package."""
    for name, line in names:
        if name.startswith("."):
            yield name, line
        elif name.startswith("molcalc."):
            room = name.split(".")[1]
            if room != place and LEVEL.get(room, -1) >= LEVEL[place]:
                yield room, line


def test_every_module_has_a_level() -> None:
    assert {place for place, _, _ in modules()} <= set(LEVEL)


def test_imports_go_downward() -> None:
    found = {
        (place, room): f"{path.relative_to(ROOT)}:{line} imports {room}"
        for place, path, tree in modules()
        for room, line in rooms_at_or_above(place, imported(tree))
    }
    assert not [place for pair, place in found.items() if pair not in NOT_YET]
    assert found.keys() == NOT_YET, "remove from NOT_YET what is mended"


def test_rooms_of_training_import_in_one_direction_and_never_the_whole_configuration() -> None:
    """From data to the report; files beside the rooms (configuration, fit) are above all of them."""
    order = ["data", "optimize", "start", "loop", "report"]
    inside = [path for place, path, _ in modules() if place == "train" and path.parent != ROOT / "train"]
    assert {path.relative_to(ROOT / "train").parts[0] for path in inside} == set(order)
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in inside
        for name, line in imported(ast.parse(path.read_text()))
        if name.startswith("molcalc.train.") and (room := path.relative_to(ROOT / "train").parts[0])
        if name.split(".")[2] not in order[: order.index(room) + 1]
    ]
    assert not wrong


def test_modules_named_in_strings_are_below_too() -> None:
    found = {
        (place, room): f"{path.relative_to(ROOT)}:{line} names {room}"
        for place, path, tree in modules()
        for room, line in rooms_at_or_above(place, named(tree))
    }
    assert not [place for pair, place in found.items() if pair not in NAMED_ABOVE]
    assert found.keys() == NAMED_ABOVE, "remove from NAMED_ABOVE what is mended"


def test_calculators_and_training_know_nothing_of_each_other() -> None:
    """Neither imports the other, nor names it where it could be imported by its name."""
    other = {"calculators": "train", "train": "calculators"}
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for place, path, tree in modules()
        if place in other
        for name, line in (*imported(tree), *named(tree))
        if f"{name}.".startswith(f"molcalc.{other[place]}.")
    ]
    assert not found


@pytest.mark.parametrize(
    ("place", "source", "room"),
    [
        ("train", "from molcalc.calculators.base import MolCalculator", "calculators"),
        ("calculators", "import molcalc.train.fitting", "train"),
        ("train", "from molcalc import calculators", "calculators"),
        ("train", "from molcalc import AIMNet2", "calculators"),
        ("models", "def late():\n    from molcalc.dispersion import d3", "dispersion"),
        ("predictor", "if TYPE_CHECKING:\n    from molcalc.testing import check_calculator", "testing"),
        ("io", "from .. import cli", ".."),
    ],
)
def test_the_rule_finds_a_planted_import(place: str, source: str, room: str) -> None:
    assert [found for found, _ in rooms_at_or_above(place, imported(ast.parse(source)))] == [room]


@pytest.mark.parametrize(
    "source", ['HOME = "molcalc.calculators.base"', 'print(f"from molcalc.calculators import {name}")']
)
def test_the_rule_finds_a_planted_name_in_a_string(source: str) -> None:
    assert [found for found, _ in rooms_at_or_above("train", named(ast.parse(source)))] == ["calculators"]
    assert not list(named(ast.parse('"""See :mod:`molcalc.calculators`."""')))


def test_one_place_builds_potentials() -> None:
    """Whoever needs one of a model goes through the assembly, so that all complete it alike."""
    places = {
        str(path.relative_to(ROOT))
        for _, path, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "Potential"
    }
    assert places == {"assembly/potentials.py"}


def test_ase_is_imported_at_the_edges_only() -> None:
    inside = [
        f"{path.relative_to(ROOT)}:{line}"
        for place, path, tree in modules()
        for name, line in imported(tree)
        if name.split(".")[0] == "ase"
        and place not in ASE_EDGES
        and path.relative_to(ROOT).parts[:2] != ("train", "data")
    ]
    assert not inside


def differentiates(node: ast.AST) -> bool:
    """Whether a node names a function of torch that computes derivatives."""
    if not isinstance(node, ast.Attribute):
        return False
    name = ast.unparse(node)
    return name.endswith("autograd.grad") or name.removeprefix("torch.func.") in {"vjp", "jvp", "grad", "jacrev"}


def functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Functions of a module, and those of its classes by their full names."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            methods = (child for child in node.body if isinstance(child, ast.FunctionDef))
            yield from ((f"{node.name}.{method.name}", method) for method in methods)


def test_derivatives_are_taken_where_they_belong() -> None:
    """Results come from one place, and derivatives that torch does not know from another."""
    calls = {
        (str(path.relative_to(ROOT)), name)
        for _, path, tree in modules()
        for name, function in functions(tree)
        if any(differentiates(node) for node in ast.walk(function))
    }
    assert calls == DIFFERENTIATE


def test_one_operator_gives_derivatives_to_what_torch_does_not_compute() -> None:
    nodes = {
        (str(path.relative_to(ROOT)), node.name)
        for _, path, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and "torch.autograd.Function" in map(ast.unparse, node.bases)
    }
    assert nodes == {("kernels/differentiation.py", "_Node")}


def test_derivatives_are_taken_in_functions_only() -> None:
    """So that the test above sees all of them."""
    for _, path, tree in modules():
        inside = {id(node) for _, function in functions(tree) for node in ast.walk(function)}
        outside = [node for node in ast.walk(tree) if differentiates(node) and id(node) not in inside]
        assert not outside, f"{path.relative_to(ROOT)}:{outside[0].lineno}"


def test_files_stay_readable() -> None:
    """One idea may take 500 lines; longer files hold two."""
    long = {
        str(path.relative_to(ROOT)): n for _, path, _ in modules() if (n := len(path.read_text().splitlines())) > 600
    }
    assert not long


def test_predictors_know_nothing_of_calculators_of_ase() -> None:
    """Batched runs stand on them without one."""
    found = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for place, path, tree in modules()
        if place in ("prediction", "predictor")
        for name, line in imported(tree)
        if name.startswith("ase.calculators")
    ]
    assert not found


TWINS = {
    **dict.fromkeys(["add_parser", "run"], "cli"),
    **dict.fromkeys(["CHUNK", "NAMES"], "train/data/formats"),
    **dict.fromkeys(
        [
            "forces", "forces_in_crystal", "stress", "translation", "rotation", "reflection", "permutation",
            "repeatable",
        ],
        "testing",
    ),
}  # fmt: skip
"""Names that mean the same in every module of one folder: parts of a command, of a format, of a table of checks."""
CONTRACT = {"evaluate"}
"""A name of the public contract for the errors of a model, and of the function that all results come from."""


def public_names(tree: ast.Module) -> Iterator[str]:
    """Classes, functions and constants that a module defines at its top."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name))


def may_share(name: str, places: list[str]) -> bool:
    """Whether a name may stand in several modules: a formula and its compiled twin, or a stated exception."""
    formulas = [place for place in places if not place.startswith("kernels/")]
    mirrored = len(places) == 2 and len(formulas) == 1 and f"kernels/{formulas[0].partition('/')[2]}" in places
    together = name in TWINS and all(place.startswith(f"{TWINS[name]}/") for place in places)
    return name == "log" or name in CONTRACT or mirrored or together


def test_two_things_never_share_a_name() -> None:
    """Whoever reads a name knows what it is without looking where it comes from."""
    places: dict[str, list[str]] = {}
    for _, path, tree in modules():
        for name in {name for name in public_names(tree) if not name.startswith("_")}:
            places.setdefault(name, []).append(str(path.relative_to(ROOT)))
    shared = {name: found for name, found in places.items() if len(found) > 1}
    assert not {name: found for name, found in shared.items() if not may_share(name, found)}
    assert TWINS.keys() | CONTRACT <= shared.keys(), "remove exceptions that nothing needs any more"


def test_the_rule_of_names_finds_planted_twins() -> None:
    assert list(public_names(ast.parse("A, _b = 1, 2\nC: int = 3\nclass D: e = 1\ndef f(): g = 1"))) == [
        "A", "_b", "C", "D", "f",
    ]  # fmt: skip
    assert may_share("smooth_step", ["kernels/switch.py", "nn/switch.py"])
    assert not may_share("smooth_step", ["kernels/switch.py", "nn/radial.py"])
    assert not may_share("gather", ["kernels/cartesian.py", "kernels/neighbor_sum.py"])
    assert may_share("run", ["cli/md.py", "cli/relax.py"])
    assert not may_share("run", ["cli/md.py", "simulate/dynamics.py"])


NO_RESULT = {"None", "NoReturn", "Self"}


def documented(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef, str]]:
    """Public functions with docstrings of more than a line, properties and blocks of ``with`` left out."""
    private = {node.name for node in tree.body if isinstance(node, ast.ClassDef) and node.name.startswith("_")}
    for name, function in functions(tree):
        text = ast.get_docstring(function) or ""
        decorators = {ast.unparse(node).rpartition(".")[2] for node in function.decorator_list}
        public = name.partition(".")[0] not in private and not function.name.startswith("_")
        if public and "\n" in text and not decorators & {"property", "cached_property", "contextmanager"}:
            yield name, function, text


def test_public_functions_say_what_they_return() -> None:
    """A docstring that goes beyond its first line has a section for the result."""
    silent = [
        f"{path.relative_to(ROOT)}: {name}"
        for _, path, tree in modules()
        for name, function, text in documented(tree)
        if function.returns is not None and ast.unparse(function.returns) not in NO_RESULT
        if not re.search(r"^(Returns|Yields)\n---", text, re.MULTILINE)
    ]
    assert not silent


def mirrored(suite: PurePath, rooms: set[PurePath]) -> bool:
    """Whether a suite, from the folder of tests, has the place and the name of a module or room; a part may follow.

    ``x/test_y.py`` and ``x/test_y_part.py`` test ``molcalc/x/y.py`` or ``molcalc/x/y``, ``x/test_init.py`` the room x.
    """
    words = suite.stem.removeprefix("test_").split("_")
    return any(suite.parent / "_".join(words[: k + 1]) in rooms for k in range(len(words)))


def test_tests_stand_where_what_they_test_stands() -> None:
    rooms = {path.relative_to(ROOT).with_suffix("") for path in ROOT.rglob("*.py")}
    rooms |= {room.parent for room in rooms if room.name == "__init__"}
    rooms |= {room.with_name("init") for room in rooms if room.name == "__init__"}
    suites = {path.relative_to(TESTS) for path in TESTS.rglob("test_*.py")}
    lost = {suite for suite in suites if not mirrored(suite, rooms)}
    assert lost == {PurePath(f"{name}.py") for name in CROSS_CUTTING}


@pytest.mark.parametrize(
    ("suite", "right"),
    [
        ("io/test_checkpoint.py", True),
        ("io/test_checkpoint_crashes.py", True),
        ("cli/test_init.py", True),
        ("test_checkpoint.py", False),
        ("cli/test_checkpoint.py", False),
        ("io/test_crashes.py", False),
        ("io/test_checkpoints.py", False),
    ],
)
def test_the_rule_finds_a_lost_suite(suite: str, right: bool) -> None:
    assert mirrored(PurePath(suite), {PurePath("io/checkpoint"), PurePath("cli"), PurePath("cli/init")}) is right
