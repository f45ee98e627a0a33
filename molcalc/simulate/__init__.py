"""Relaxation and molecular dynamics as functions: structures in, structures out.

Both take one structure or several, a calculator and settings, tell an observer of every step, and continue a trajectory
that was cut short as if nothing had happened. Nothing is printed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from molcalc.first_use import on_first_use

if TYPE_CHECKING:
    from molcalc.simulate.dynamics import md as md
    from molcalc.simulate.dynamics import md_all as md_all
    from molcalc.simulate.ensembles import DynamicsSettings as DynamicsSettings
    from molcalc.simulate.quasi_newton import QuasiNewton as QuasiNewton
    from molcalc.simulate.recorder import Dynamics as Dynamics
    from molcalc.simulate.recorder import DynamicsStep as DynamicsStep
    from molcalc.simulate.relaxation import relax as relax
    from molcalc.simulate.relaxation import relax_all as relax_all
    from molcalc.simulate.relaxation_run import Relaxation as Relaxation
    from molcalc.simulate.relaxation_run import RelaxationSettings as RelaxationSettings
    from molcalc.simulate.relaxation_run import RelaxationStep as RelaxationStep

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
__getattr__, __dir__ = on_first_use(__name__, _HOMES)
