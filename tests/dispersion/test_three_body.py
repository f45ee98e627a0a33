"""The Axilrod-Teller-Muto term."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from molcalc.dispersion import three_body
from molcalc.dispersion.d3 import D3Dispersion
from molcalc.dispersion.parameters import D3Parameters
from molcalc.dispersion.reference import reference_tables
from molcalc.dispersion.three_body import site_pairs
from molcalc.units import BOHR
from tests.helpers.dispersion import assert_same, atomic_results, make_batch
from tests.helpers.structures import rattled

ONLY_ATM = D3Parameters(s6=0.0, s8=0.0, a1=0.4, a2=4.8, s9=1.0)
ARGON_C6 = 64.6462  # Hartree·Bohr⁶, free atom, Grimme et al. (2010)


def argon(positions):
    return Atoms(f"Ar{len(positions)}", positions)


@pytest.mark.parametrize("sides", [(4.0, 4.0, 4.0), (5.0, 5.0, 10.0), (6.0, 7.0, 8.0)])
def test_argon_triangles_follow_the_formula(sides, path):
    a, b, c = sides
    x = (a * a + b * b - c * c) / (2.0 * a)
    atoms = argon([[0, 0, 0], [a, 0, 0], [x, math.sqrt(max(b * b - x * x, 0.0)), 0]])
    a, b, c = (side / BOHR for side in sides)
    cosines = [(u * u + v * v - w * w) / (2 * u * v) for u, v, w in ((a, b, c), (b, c, a), (c, a, b))]
    radius = 4.0 / 3.0 * reference_tables().vdw_radii[18, 18]
    damping = 1.0 / (1.0 + 6.0 * (radius**3 / (a * b * c)) ** (16.0 / 3.0))
    expected = ARGON_C6**1.5 * (1.0 + 3.0 * math.prod(cosines)) / (a * b * c) ** 3 * damping
    energy = atomic_results(atoms, D3Dispersion(ONLY_ATM))[0]
    assert energy == pytest.approx(expected, rel=1e-4)


def test_equilateral_triangle_repels_and_line_attracts(path):
    triangle = argon([[0, 0, 0], [4, 0, 0], [2, math.sqrt(12), 0]])
    line = argon([[0, 0, 0], [4, 0, 0], [8, 0, 0]])
    assert atomic_results(triangle, D3Dispersion(ONLY_ATM))[0] > 0
    assert atomic_results(line, D3Dispersion(ONLY_ATM))[0] < 0


def test_two_atoms_have_no_three_body_energy(path):
    assert atomic_results(molecule("H2"), D3Dispersion(ONLY_ATM))[0] == 0.0


def test_triples_of_images_are_counted_once(path):
    """An atom in a small cell, against the same crystal in larger cells."""
    term = D3Dispersion(ONLY_ATM, atm_cutoff=7.0)
    small = bulk("Ar", "fcc", 5.3)
    energy = atomic_results(small, term)[0]
    for repeats in ((2, 1, 1), (2, 2, 2)):
        large = atomic_results(small.repeat(repeats), term)
        assert large[0] / np.prod(repeats) == pytest.approx(energy, rel=1e-11)


def test_result_does_not_depend_on_direction_or_order_of_the_pairs(path):
    term = D3Dispersion(ONLY_ATM, atm_cutoff=6.0, cutoff=6.0, cn_cutoff=6.0)
    batch = make_batch(rattled(bulk("MgO", "rocksalt", 4.21)), listed_by=term)
    expected = term(batch, {})
    generator = np.random.default_rng(0)
    order = torch.as_tensor(generator.permutation(batch.pair_index.shape[1]))
    turn = torch.as_tensor(generator.random(len(order)) < 0.5)
    index = torch.where(turn, batch.pair_index.flip(0), batch.pair_index)[:, order]
    shifts = torch.where(turn[:, None], -batch.pair_shifts, batch.pair_shifts)[order]
    torch.testing.assert_close(term(replace(batch, pair_index=index, pair_shifts=shifts), {}), expected)


def test_site_pairs_list_every_triple_of_a_molecule_once():
    batch = make_batch(molecule("C2H6"), listed_by=D3Dispersion(ONLY_ATM))
    pairs = site_pairs(batch.pair_index, batch.pair_shifts, batch.pair_vectors(), math.inf)
    found = set()
    for p, q in three_body._pairs_of_pairs(pairs.ends[0], 8):
        found |= set(zip(*(x.tolist() for x in (pairs.ends[0][p], pairs.ends[1][p], pairs.ends[1][q]))))
    assert found == set(itertools.combinations(range(8), 3))


def test_chunks_do_not_change_the_result(monkeypatch):
    monkeypatch.setattr("molcalc.dispersion.d3.usable", lambda *tensors: False)
    term, atoms = D3Dispersion(ONLY_ATM, backend="torch"), molecule("C6H6")
    expected = atomic_results(atoms, term)
    monkeypatch.setattr(three_body, "TRIPLES_AT_ONCE", 7)
    assert_same(atomic_results(atoms, term), expected, 1e-15)
