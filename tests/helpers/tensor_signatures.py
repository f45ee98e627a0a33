"""Hold functions of molcalc to the shapes and dtypes in their signatures while tests run.

A module is checked if it imports jaxtyping. Compiled loops do not, as numba has to see their functions as they are, nor
what torch.jit and torch.export read. Of a signature only tensors and arrays are checked: tests pass doubles of other
objects, and mypy sees to the rest.

The import hook that comes with jaxtyping wraps every function of a module, private ones too, and doubles the time of a
small network. This one wraps those that have something to check, and leaves them alone after CHECKED_CALLS calls in one
test: derivatives by differences make thousands that are alike. beartype is not used, because it looks at one item of a
list, picked by the generator of ``random``, whose state some tests want unchanged; here all items are looked at.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from functools import partial, wraps
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, NoneType, SimpleNamespace, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from jaxtyping import AbstractArray, jaxtyped

PACKAGE = Path(__file__).resolve().parents[2] / "molcalc"
CHECKED_CALLS = 20
"""Calls of one function in one test that are checked."""

calls: Counter[str] = Counter()
"""Calls in the running test."""


def check_tensor_signatures() -> None:
    """Check modules that are imported from now on."""
    sys.meta_path.insert(0, _Finder(checked_modules()))


def checked_modules() -> list[str]:
    """Names of the modules whose signatures are checked."""
    paths = [path for path in sorted(PACKAGE.rglob("*.py")) if "\nfrom jaxtyping import" in path.read_text()]
    return [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in paths]


class SignatureError(AssertionError):
    """A tensor is not what the signature says."""


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with a check of its tensors and arrays; as it is, if it has none."""
    hints = {name: _resolved(hint, function.__globals__) for name, hint in function.__annotations__.items()}
    hints = {name: hint for name, hint in hints.items() if _has_shape(hint)}
    if not hints:
        return function
    name, signature = f"{function.__module__}.{function.__qualname__}", inspect.signature(function)

    @partial(jaxtyped, typechecker=None)
    @wraps(function)
    def strict(*args: Any, **kwargs: Any) -> Any:
        for parameter, value in signature.bind(*args, **kwargs).arguments.items():
            _require(value, hints.get(parameter, Any), f"{parameter} of {name}")
        result = function(*args, **kwargs)
        _require(result, hints.get("return", Any), f"result of {name}")
        return result

    @wraps(function)
    def counted(*args: Any, **kwargs: Any) -> Any:
        calls[name] += 1
        return (strict if calls[name] <= CHECKED_CALLS else function)(*args, **kwargs)

    return counted


def checked_fields(cls: type) -> type:
    """The dataclass, with a check of its fields when one is made."""
    if is_dataclass(cls):
        cls.__init__ = checked(cls.__init__)  # type: ignore[misc]
    return cls


def _resolved(annotation: Any, names: dict[str, Any]) -> Any:
    """What an annotation stands for; Any if it names what is imported for mypy alone, or defined further below."""
    try:
        return get_type_hints(SimpleNamespace(__annotations__={"it": annotation}), names, include_extras=True)["it"]
    except NameError:
        return Any


def _has_shape(hint: Any) -> bool:
    if inspect.isclass(hint) and issubclass(hint, AbstractArray):
        return True
    return any(_has_shape(part) for part in get_args(hint))


def _require(value: Any, hint: Any, what: str) -> None:
    if not fits(value, hint):
        found = [f"{part.dtype} {tuple(part.shape)}" for part in _tensors(value)] or type(value).__name__
        raise SignatureError(f"{what} is {found}; the signature says {hint}")


def fits(value: Any, hint: Any) -> bool:
    """Whether tensors and arrays in a value are what an annotation says; sizes of axes are compared within a call."""
    origin, parts = get_origin(hint), get_args(hint)
    if hint is NoneType or (inspect.isclass(hint) and issubclass(hint, AbstractArray)):
        return isinstance(value, hint)
    if origin in (Union, UnionType):
        return any(fits(value, part) for part in parts)
    if origin is tuple:
        return isinstance(value, tuple) and len(value) == len(parts) and all(map(fits, value, parts))
    if inspect.isclass(origin) and issubclass(origin, Mapping):
        return all(fits(item, parts[1]) for item in value.values())
    if inspect.isclass(origin) and issubclass(origin, Sequence):
        return all(fits(item, parts[0]) for item in value)
    return True


def _tensors(value: Any) -> list[Any]:
    """Tensors and arrays in a value."""
    if hasattr(value, "shape"):
        return [value]
    items = list(value.values()) if isinstance(value, Mapping) else value
    return [tensor for item in items for tensor in _tensors(item)] if isinstance(items, (list, tuple)) else []


class _Finder(MetaPathFinder):
    def __init__(self, modules: list[str]) -> None:
        self.modules = set(modules)

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target) if fullname in self.modules else None
        if spec is not None and spec.origin is not None:
            spec.loader = CheckedLoader(fullname, spec.origin)
        return spec


class CheckedLoader(SourceFileLoader):
    """Loads a module with decorators on its functions and classes."""

    def get_code(self, fullname: str) -> CodeType:
        """Compile the source: bytecode without decorators is neither read nor replaced."""
        path = self.get_filename(fullname)
        tree = _Decorated().visit(ast.parse(self.get_data(path), path))
        return compile(ast.fix_missing_locations(tree), path, "exec", dont_inherit=True)


class _Decorated(ast.NodeTransformer):
    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.decorator_list.append(_reference("checked", node))
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.decorator_list.insert(0, _reference("checked_fields", node))
        return self.generic_visit(node)


def _reference(name: str, node: ast.stmt) -> ast.expr:
    """``__import__("tests.helpers.tensor_signatures", fromlist=True).name``, at the place of a node."""
    expression = ast.parse(f"__import__({__name__!r}, fromlist=True).{name}", mode="eval").body
    for part in ast.walk(expression):
        ast.copy_location(part, node)
    return expression
