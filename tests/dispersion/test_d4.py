"""The D4 energy term: numbers of other programs, periodicity, batches, bad input."""

import math
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from molcalc.batch import collate
from molcalc.dispersion.d4 import D4Dispersion
from molcalc.dispersion.parameters import D4Parameters, d4_parameters
from molcalc.errors import CellError, ConfigError, UnsupportedElementError
from molcalc.units import BOHR, HARTREE
from tests.helpers.dispersion import D4_MOLECULES, SMOOTH_D4, assert_same, make_batch, results, sums_of_structures
from tests.helpers.structures import known_crystals, random_rotation, rattled

interface = pytest.importorskip("dftd4.interface")

# Name, charge, functional, Hartree from tad-dftd4 0.8.0 (tad-multicharge 0.5.0), an independent program in torch.
REFERENCE = [
    ("C6H6", 0, "pbe0", -0.008988144295),
    ("CH3CONH2", 0, "b3lyp", -0.007439945300),
    ("CCl4", 0, "tpss", -0.011442382384),
    ("ammonium", 1, "pbe0", -0.000313733995),
    ("OH", -1, "pbe0", -0.000138295901),
    ("CH3O", -1, "wb97x", -0.003454775256),
    ("CN", -1, "blyp", -0.001673394810),
    ("sodium water", 1, "pbe0", -0.000591710512),
    ("NH3", 1, "r2scan", -0.000053975877),
    ("H2 at 3 Å", 0, "pbe", -0.000115051485),
    ("Xe2", 0, "scan", -0.000162107151),
    ("Ni(CO)4", 0, "pbe0", -0.008480572078),
    ("Fe(CO)5", 0, "revpbe", -0.039835838512),
    ("PdCl2(PH3)2", 0, "b3lyp", -0.024985698337),
    ("WF6", 0, "pbe0", -0.004837994201),
    ("s22 Adenine-thymine_complex_stack", 0, "wb97m", -0.055838793458),
    ("s22 Benzene-methane_complex", 0, "b2plyp", -0.009869369209),
]
PROGRAMS_AGREE = 1e-9  # Hartree; 6.5e-10 measured (Fe(CO)5)
SAME_LIBRARY = 1e-12


def library_results(atoms, functional, charge=0, cutoffs=(60.0, 40.0, 30.0)):
    """Energy, gradient and virial of the package in atomic units; ``cutoffs`` of pairs, triples and counts in Bohr."""
    lattice = (atoms.cell.array / BOHR, atoms.pbc) if atoms.pbc.any() else ()
    model = interface.DispersionModel(atoms.numbers, atoms.positions / BOHR, float(charge), *lattice)
    model.set_realspace_cutoff(*cutoffs)
    found = model.get_dispersion(interface.DampingParam(method=functional), grad=True)
    return float(found["energy"]), found["gradient"], found["virial"]


# Numbers


@pytest.mark.parametrize(("name", "charge", "functional", "expected"), REFERENCE, ids=lambda x: str(x))
def test_energies_are_those_of_two_programs(name, charge, functional, expected):
    atoms = D4_MOLECULES[name]
    energies, by_positions, by_strain = results(make_batch(atoms, charge), D4Dispersion(functional))
    assert energies.sum().item() / HARTREE == pytest.approx(expected, abs=PROGRAMS_AGREE)
    ours = energies.sum().item() / HARTREE, by_positions.numpy() * BOHR / HARTREE, by_strain.numpy() / HARTREE
    assert_same(ours, library_results(atoms, functional, charge), SAME_LIBRARY)


@pytest.mark.parametrize(("name", "cutoffs"), [("urea", (40.0, 15.0, 25.0)), ("NaCl", (60.0, 40.0, 30.0))])
def test_crystals_are_those_of_the_package(name, cutoffs):
    atoms = rattled(known_crystals()[name])
    term = D4Dispersion("pbe", **{f"{key}cutoff": x * BOHR for key, x in zip(("", "atm_", "cn_"), cutoffs)})
    energies, by_positions, by_strain = results(make_batch(atoms), term)
    ours = energies.sum().item() / HARTREE, by_positions.numpy() * BOHR / HARTREE, by_strain.numpy() / HARTREE
    assert_same(ours, library_results(atoms, "pbe", cutoffs=cutoffs), SAME_LIBRARY)


