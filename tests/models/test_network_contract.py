"""Every kind of network keeps the contract: with random weights, and with strong ones and energy terms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from molcalc.dispersion.d3 import D3Dispersion
from molcalc.electrostatics.coulomb import DSFCoulomb
from molcalc.io.checkpoint import Checkpoint
from molcalc.potential import Potential
from molcalc.registry import MODELS, build_members
from molcalc.testing import check_potential, random_potential
from tests.helpers.networks import FIDELITY_KINDS, tiny_checkpoint, tiny_dcm, tiny_multifidelity_checkpoint


def crystalline() -> Potential:
    """Terms that are defined for crystals."""
    terms = (DSFCoulomb(cutoff=7.0), D3Dispersion("pbe0", cutoff=7.0, cn_cutoff=6.0, switch_width=2.0))
    return Potential(build_members(tiny_checkpoint()), terms)


VARIANTS: dict[str, Callable[[], Potential | Checkpoint]] = {
    "AIMNet2 with Coulomb and D3": tiny_checkpoint,
    "open-shell AIMNet2": lambda: tiny_checkpoint(2),
    "ensemble of AIMNet2": lambda: tiny_checkpoint(n_members=2),
    "AIMNet2 for crystals": crystalline,
    **{
        f"fidelities, {name}": lambda changes=changes: tiny_multifidelity_checkpoint(**changes)
        for name, changes in FIDELITY_KINDS.items()
    },
    "PhysNet-DCM with PhysNet's Coulomb energy": tiny_dcm,
    "PhysNet-DCM with energy of distributed charges": lambda: tiny_dcm(coulomb="distributed", repulsion="zbl"),
    "PhysNet-DCM with quadrupoles": lambda: tiny_dcm(quadrupoles=True, exact_monopoles=False),
    "plain head with PhysNet's Coulomb energy": lambda: tiny_dcm("noneq-dcm"),
    "plain head with energy of distributed charges": lambda: tiny_dcm("noneq-dcm", coulomb="distributed"),
}


SMALLER: dict[str, dict[str, Any]] = {
    "physnet-dcm": {"n_features": 32, "n_radial": 32, "head_features": 48, "head_radial": 32, "head_cutoff": 7.0}
}
"""Networks that are large for a test, and by which arguments they are not."""


@pytest.mark.parametrize("kind", MODELS)
def test_every_kind_of_network_keeps_the_contract(kind: str) -> None:
    report = check_potential(random_potential(kind, **SMALLER.get(kind, {})), quiet=True)
    assert report.ok, str(report)


@pytest.mark.parametrize("variant", VARIANTS)
def test_strong_weights_and_energy_terms_keep_it_too(variant: str) -> None:
    report = check_potential(VARIANTS[variant](), quiet=True)
    assert report.ok, str(report)
