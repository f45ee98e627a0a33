"""Checks that anyone can point at an ASE calculator, a potential or a kind of network.

>>> from ase.calculators.emt import EMT
>>> from molcalc.testing import check_calculator, check_potential
>>> report = check_calculator(EMT)  # doctest: +SKIP
>>> report = check_potential("physnet-dcm")  # doctest: +SKIP

``CHECKS`` and ``POTENTIAL_CHECKS`` map the name of every check to a function whose docstring says what it asks for.
"""

from molcalc.testing.check_report import Failure, Report, Skip
from molcalc.testing.potential_runner import POTENTIAL_CHECKS, check_potential, random_potential
from molcalc.testing.runner import CHECKS, check_calculator

__all__ = [
    "CHECKS",
    "POTENTIAL_CHECKS",
    "Failure",
    "Report",
    "Skip",
    "check_calculator",
    "check_potential",
    "random_potential",
]
