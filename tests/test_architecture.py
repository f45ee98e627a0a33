"""The shape of the package: imports go downward, one module differentiates, importing is cheap."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import molcalc

ROOT = Path(molcalc.__file__).parent
LEVELS = [
    {"_version", "units", "properties", "errors"},
    {"memory"},
    {"fidelity", "state"},
    {"io"},
    {"kernels"},
    {"neighbors", "nn"},
    {"batch"},
    {"energy_term"},
    {"models", "electrostatics", "dispersion"},
    {"potential"},
    {"derivatives"},
    {"registry"},
    {"pretrained"},
    {"assembly"},
    {"testing"},
    {"calculators", "train"},
    {"export"},
    {"cli"},
]
"""Rooms from the bottom to the top: each imports from levels below its own only, never from its neighbors."""
LEVEL = {name: k for k, names in enumerate(LEVELS) for name in names}
NOT_YET = {
    ("train", "calculators"),
}
"""Pairs of rooms that still break the rule."""
DIFFERENTIATE = {
    ("derivatives.py", "_gradients"),
    ("derivatives.py", "_jacobian"),
    ("electrostatics/point_potential.py", "_Potential.backward"),
    ("export/program.py", "gradient"),
    ("kernels/differentiation.py", "_Gradient.formula"),
    ("kernels/differentiation.py", "_by_formula"),
}
"""Functions that call autograd for derivatives: of results, and of what is compiled. The export runs where
molcalc.derivatives does not."""
ASE_EDGES = {"batch", "neighbors", "units", "properties", "errors", "testing", "calculators", "cli"}


def modules() -> Iterator[tuple[str, Path, ast.Module]]:
    for path in sorted(ROOT.rglob("*.py")):
        place = path.relative_to(ROOT).with_suffix("").parts
        if place != ("__init__",):
            yield place[0], path, ast.parse(path.read_text())


def imported(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "molcalc":
            yield from ((f"molcalc.{alias.name}", node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, node.lineno
        elif isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)


def test_every_module_has_a_level() -> None:
    assert {place for place, _, _ in modules()} <= set(LEVEL)


def test_imports_go_downward() -> None:
    found = {
        (place, target): f"{path.relative_to(ROOT)}:{line} imports {name}"
        for place, path, tree in modules()
        for name, line in imported(tree)
        if name.startswith("molcalc.") and (target := name.split(".")[1]) != place
        if LEVEL[target] >= LEVEL[place]
    }
    assert not [place for pair, place in found.items() if pair not in NOT_YET]
    assert found.keys() == NOT_YET, "remove from NOT_YET what is mended"


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


def test_derivatives_are_taken_in_functions_only() -> None:
    """So that the test above sees all of them."""
    for _, path, tree in modules():
        inside = {id(node) for _, function in functions(tree) for node in ast.walk(function)}
        outside = [node for node in ast.walk(tree) if differentiates(node) and id(node) not in inside]
        assert not outside, f"{path.relative_to(ROOT)}:{outside[0].lineno}"


def test_importing_the_package_is_cheap() -> None:
    code = (
        "import sys, molcalc\n"
        "heavy = [m for m in ('torch', 'ase', 'numpy', 'numba') if m in sys.modules]\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_files_stay_readable() -> None:
    """One idea may take 500 lines; longer files hold two."""
    long = {
        str(path.relative_to(ROOT)): n for _, path, _ in modules() if (n := len(path.read_text().splitlines())) > 600
    }
    assert not long
