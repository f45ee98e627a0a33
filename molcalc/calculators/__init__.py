"""ASE calculators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from molcalc.calculators.aimnet2 import AIMNet2 as AIMNet2
    from molcalc.calculators.dispersion import D3 as D3
    from molcalc.calculators.dispersion import D4 as D4
    from molcalc.calculators.physnet_dcm import NonEquivariantDCM as NonEquivariantDCM
    from molcalc.calculators.physnet_dcm import PhysNetDCM as PhysNetDCM

CALCULATOR_HOMES = {
    "AIMNet2": "molcalc.calculators.aimnet2",
    "D3": "molcalc.calculators.dispersion",
    "D4": "molcalc.calculators.dispersion",
    "NonEquivariantDCM": "molcalc.calculators.physnet_dcm",
    "PhysNetDCM": "molcalc.calculators.physnet_dcm",
}
"""Where each calculator lives; it is imported on first use."""

__all__ = ["D3", "D4", "AIMNet2", "NonEquivariantDCM", "PhysNetDCM"]


def __getattr__(name: str) -> Any:
    if name in CALCULATOR_HOMES:
        import importlib

        return getattr(importlib.import_module(CALCULATOR_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *CALCULATOR_HOMES])
