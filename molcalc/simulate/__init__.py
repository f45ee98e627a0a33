"""Relaxation and molecular dynamics as functions: structures in, structures out.

Both take one structure or several, a calculator and settings, tell an observer of every step, and continue a trajectory
that was cut short as if nothing had happened. Nothing is printed.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "relax": "molcalc.simulate.relaxation",
    "relax_all": "molcalc.simulate.relaxation",
    "QuasiNewton": "molcalc.simulate.quasi_newton",
    "Relaxation": "molcalc.simulate.relaxation_run",
    "RelaxationSettings": "molcalc.simulate.relaxation_run",
    "RelaxationStep": "molcalc.simulate.relaxation_run",
    "md": "molcalc.simulate.dynamics",
    "md_all": "molcalc.simulate.dynamics",
    "DynamicsSettings": "molcalc.simulate.ensembles",
    "Dynamics": "molcalc.simulate.recorder",
    "DynamicsStep": "molcalc.simulate.recorder",
}
GEOMETRY_OPTIMIZERS = ("auto", "BFGS", "LBFGS", "FIRE", "BFGSLineSearch")
"""Our own, and those of ASE that are deterministic, so that they retrace recorded steps."""
ENSEMBLES = ("nve", "langevin", "bussi", "nose-hoover")
"""Constant energy; constant temperature by friction and noise, or by velocities scaled at random or by a chain."""
__all__ = ["ENSEMBLES", "GEOMETRY_OPTIMIZERS", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
