"""ASE finds the calculators."""

from __future__ import annotations

import pytest
from ase.calculators.calculator import get_calculator_class

from molcalc.calculators import D3, D4, AIMNet2, NonEquivariantDCM, PhysNetDCM


def test_calculators_are_listed_as_plugins() -> None:
    pytest.importorskip("ase._4.plugins.plugin")
    from molcalc.calculators.ase_plugin import __ase_plugins__

    assert {plugin.name: plugin.implementation for plugin in __ase_plugins__} == {
        "molcalc-aimnet2": AIMNet2,
        "molcalc-d3": D3,
        "molcalc-d4": D4,
        "molcalc-nonequivariantdcm": NonEquivariantDCM,
        "molcalc-physnetdcm": PhysNetDCM,
    }


def test_calculator_class_is_found_by_name() -> None:
    assert get_calculator_class("molcalc") is AIMNet2
