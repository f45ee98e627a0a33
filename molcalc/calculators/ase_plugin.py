"""Registration with ASE, so that ``ase info --plugins`` lists the calculators.

ASE's plug-in interface is private (``ase._4``): where it is missing or different, there is nothing to register.
"""

from __future__ import annotations

from typing import Any

from molcalc.calculators import CALCULATOR_HOMES

__ase_plugins__: set[Any] = set()
try:
    from ase._4.plugins.plugin import CalculatorPlugin
except ImportError:
    pass
else:
    __ase_plugins__ = {
        CalculatorPlugin(f"molcalc-{name.lower()}", citation="molcalc", implementation=f"{home}.{name}")
        for name, home in CALCULATOR_HOMES.items()
    }
