"""Names of a package that are imported when somebody asks for one, so that importing the package costs nothing.

A package says where each of its public names is found, and lets its ``__getattr__`` and ``__dir__`` be made::

    _HOMES = {"relax": "molcalc.simulate.relaxation"}
    __getattr__, __dir__ = on_first_use(__name__, _HOMES)

The same imports stand under ``if TYPE_CHECKING`` for mypy and for editors, which run nothing;
``tests/test_first_use.py`` holds the two together.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Collection, Mapping
from typing import Any


def on_first_use(
    package: str, homes: Mapping[str, str], rooms: Collection[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Functions that a package calls ``__getattr__`` and ``__dir__``.

    Parameters
    ----------
    package : its name.
    homes : module of every public name.
    rooms : packages inside it that are public names too.

    Returns
    -------
    attribute : of the package by name; raises AttributeError for a name that is not public.
    names : what the package has, public names first asked for included.
    """

    def attribute(name: str) -> Any:
        if name in rooms:
            return importlib.import_module(f"{package}.{name}")
        if name in homes:
            return getattr(importlib.import_module(homes[name]), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes, *rooms})

    return attribute, names
