"""The form of D3 inside the published AIMNet2 files."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from molcalc.dispersion.d3 import D3Dispersion
from molcalc.dispersion.parameters import D3Parameters
from molcalc.dispersion.reference import reference_tables
from molcalc.errors import CellError
from molcalc.units import BOHR, HARTREE
from tests.helpers.dispersion import make_batch
from tests.helpers.structures import known_molecules

WB97M = D3Parameters(s6=1.0, s8=0.3908, a1=0.566, a2=3.128)
PUBLISHED = json.loads((Path(__file__).parents[1] / "data" / "aimnet2_published.json").read_text())["models"]


def energies(atoms, term):
    return term(make_batch(atoms), {})


@pytest.mark.parametrize("model", PUBLISHED)
def test_legacy_form_reproduces_the_published_files(model, path):
    term = D3Dispersion(D3Parameters(**PUBLISHED[model]["d3bj"]), legacy=True)
    for system in PUBLISHED[model]["systems"].values():
        atoms = Atoms(numbers=system["numbers"], positions=system["positions"])
        total = energies(atoms, term).sum().item()
        for member in system["float64"]:
            assert total == pytest.approx(member["e_disp"], abs=1e-11)


def legacy_energy(atoms, p):
    """The published form, term by term: clamp, all 25 slots, C6 = 0 below 1e-5, no cutoff. Hartree."""
    tables, n = reference_tables(legacy=True), len(atoms)
    r = atoms.get_all_distances() / BOHR
    z = atoms.numbers
    radii = tables.covalent_radii[z]
    cn = np.zeros(n)
    for i in range(n):
        others = [j for j in range(n) if j != i]
        cn[i] = sum(1.0 / (1.0 + math.exp(-16.0 * ((radii[i] + radii[j]) / r[i, j] - 1.0))) for j in others)
    cn = np.minimum(cn, tables.cn_max[z])
    energy = 0.0
    for i in range(n):
        for j in range(i):
            slots_i, slots_j = (np.arange(*tables.first[[x, x + 1]]) for x in (z[i], z[j]))
            c6 = np.zeros((5, 5))
            c6[: len(slots_i), : len(slots_j)] = tables.c6[np.ix_(slots_i, slots_j)]
            cn_i, cn_j = np.full(5, -1.0), np.full(5, -1.0)
            cn_i[: len(slots_i)], cn_j[: len(slots_j)] = tables.cn[slots_i], tables.cn[slots_j]
            weight = np.exp(-4.0 * ((cn[i] - cn_i)[:, None] ** 2 + (cn[j] - cn_j)[None] ** 2))
            if weight.sum() < 1e-5:
                continue
            q = 3.0 * tables.r4r2[z[i]] * tables.r4r2[z[j]]
            radius = p.a1 * math.sqrt(q) + p.a2
            damped = p.s6 / (r[i, j] ** 6 + radius**6) + p.s8 * q / (r[i, j] ** 8 + radius**8)
            energy -= (weight * c6).sum() / weight.sum() * damped
    return energy


@pytest.mark.parametrize("name", ["Ni(CO)4", "Fe(CO)5", "PdCl2(PH3)2", "H2 at 3 Å", "He2", "WF6", "UF6"])
def test_legacy_form_follows_its_definition_where_it_differs(name, path):
    atoms = known_molecules()[name]
    expected = legacy_energy(atoms, WB97M)
    assert energies(atoms, D3Dispersion(WB97M, legacy=True)).sum() / HARTREE == pytest.approx(expected, abs=1e-13)


def test_legacy_form_is_off_for_nickel_and_right_for_organics(path):
    """The reason why it is not the default; eV."""
    differences = {}
    for name in ("Ni(CO)4", "H2 at 3 Å", "CH3CONH2"):
        old, new = (
            energies(known_molecules()[name], D3Dispersion(WB97M, legacy=x)).sum().item() for x in (True, False)
        )
        differences[name] = old - new
    assert differences["Ni(CO)4"] > 0.05
    assert 1e-4 < differences["H2 at 3 Å"] < 1e-3
    assert abs(differences["CH3CONH2"]) < 1e-5


def test_legacy_form_without_cutoffs_refuses_crystals():
    atoms = bulk("NaCl", "rocksalt", 5.64)
    term = D3Dispersion(WB97M, legacy=True)
    batch = make_batch(atoms)
    assert not term.supports_periodic
    with pytest.raises(CellError, match="molecules only"):
        term(batch, {})
    assert energies(atoms, D3Dispersion(WB97M, legacy=True, cutoff=20.0, cn_cutoff=15.0)).isfinite().all()