def test_the_charge_of_the_batch_enters():
    energies = [D4Dispersion("pbe0")(make_batch(molecule("NH3"), q), {}).sum() for q in (-1, 0, 1)]
    assert energies[0] < energies[1] < energies[2] < 0.0


def test_three_body_energy_is_left_out_on_request():
    atoms = D4_MOLECULES["C6H6"]
    both = [results(make_batch(atoms), D4Dispersion(d4_parameters("pbe0", atm=x)))[0].sum() for x in (True, False)]
    # dftd4 4.3.1: non-additive part of benzene with PBE0, Hartree.
    assert (both[0] - both[1]).item() / HARTREE == pytest.approx(3.60999472e-6, abs=1e-13)


# Physics


def test_rotation_translation_and_order_change_nothing():
    term, atoms = D4Dispersion("pbe0"), rattled(molecule("CH3CONH2"))
    energies, by_positions, _ = results(make_batch(atoms), term)
    matrix = random_rotation(3)
    order = np.random.default_rng(0).permutation(len(atoms))
    moved = atoms.copy()[order]
    moved.positions = moved.positions @ matrix + 100.0
    found = results(make_batch(moved), term)
    torch.testing.assert_close(found[0], energies[order], rtol=0.0, atol=1e-12)
    torch.testing.assert_close(found[1], by_positions[order] @ torch.as_tensor(matrix), rtol=0.0, atol=1e-11)


def test_supercell_has_the_same_energy_per_atom():
    """The library's charges of small cells are converged to about 1e-8 Hartree per atom."""
    term, atoms = D4Dispersion("pbe0", cutoff=12.0, atm_cutoff=6.0), bulk("NaCl", "rocksalt", 5.64)
    one, many = (term(make_batch(x), {}).mean().item() / HARTREE for x in (atoms, atoms.repeat((2, 2, 1))))
    assert many == pytest.approx(one, abs=3e-8)


def test_triples_of_a_crystal_are_summed_once(monkeypatch):
    """They take nearly all the time: 0.5 of 1.9 s of a copper crystal went into their share of each atom."""
    model, triples = interface.DispersionModel, []
    pairwise = model.get_pairwise_dispersion

    def recorded(self, damping):
        shares = pairwise(self, damping)
        triples.append(np.abs(shares["non-additive pairwise energy"]).max())
        return shares

    monkeypatch.setattr(model, "get_pairwise_dispersion", recorded)
    crystal, options = make_batch(rattled(bulk("NaCl", "rocksalt", 5.64))), {"cutoff": 12.0, "atm_cutoff": 6.0}
    term = D4Dispersion("pbe0", **options)
    of_pairs = D4Dispersion(replace(term.damping, s9=0.0), **options)
    of_triples = results(crystal, term)[0] - results(crystal, of_pairs)[0]
    assert triples == [0.0, 0.0]
    torch.testing.assert_close(of_triples, of_triples.mean().expand(2), rtol=0.0, atol=1e-15)
    assert of_triples.sum() > 1e-4
    results(make_batch(molecule("H2O")), term)
    assert triples[2] > 0.0


def test_single_atom_has_no_energy_and_no_forces():
    energies, by_positions, _ = results(make_batch(molecule("H")), D4Dispersion("pbe0"))
    assert energies.item() == 0.0
    assert not by_positions.any()


def test_cell_of_a_molecule_is_ignored():
    term, atoms = D4Dispersion("pbe0"), molecule("H2O")
    expected = term(make_batch(atoms), {})
    atoms.cell = [1.0, 1.0, 1.0]
    assert torch.equal(term(make_batch(atoms), {}), expected)


# Batches


