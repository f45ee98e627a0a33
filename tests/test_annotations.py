"""Signatures that take or return tensors say which shapes, and are held to it while tests run."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from dataclasses import replace

import jaxtyping
import pytest
import torch
from ase import Atoms
from jaxtyping import Float
from torch import Tensor

from molcalc.batch import from_atoms
from molcalc.electrostatics.multipoles import center_of_mass
from molcalc.nn.join import join
from molcalc.nn.radial import polynomial_cutoff
from tests.helpers.tensor_signatures import PACKAGE, CheckedLoader, SignatureError, checked, checked_modules

ANNOTATED = (
    "batch.py", "neighbors.py", "potential.py", "derivatives.py", "energy_term.py", "nn", "models", "electrostatics",
    "dispersion", "assembly/by_fidelity.py", "prediction/points.py", "predictor.py", "train/loop/losses.py",
    "train/loop/metrics.py", "train/loop/augmentation.py", "train/loop/predictions.py",
)  # fmt: skip
ANY_TENSOR = {
    "nn/interaction_stack.py: compiled_stack_usable": "asks for device and dtype only",
}
"""Functions that take tensors of any shape and dtype."""
READ_BY_COMPILERS = (
    "electrostatics/pair_formulas.py", "nn/switch.py", "dispersion/coordination.py: neighbor_counts",
    "dispersion/damping.py: rational_damping", "dispersion/damping.py: smooth_cutoff",
)  # fmt: skip
"""Functions of plain tensors, as exported programs call them."""


def test_a_wrong_number_of_axes_is_refused() -> None:
    with pytest.raises(SignatureError, match="masses of"):
        center_of_mass(torch.zeros(4, 3), torch.ones(4, 1), torch.zeros(4, dtype=torch.int64), 1)


def test_axes_of_one_name_must_be_equal() -> None:
    with pytest.raises(SignatureError, match=r"masses of .*\(5,\)"):
        center_of_mass(torch.zeros(4, 3), torch.ones(5), torch.zeros(4, dtype=torch.int64), 1)


def test_a_wrong_kind_of_number_is_refused() -> None:
    with pytest.raises(SignatureError, match="distances of"):
        polynomial_cutoff(torch.tensor([1, 2]), 3.0)


def test_fields_of_a_batch_must_fit_each_other() -> None:
    batch = from_atoms(Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.74]]), cutoff=3.0)
    with pytest.raises(SignatureError, match="positions of"):
        replace(batch, positions=batch.positions[:1])


@pytest.mark.parametrize("position", [0, 1, 2])
def test_every_item_of_a_list_is_checked(position: int) -> None:
    parts = [torch.zeros(2, 3, 4) for _ in range(3)]
    parts[position] = torch.zeros(3, 4)
    with pytest.raises(SignatureError, match="parts of"):
        join(parts)


def test_a_wrong_result_is_refused() -> None:
    def shortened(values: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        return values[1:]

    with pytest.raises(SignatureError, match="result of"):
        checked(shortened)(torch.ones(3))


@pytest.mark.parametrize("name", checked_modules())
def test_module_is_checked(name: str) -> None:
    """None was imported before the check was switched on."""
    assert isinstance(importlib.import_module(name).__loader__, CheckedLoader)


def trees() -> Iterator[tuple[str, ast.Module]]:
    for place in ANNOTATED:
        path = PACKAGE / place
        for file in [path] if path.suffix else sorted(path.rglob("*.py")):
            yield str(file.relative_to(PACKAGE)), ast.parse(file.read_text())


def public(tree: ast.Module | ast.ClassDef) -> Iterator[tuple[str, ast.expr]]:
    """Annotations of public functions, and of methods and fields of public classes."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from ((f"{node.name}.{name}", hint) for name, hint in public(node))
        elif isinstance(node, ast.AnnAssign) and isinstance(tree, ast.ClassDef):
            yield ast.unparse(node.target), node.annotation
        elif isinstance(node, ast.FunctionDef) and (node.name.startswith("__") or not node.name.startswith("_")):
            arguments = node.args
            every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
            hints = [argument.annotation for argument in every if argument is not None]
            yield from ((node.name, hint) for hint in [*hints, node.returns] if hint is not None)


def shaped(hint: ast.expr) -> Iterator[ast.Subscript]:
    """Parts like ``Float[Tensor, "n_atoms 3"]`` of an annotation."""
    for node in ast.walk(hint):
        if isinstance(node, ast.Subscript) and hasattr(jaxtyping, ast.unparse(node.value)):
            yield node


def test_public_tensors_have_a_shape() -> None:
    bare = set()
    for file, tree in trees():
        for name, hint in public(tree):
            inside = {id(part) for node in shaped(hint) for part in ast.walk(node)}
            tensors = [node for node in ast.walk(hint) if isinstance(node, ast.Name) and node.id == "Tensor"]
            if any(id(node) not in inside for node in tensors):
                bare.add(f"{file}: {name}")
    assert {name for name in bare if not name.startswith(READ_BY_COMPILERS)} == set(ANY_TENSOR)


def test_shapes_can_be_read() -> None:
    """One that cannot is not checked, in silence: ``Float[Tensor, ...]`` without quotes, or a misspelt one."""
    for _, tree in trees():
        for node in (node for _, hint in public(tree) for node in shaped(hint)):
            _, shape = node.slice.elts if isinstance(node.slice, ast.Tuple) else (None, node.slice)
            assert isinstance(shape, ast.Constant), ast.unparse(node)
            getattr(jaxtyping, ast.unparse(node.value))[Tensor, shape.value]
