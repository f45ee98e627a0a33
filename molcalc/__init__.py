"""Neural-network potentials that behave like real ASE calculators.

Submodules are imported on first use, so that ``import molcalc`` stays below 0.3 s: torch is loaded
only when something needs it.
"""

from molcalc._version import __version__

__all__ = ["__version__"]
