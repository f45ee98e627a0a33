"""Levels of theory say something that can be."""

from __future__ import annotations

import re

import pytest

from molcalc.errors import ConfigError
from molcalc.fidelity import Fidelity


@pytest.mark.parametrize("elements", [(1, 1, 8), (0, 8), (1, 119)], ids=str)
def test_elements_exist_and_are_named_once(elements: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match=rf"fidelity 'pbe0' has the elements {re.escape(str(elements))}; expected"):
        Fidelity(name="pbe0", elements=elements)
    for right in ((8, 118), ()):  # none of a level that was never trained
        assert Fidelity(name="pbe0", elements=right).elements == right


def test_a_fidelity_has_a_name() -> None:
    with pytest.raises(ConfigError, match="a fidelity without a name"):
        Fidelity(name="")
