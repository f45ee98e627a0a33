"""Training of potentials from ASE databases."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "fit": "molcalc.train.fitting",
    "FitResult": "molcalc.train.fitting",
    "evaluate": "molcalc.train.report.evaluation",
    "convert": "molcalc.train.data.convert",
    "get_recommended_optimizer_config": "molcalc.train.optimize.optimizers",
    "create_optimizer": "molcalc.train.optimize.optimizers",
    "OPTIMIZER_CONFIGS": "molcalc.train.optimize.optimizers",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
