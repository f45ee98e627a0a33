"""Picture of models that are asked about a molecule as it is, turned, and moved."""

from __future__ import annotations

import pytest
from ase import Atoms
from ase.build import bulk

from molcalc.analysis.equivariance_pictures import draw_equivariance
from molcalc.analysis.motions import Motion
from molcalc.calculators import AIMNet2, NonEquivariantDCM
from molcalc.errors import InputError
from tests.helpers.networks import small_checkpoint, tiny_dcm
from tests.helpers.structures import rattled

TURN, SHIFT = Motion.rotation(90), Motion.translation((5, 3, -2))


def test_every_model_has_a_line_of_three_pictures_with_their_errors() -> None:
    models = {"plain": NonEquivariantDCM(tiny_dcm("noneq-dcm")), "atoms": AIMNet2(small_checkpoint())}
    figure = draw_equivariance(rattled("H2O"), models, TURN, SHIFT)
    texts = [[axis.get_xlabel() for axis in figure.axes[start : start + 3]] for start in (0, 3)]
    assert all(line[0].startswith("|μ|") for line in texts)
    turned, moved = ([float(line[k].split()[1]) for line in texts] for k in (1, 2))
    assert turned[0] > 1e-3  # the distributed charges do not turn
    assert max(turned[1], *moved) < 1e-5
    assert [axis.get_title().splitlines()[0] for axis in figure.axes[:3]] == [
        "as it is", "rotated by 90° about z", "translated by (5, 3, -2) Å",
    ]  # fmt: skip
    assert figure.axes[0].get_ylabel() == "plain\ndistributed charges"
    assert figure.axes[3].get_ylabel() == "atoms\ncharges of atoms"


def test_crystals_and_no_models_are_refused() -> None:
    with pytest.raises(InputError, match="a molecule is needed"):
        draw_equivariance(bulk("NaCl", "rocksalt", a=5.6), {}, TURN, SHIFT)
    with pytest.raises(InputError, match="a molecule is needed"):
        draw_equivariance(Atoms(), {}, TURN, SHIFT)
    with pytest.raises(InputError, match="no model"):
        draw_equivariance(rattled("H2O"), {}, TURN, SHIFT)
