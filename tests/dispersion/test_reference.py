"""Reference tables and the interpolation of C6."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

import molcalc.dispersion
from molcalc.dispersion.reference import (
    D3_LAST_ELEMENT,
    InterpolatedC6,
    atom_data,
    reference_tables,
    reference_weights,
)
from molcalc.errors import UnsupportedElementError

DATA = Path(molcalc.dispersion.__file__).parent / "data"
ALL_ELEMENTS = torch.arange(1, D3_LAST_ELEMENT + 1)


@pytest.mark.parametrize("name", ["d3.npz", "d3_legacy.npz"])
def test_table_files_are_those_the_notice_describes(name):
    digest = hashlib.sha256((DATA / name).read_bytes()).hexdigest()
    assert digest in (DATA / "NOTICE").read_text()


@pytest.mark.peers
def test_tables_equal_those_of_tad_dftd3():
    reference = pytest.importorskip("tad_dftd3.reference").Reference(dtype=torch.float64)
    tables = reference_tables()
    for z, partner in ((1, 6), (26, 8), (78, 17), (92, 9), (94, 94)):
        a, b = (slice(tables.first[x], tables.first[x + 1]) for x in (z, partner))
        stored = tables.c6[a, b]
        theirs = reference.c6[z, partner].numpy()[: stored.shape[0], : stored.shape[1]]
        np.testing.assert_array_equal(stored, theirs)
        np.testing.assert_array_equal(tables.cn[a], reference.cn[z].numpy()[: stored.shape[0]].astype(np.float64))


def test_legacy_tables_are_the_same_numbers_in_single_precision():
    current, legacy = reference_tables(), reference_tables(legacy=True)
    old = int(current.first[87])  # elements from Fr on were parametrized again later
    assert int(legacy.first[87]) == old
    np.testing.assert_array_equal(legacy.c6[:old, :old], current.c6[:old, :old].astype(np.float32))
    np.testing.assert_allclose(legacy.covalent_radii[1:], current.covalent_radii[1:], rtol=2e-7)
    np.testing.assert_allclose(legacy.r4r2[1:], current.r4r2[1:], rtol=2e-7)


def test_hydrogen_has_its_published_values():
    # Grimme et al., J. Chem. Phys. 132, 154104 (2010): C6 of two free hydrogen atoms, <r4>/<r2> of H.
    tables = reference_tables()
    first = tables.first[1]
    assert tables.cn[first : tables.first[2]].tolist() == [0.9118, 0.0]
    assert tables.c6[first + 1, first + 1] == pytest.approx(7.5916, abs=1e-4)
    assert tables.r4r2[1] == pytest.approx(2.007349, abs=1e-7)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("cn", [0.0, 1.7, 4.0, 12.0])
def test_weights_are_positive_and_sum_to_one(cn, legacy):
    atoms = atom_data(ALL_ELEMENTS, legacy=legacy)
    weights, _ = reference_weights(torch.full((D3_LAST_ELEMENT,), cn, dtype=torch.float64), atoms)
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(D3_LAST_ELEMENT, dtype=torch.float64))
    if not legacy:
        assert (weights[atoms.reference_cn < 0] == 0).all()


@pytest.mark.parametrize("cn", [50.0, 1000.0])
def test_weights_stay_defined_far_from_every_reference(cn):
    """exp(−4 (50 − 4)²) is zero in double precision: the plain quotient would be 0/0."""
    atoms = atom_data(ALL_ELEMENTS)
    count = torch.full((D3_LAST_ELEMENT,), cn, dtype=torch.float64, requires_grad=True)
    weights, _ = reference_weights(count, atoms)
    nearest = atoms.reference_cn.argmax(1)
    assert (weights.argmax(1) == nearest).all()
    (gradient,) = torch.autograd.grad(weights.square().sum(), count)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("dense", [False, True])
def test_factorised_c6_equals_the_double_sum(dense):
    numbers = torch.tensor([1, 6, 26, 8, 92])
    atoms, tables = atom_data(numbers), reference_tables()
    cn = torch.tensor([0.9, 3.1, 5.2, 1.4, 5.0], dtype=torch.float64)
    weights, _ = reference_weights(cn, atoms)
    index = torch.triu_indices(5, 5)
    c6 = InterpolatedC6(weights, atoms, dense=dense).between(index[0], index[1])
    for value, (i, j) in zip(c6, index.T.tolist()):
        a, b = (np.arange(*tables.first[[z, z + 1]]) for z in (int(numbers[i]), int(numbers[j])))
        la = np.exp(-4.0 * (float(cn[i]) - tables.cn[a]) ** 2)
        lb = np.exp(-4.0 * (float(cn[j]) - tables.cn[b]) ** 2)
        pair = np.outer(la, lb)
        assert value == pytest.approx((pair * tables.c6[np.ix_(a, b)]).sum() / pair.sum(), rel=1e-12)


@pytest.mark.parametrize("number", [0, -1, 95, 118])
def test_elements_without_data_are_refused(number):
    with pytest.raises(UnsupportedElementError, match=rf"Z={number} \(atoms \[1\]\); supported: Z=1 to 94"):
        atom_data(torch.tensor([1, number]))
