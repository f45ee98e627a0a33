"""Pair lists, translations and derivatives by the cell."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

from molcalc.batch import collate, from_atoms
from molcalc.dispersion.lattice import (
    check_cells,
    complete_pairs,
    completed_cell,
    derivative_by_cell,
    translations,
)
from molcalc.errors import CellError

CELL = np.array([[3.0, 0.2, 0.1], [0.5, 4.0, 0.0], [0.3, 0.4, 5.0]])
MIXES = list(itertools.product([False, True], repeat=3))


@pytest.mark.parametrize("pbc", MIXES)
def test_translations_bring_every_pair_within_the_cutoff(pbc):
    """Against all translations of a large block."""
    positions, cutoff, pbc = np.random.default_rng(1).normal(0.0, 8.0, (4, 3)), 7.0, np.array(pbc)
    found = translations(CELL, pbc, positions, cutoff)
    if pbc.any():
        fractions = found.wrapped @ np.linalg.inv(completed_cell(CELL, pbc, positions, 0.0))
        assert ((fractions[:, pbc] >= -1e-12) & (fractions[:, pbc] < 1 + 1e-12)).all()
    block = [np.arange(-9, 10) if p else [0] for p in pbc]
    every = np.array(list(itertools.product(*block))) @ CELL
    for i, j in itertools.product(range(4), repeat=2):
        counts = [
            int((np.linalg.norm(x[j] - x[i] + t, axis=1) <= cutoff).sum())
            for x, t in ((found.wrapped, every), (found.wrapped, found.vectors[:3].T))
        ]
        assert counts[0] == counts[1]
    lengths = found.vectors[3]
    assert lengths[0] == 0.0
    assert (np.diff(lengths) >= 0).all()
    np.testing.assert_allclose(lengths, np.linalg.norm(found.vectors[:3], axis=0))


def test_a_long_cell_takes_no_more_translations_than_its_cutoff_needs():
    """Atoms at both of its ends are farther apart than a million of its short vectors would fill."""
    positions = np.array([[0.0, 0.0, 0.5], [1.0, 0.0, -0.5]])
    found = translations(np.diag([9.0, 9.0, 9000.0]), np.array([True] * 3), positions, 50.0)
    assert found.vectors.shape[1] < 1000


@pytest.mark.parametrize("pbc", [(True, False, False), (False, True, True), (True, True, True)])
def test_completed_cell_keeps_periodic_rows_and_adds_orthogonal_ones(pbc):
    cell = np.array([[3.0, 0.2, 0.1], [0.5, 4.0, 0.0], [0.3, 0.4, 5.0]])
    positions = np.random.default_rng(0).normal(0.0, 3.0, (5, 3))
    pbc = np.array(pbc)
    completed = completed_cell(cell, pbc, positions, vacuum=20.0)
    np.testing.assert_array_equal(completed[pbc], cell[pbc])
    np.testing.assert_allclose(completed[~pbc] @ cell[pbc].T, 0.0, atol=1e-12)
    assert (np.linalg.norm(completed[~pbc], axis=1) > 20.0).all()


def test_missing_pairs_are_found_and_present_ones_kept():
    images = [molecule("H2O"), bulk("NaCl", "rocksalt", 5.64), molecule("H")]
    listed = collate([from_atoms(x, cutoff=0.1, pair_cutoff=9.0) for x in images])
    assert complete_pairs(listed, 9.0) is listed
    bare = collate([from_atoms(x, cutoff=0.1) for x in images])
    found = complete_pairs(bare, 9.0)
    assert found.pair_cutoff == 9.0
    keys = [sorted(map(tuple, torch.cat([x.pair_index.T, x.pair_shifts], dim=1).tolist())) for x in (found, listed)]
    assert keys[0] == keys[1]


def test_pairs_at_the_very_cutoff_are_found():
    batch = from_atoms(bulk("Ar", "sc", 4.0), cutoff=0.1)
    assert complete_pairs(batch, 4.0).pair_index.shape[1] == 3


@pytest.mark.parametrize("pbc", MIXES)
def test_derivative_by_cell_inverts_the_chain_rule(pbc):
    generator, pbc = np.random.default_rng(0), np.array(pbc)
    positions, gradient = generator.normal(size=(2, 5, 3))
    expected = generator.normal(size=(3, 3)) * pbc[:, None]
    by_strain = positions.T @ gradient + CELL.T @ expected
    np.testing.assert_allclose(derivative_by_cell(by_strain, gradient, positions, CELL, pbc), expected, atol=1e-12)


def test_cells_without_volume_are_named():
    flat = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 1.0, 0.0]])
    good = from_atoms(bulk("Ar", "sc", 4.0), cutoff=0.1)
    bad = replace(good, cell=torch.as_tensor(flat)[None])
    check_cells(good)
    check_cells(replace(bad, pbc=torch.tensor([[True, True, False]]), cell=torch.eye(3)[None].double()))
    with pytest.raises(CellError, match=r"structure 1: .* cell rank 2"):
        check_cells(collate([good, bad]))
    with pytest.raises(CellError, match=r"structure 0: .*\[1.0, 1.0, 0.0\].* lie in one plane"):
        check_cells(replace(bad, pbc=torch.tensor([[True, True, False]])))
