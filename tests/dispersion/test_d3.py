"""The D3 energy term against its definition and against the published AIMNet2 values."""

import math

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

from molcalc.batch import collate, from_atoms
from molcalc.dispersion.d3 import D3Dispersion
from molcalc.dispersion.parameters import D3Parameters
from molcalc.errors import CellError, ConfigError, UnsupportedElementError
from molcalc.units import HARTREE

WB97M = D3Parameters(s6=1.0, s8=0.3908, a1=0.566, a2=3.128)
# s-dftd3 1.7, benzene of ASE's g2 set, omegaB97M-D3(BJ), two-body, Hartree.
BENZENE = -0.01642424


def energies(atoms, term):
    return term(from_atoms(atoms, cutoff=5.0, pair_cutoff=term.pair_cutoff), {})


def test_benzene_matches_the_published_program():
    total = energies(molecule("C6H6"), D3Dispersion("wb97m")).sum().item() / HARTREE
    assert total == pytest.approx(BENZENE, abs=1e-8)


def test_batch_equals_single_structures():
    term = D3Dispersion("pbe0")
    images = [molecule("H2O"), bulk("NaCl", "rocksalt", 5.64), molecule("C6H6"), molecule("H")]
    batches = [from_atoms(x, cutoff=5.0, pair_cutoff=term.pair_cutoff) for x in images]
    together = term(collate(batches), {})
    alone = torch.cat([term(batch, {}) for batch in batches])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-12)


def test_single_atom_has_no_energy():
    for legacy in (False, True):
        assert energies(molecule("H"), D3Dispersion("pbe0", legacy=legacy)).tolist() == [0.0]


def test_element_without_data_is_named():
    atoms = molecule("H2O")
    for number in (0, 95, 118):
        atoms.numbers[1] = number
        with pytest.raises(UnsupportedElementError, match=rf"Z={number} \(atoms \[1\]\)"):
            energies(atoms, D3Dispersion("pbe0"))


@pytest.mark.parametrize("name", ["cutoff", "cn_cutoff"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan])
def test_cutoffs_must_be_positive(name, value):
    with pytest.raises(ConfigError, match=f"^{name}="):
        D3Dispersion(WB97M, **{name: value})


def test_batch_with_too_short_a_range_is_refused():
    batch = from_atoms(molecule("H2O"), cutoff=5.0, pair_cutoff=10.0)
    with pytest.raises(ConfigError, match=r"31\.751 Å; the batch holds 10\.000"):
        D3Dispersion("pbe0")(batch, {})


def test_legacy_form_without_cutoffs_refuses_crystals():
    atoms = bulk("NaCl", "rocksalt", 5.64)
    batch = from_atoms(atoms, cutoff=5.0, pair_cutoff=20.0)
    with pytest.raises(CellError, match="molecules only"):
        D3Dispersion(WB97M, legacy=True)(batch, {})
    term = D3Dispersion(WB97M, legacy=True, cutoff=20.0, cn_cutoff=15.0)
    assert np.isfinite(energies(atoms, term).sum().item())
