"""ASE calculators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from molcalc.calculators.aimnet2 import AIMNet2 as AIMNet2
    from molcalc.calculators.d3 import D3 as D3

_HOMES = {"AIMNet2": "molcalc.calculators.aimnet2", "D3": "molcalc.calculators.d3"}
__all__ = ["AIMNet2", "D3"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