def test_batch_equals_single_structures():
    term = D4Dispersion("pbe0", **SMOOTH_D4)
    images = [(molecule("H2O"), 0), (bulk("NaCl", "rocksalt", 5.64), 0), (molecule("OH"), -1), (molecule("H"), 0)]
    batches = [make_batch(rattled(image), charge) for image, charge in images]
    singles = [results(batch, term) for batch in batches]
    joined = results(collate(batches), term)
    for k in (0, 1):
        torch.testing.assert_close(joined[k], torch.cat([single[k] for single in singles]), rtol=0.0, atol=1e-12)


def test_structures_may_have_different_weights():
    """As in a loss that compares total energies."""
    batches = [make_batch(rattled(molecule(name))) for name in ("H2O", "CH4")]
    function, (positions, cell) = sums_of_structures(collate(batches), D4Dispersion("pbe0"))
    (gradient,) = torch.autograd.grad(function(positions, cell) @ torch.tensor([2.0, -3.0]).double(), positions)
    expected = [w * results(b, D4Dispersion("pbe0"))[1] for w, b in zip((2.0, -3.0), batches)]
    torch.testing.assert_close(gradient, torch.cat(expected), rtol=0.0, atol=1e-13)


def test_one_structure_with_nan_leaves_the_others_alone():
    term = D4Dispersion("pbe0")
    good, bad = make_batch(molecule("CH4")), make_batch(molecule("H2O"))
    bad = replace(bad, positions=bad.positions * math.nan)
    both, alone = results(collate([good, bad]), term), results(good, term)
    for k in (0, 1):
        assert torch.equal(both[k][:5], alone[k])
        assert both[k][5:].isnan().all()


def test_single_precision_positions_give_double_precision_energies():
    batch = make_batch(molecule("C6H6"))
    values = D4Dispersion("pbe0")(replace(batch, positions=batch.positions.float()), {})
    torch.testing.assert_close(values, D4Dispersion("pbe0")(batch, {}), rtol=0.0, atol=1e-6)


# Bad input


@pytest.mark.parametrize("pbc", [(True, True, False), (True, False, False)])
def test_slabs_and_chains_are_refused_with_two_ways_out(pbc):
    atoms = bulk("NaCl", "rocksalt", 5.64, cubic=True)
    atoms.pbc = pbc
    with pytest.raises(CellError, match=r"structure 1 has pbc=.*set pbc=True with enough vacuum.*or use D3"):
        D4Dispersion("pbe0")(collate([make_batch(molecule("H2O")), make_batch(atoms)]), {})


def test_cell_without_volume_is_refused():
    batch = make_batch(Atoms("Ar", cell=[3.0, 0.0, 3.0]))
    batch = replace(batch, pbc=torch.ones(1, 3, dtype=torch.bool))
    with pytest.raises(CellError, match="structure 0: .*(cell rank|next to no volume)"):
        D4Dispersion("pbe0")(batch, {})


@pytest.mark.parametrize("number", [0, 104, 118])
def test_element_without_data_is_named(number):
    atoms = molecule("H2O")
    atoms.numbers[1] = number
    with pytest.raises(UnsupportedElementError, match=rf"D4 has no data for Z={number} \(atoms \[1\]\)"):
        D4Dispersion("pbe0")(make_batch(atoms), {})


@pytest.mark.parametrize("name", ["cutoff", "cn_cutoff", "atm_cutoff"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_cutoffs_must_be_positive(name, value):
    with pytest.raises(ConfigError, match=f"^{name}="):
        D4Dispersion("pbe0", **{name: value})


@pytest.mark.parametrize("value", [-0.1, 21.2, math.nan])
def test_switch_must_fit_into_the_shorter_cutoff(value):
    with pytest.raises(ConfigError, match=r"^switch_width=.*21\.1671 Å"):
        D4Dispersion("pbe0", switch_width=value)


@pytest.mark.parametrize("value", [None, 3, {"s6": 1.0}])
def test_parameters_of_another_type_are_refused(value):
    with pytest.raises(ConfigError, match="needs D4Parameters or the name"):
        D4Dispersion(value)


def test_missing_package_is_one_error_that_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "dftd4.interface", None)
    with pytest.raises(ConfigError, match=r"the package dftd4, which is not installed: pip install 'molcalc\[d4\]'"):
        D4Dispersion(D4Parameters(1.0, 1.2, 0.4, 5.0))
