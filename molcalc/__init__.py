"""Neural-network potentials that behave like real ASE calculators.

Everything is imported on first use, so that ``import molcalc`` stays below 0.3 s: torch is loaded only when something
needs it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from molcalc._version import __version__

if TYPE_CHECKING:
    from molcalc.assembly.opening import open_model
    from molcalc.calculators.aimnet2 import AIMNet2
    from molcalc.calculators.dispersion import D3, D4
    from molcalc.calculators.physnet_dcm import NonEquivariantDCM, PhysNetDCM
    from molcalc.simulate.dynamics import md
    from molcalc.simulate.relaxation import relax
    from molcalc.testing import check_calculator
    from molcalc.train.fitting import fit
    from molcalc.train.report.evaluation import evaluate

HOMES = {
    "AIMNet2": "molcalc.calculators",
    "PhysNetDCM": "molcalc.calculators",
    "NonEquivariantDCM": "molcalc.calculators",
    "D3": "molcalc.calculators",
    "D4": "molcalc.calculators",
    "open_model": "molcalc.assembly.opening",
    "check_calculator": "molcalc.testing",
    "md": "molcalc.simulate.dynamics",
    "relax": "molcalc.simulate.relaxation",
    "fit": "molcalc.train",
    "evaluate": "molcalc.train",
}
"""Where each public name is found; it is imported on first use."""
__all__ = [
    "D3", "D4", "AIMNet2", "NonEquivariantDCM", "PhysNetDCM", "__version__", "check_calculator", "evaluate", "fit",
    "md", "open_model", "relax",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in HOMES:
        return getattr(importlib.import_module(HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *HOMES])
