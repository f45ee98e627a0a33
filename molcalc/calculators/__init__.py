"""ASE calculators."""

from __future__ import annotations

from typing import TYPE_CHECKING

from molcalc.first_use import on_first_use

if TYPE_CHECKING:
    from molcalc.calculators.aimnet2 import AIMNet2 as AIMNet2
    from molcalc.calculators.dispersion import D3 as D3
    from molcalc.calculators.dispersion import D4 as D4
    from molcalc.calculators.physnet_dcm import NonEquivariantDCM as NonEquivariantDCM
    from molcalc.calculators.physnet_dcm import PhysNetDCM as PhysNetDCM

CALCULATOR_HOMES = {
    "AIMNet2": "molcalc.calculators.aimnet2",
    "D3": "molcalc.calculators.dispersion",
    "D4": "molcalc.calculators.dispersion",
    "NonEquivariantDCM": "molcalc.calculators.physnet_dcm",
    "PhysNetDCM": "molcalc.calculators.physnet_dcm",
}
"""Module of each calculator; it is imported on first use."""
__all__ = [*CALCULATOR_HOMES]
__getattr__, __dir__ = on_first_use(__name__, CALCULATOR_HOMES)
