"""Checks that anyone can point at an ASE calculator.

>>> from ase.calculators.emt import EMT
>>> from molcalc.testing import check_calculator
>>> report = check_calculator(EMT)  # doctest: +SKIP

``CHECKS`` maps the name of every check to a function whose docstring says what it asks for.
"""

from molcalc.testing.report import Failure, Report, Skip
from molcalc.testing.runner import CHECKS, check_calculator

__all__ = ["CHECKS", "Failure", "Report", "Skip", "check_calculator"]
