"""Training of potentials from ASE databases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from molcalc.first_use import on_first_use

if TYPE_CHECKING:
    from molcalc.train.data.convert import convert as convert
    from molcalc.train.fitting import FitResult as FitResult
    from molcalc.train.fitting import fit as fit
    from molcalc.train.optimize.optimizers import OPTIMIZER_CONFIGS as OPTIMIZER_CONFIGS
    from molcalc.train.optimize.optimizers import create_optimizer as create_optimizer
    from molcalc.train.optimize.optimizers import get_recommended_optimizer_config as get_recommended_optimizer_config
    from molcalc.train.report.evaluation import evaluate as evaluate

_HOMES = {
    "fit": "molcalc.train.fitting",
    "FitResult": "molcalc.train.fitting",
    "evaluate": "molcalc.train.report.evaluation",
    "convert": "molcalc.train.data.convert",
    "get_recommended_optimizer_config": "molcalc.train.optimize.optimizers",
    "create_optimizer": "molcalc.train.optimize.optimizers",
    "OPTIMIZER_CONFIGS": "molcalc.train.optimize.optimizers",
}
__all__ = [*_HOMES]
__getattr__, __dir__ = on_first_use(__name__, _HOMES)
