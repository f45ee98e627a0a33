"""Colors of values."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import molecule

from molcalc.analysis.color_scale import ColorScale, potential_scale
from molcalc.analysis.molecular_potential import MolecularPotential
from molcalc.calculators import AIMNet2
from molcalc.errors import ConfigError
from tests.helpers.networks import tiny_checkpoint


def test_the_middle_is_white_and_both_sides_reach_equally_far() -> None:
    scale = ColorScale.of(np.array([-2.0, 1.0]), "potential (V)")
    assert scale.ends == (-2.0, 2.0)
    below, middle, above = scale.rgb(np.array([-2.0, 0.0, 2.0]))
    assert middle == pytest.approx(np.full(3, 0.97))
    assert below[2] > 2 * below[0]
    assert above[0] > 2 * above[2]
    assert np.array_equal(scale.rgb(np.array([-9.0, 9.0])), scale.rgb(np.array([-2.0, 2.0])))


@pytest.mark.parametrize(("charge", "centered"), [(0, False), (-2, True)])
def test_ions_have_their_mean_in_the_middle_and_say_so(charge: int, centered: bool) -> None:
    potential = MolecularPotential.of(molecule("H2O"), AIMNet2(tiny_checkpoint(), charge=charge))
    assert (potential.total_charge, potential.is_distributed) == (charge, False)
    values = np.array([-6.0, -5.0, -3.0])
    scale = potential_scale(potential, values)
    assert scale.center == pytest.approx(values.mean() if centered else 0.0)
    assert ("white: -4.67" in scale.title) == centered
    assert scale.reach == pytest.approx(np.abs(values - scale.center).max())


def test_a_reach_has_to_be_positive() -> None:
    with pytest.raises(ConfigError, match="reach=-1"):
        ColorScale.of(np.zeros(2), "charge (e)", reach=-1.0)
    assert ColorScale.of(np.zeros(2), "charge (e)").reach == 1.0
