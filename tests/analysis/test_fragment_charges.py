"""Charges of molecules far apart."""

from __future__ import annotations

from dataclasses import replace

import pytest

from molcalc.analysis.fragment_charges import fragment_charges
from molcalc.errors import UnsupportedElementError
from tests.helpers.networks import tiny_checkpoint, tiny_multifidelity_checkpoint


@pytest.mark.parametrize("several", [False, True], ids=["one fidelity", "several"])
def test_fragments_share_the_total_charge(several: bool) -> None:
    found = fragment_charges(tiny_multifidelity_checkpoint() if several else tiny_checkpoint())
    assert sum(found) == pytest.approx(1.0, abs=1e-6)
    assert abs(found.ion - 1.0) > 0.01  # random weights share the charge among all atoms


def test_fragments_of_unknown_elements_are_not_measured() -> None:
    plain = tiny_checkpoint()
    level = replace(plain.config.fidelities[0], elements=(1, 6, 8))
    with pytest.raises(UnsupportedElementError):
        fragment_charges(replace(plain, config=replace(plain.config, fidelities=(level,))))
