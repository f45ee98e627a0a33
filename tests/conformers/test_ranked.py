"""Weights of conformers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from ase.build import molecule
from ase.units import kB

from molcalc.conformers.molecules import molecule_of
from molcalc.conformers.ranked import Conformer, RankedConformers, RankedMolecule, boltzmann_weights
from molcalc.errors import InputError
from molcalc.units import KCAL_PER_MOL


def test_weights_are_those_of_a_hand_computation() -> None:
    """Butane: one anti, two gauche 0.9 kcal/mol above it, at 298.15 K, where kT is 0.5925 kcal/mol."""
    share = math.exp(-0.9 / 0.5925)
    gauche = 0.9 * 0.0433641
    found = boltzmann_weights([-4314.4, -4314.4 + gauche, -4314.4 + gauche], [1, 1, 1], 298.15)
    assert found == pytest.approx(np.array([1.0, share, share]) / (1 + 2 * share), abs=1e-4)
    merged = boltzmann_weights([-4314.4, -4314.4 + gauche], [1, 2], 298.15)
    assert merged == pytest.approx([found[0], 2 * found[1]], abs=1e-12)


def test_weights_add_up_to_one_however_large_energies_are() -> None:
    for temperature in (1.0, 300.0, 1e6):
        found = boltzmann_weights([-1e6, -1e6 + kB * 300.0, 5e5], [1, 2, 1], temperature)
        assert found.sum() == pytest.approx(1.0, abs=1e-12)
        assert np.isfinite(found).all()
    assert boltzmann_weights([3.0], [1], 10.0) == pytest.approx([1.0])


def test_ranks_are_shown_as_a_table() -> None:
    atoms = molecule("H2O2")
    ranks = [
        Conformer(
            rank=k, atoms=atoms, energy=-1.0, relative=2 * (k - 1) * KCAL_PER_MOL, weight=1 / k, degeneracy=2, found=3,
            start=0,
        )
        for k in (1, 2)
    ]  # fmt: skip
    ranked = RankedConformers((RankedMolecule(molecule_of(atoms, "<peroxide>"), tuple(ranks), (), 9),))
    assert "2 of " in repr(ranked)
    table = ranked._repr_html_()
    assert "2 conformers of 9 structures" in table
    assert "<tr><td>2</td><td>2.00</td><td>0.500</td><td>2</td><td>3</td></tr>" in table
    failed = RankedConformers((), (InputError("no <bond>"),))
    assert "1 failed" in repr(failed)
    assert "<td>no &lt;bond&gt;</td>" in failed._repr_html_()
    assert "none" in RankedConformers(())._repr_html_()
