"""Relaxation and molecular dynamics as functions: structures in, structures out.

Both take one structure or several, a calculator and settings, tell an observer of every step, and continue a trajectory
that was cut short as if nothing had happened. Nothing is printed.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "relax": "molcalc.simulate.relaxation",
    "Relaxation": "molcalc.simulate.relaxation",
    "RelaxationSettings": "molcalc.simulate.relaxation",
    "RelaxationStep": "molcalc.simulate.relaxation",
    "md": "molcalc.simulate.dynamics",
    "DynamicsSettings": "molcalc.simulate.ensembles",
    "DynamicsRun": "molcalc.simulate.recorder",
    "DynamicsStep": "molcalc.simulate.recorder",
}
GEOMETRY_OPTIMIZERS = ("BFGS", "LBFGS", "FIRE", "BFGSLineSearch")
"""Optimizers of ASE that are deterministic, so that they retrace recorded steps."""
ENSEMBLES = ("nve", "langevin", "bussi")
"""Constant energy; constant temperature by friction and noise, or by scaled velocities."""
__all__ = ["ENSEMBLES", "GEOMETRY_OPTIMIZERS", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
