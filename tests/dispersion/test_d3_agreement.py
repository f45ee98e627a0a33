"""The native D3 energy equals that of the compiled dftd3 package: energies, forces, stress."""

from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk

from molcalc.dispersion.d3 import D3Dispersion
from molcalc.dispersion.parameters import d3_parameters
from molcalc.units import BOHR
from tests.helpers.dispersion import assert_same, atomic_results, library_results
from tests.helpers.structures import known_crystals, known_molecules, rattled

# Hartree, Hartree/Bohr, Hartree; the requirement is 1e-9.
TOLERANCE = 1e-11
FUNCTIONALS = ("pbe", "pbe0", "b3lyp", "wb97m", "b97-3c")
MOLECULES = known_molecules()
CRYSTALS = known_crystals()
# Bohr; short enough for the three-body sums of the plain torch path.
SHORT = (40.0, 25.0, 16.0)


def make_term(parameters, cutoffs=(60.0, 40.0, 40.0), **options):
    names = ("cutoff", "cn_cutoff", "atm_cutoff")
    return D3Dispersion(parameters, **{name: x * BOHR for name, x in zip(names, cutoffs)}, **options)


def library_crystal_results(atoms, parameters, cutoffs=(60.0, 40.0, 40.0)):
    """Version 1.7 of the package sums chains over one side only: hand them over as a crystal of far chains."""
    if atoms.pbc.sum() == 1:
        atoms = atoms.copy()
        atoms.cell.array[~atoms.pbc] = 60.0 * np.eye(3)[~atoms.pbc]
        atoms.pbc = True
    return library_results(atoms, parameters, cutoffs)


def test_there_are_at_least_forty_molecules():
    assert len(MOLECULES) >= 40
    assert max(atoms.numbers.max() for atoms in MOLECULES.values()) >= 86


@pytest.mark.parametrize("name", MOLECULES)
def test_molecules_agree_for_five_functionals(name, path):
    atoms = rattled(MOLECULES[name])
    for functional in FUNCTIONALS if path == "compiled" else FUNCTIONALS[1:2]:
        for atm in (False, True):
            parameters = d3_parameters(functional, atm=atm)
            ours = atomic_results(atoms, make_term(parameters))
            assert_same(ours, library_results(atoms, parameters), TOLERANCE)


@pytest.mark.parametrize("name", CRYSTALS)
def test_crystals_agree_with_default_cutoffs(name, path):
    atoms = rattled(CRYSTALS[name])
    parameters = d3_parameters("pbe0")
    assert_same(atomic_results(atoms, D3Dispersion(parameters)), library_crystal_results(atoms, parameters), TOLERANCE)


@pytest.mark.parametrize("name", CRYSTALS)
@pytest.mark.parametrize("functional", ["pbe0", "b3lyp"])
def test_crystals_agree_with_the_three_body_term(name, functional, path):
    atoms = rattled(CRYSTALS[name])
    cutoffs = SHORT if len(atoms) < 20 else (*SHORT[:2], 11.0)
    parameters = d3_parameters(functional, atm=True)
    ours = atomic_results(atoms, make_term(parameters, cutoffs))
    assert_same(ours, library_crystal_results(atoms, parameters, cutoffs), TOLERANCE)


@pytest.mark.parametrize("vacuum", [0, 1, 2], ids="xyz".__getitem__)
@pytest.mark.parametrize("skew", [-0.6, 0.35, 1.4])
@pytest.mark.parametrize("atm", [False, True])
def test_skewed_slabs_agree(vacuum, skew, atm, path):
    """Skewed in the plane; the vacuum vector is orthogonal to it, because the reference moves when it is tilted."""
    atoms = bulk("NaCl", "rocksalt", 5.64, cubic=True)
    plane = [axis for axis in range(3) if axis != vacuum]
    cell = np.diag([5.64, 5.64, 5.64])
    cell[plane[1], plane[0]] = skew * 5.64
    cell[vacuum, vacuum] = 25.0
    atoms.set_cell(cell)
    atoms.pbc = [axis != vacuum for axis in range(3)]
    atoms.positions[:, vacuum] += 3.0  # the reference wraps atoms into the cell in every direction
    atoms = rattled(atoms, seed=vacuum, amount=0.1)
    cutoffs = (40.0, 25.0, 16.0) if atm else (60.0, 40.0, 40.0)
    parameters = d3_parameters("b3lyp", atm=atm)
    ours = atomic_results(atoms, make_term(parameters, cutoffs))
    assert max(np.abs(ours[1]).max(), np.abs(ours[2]).max()) > 1e-4
    assert_same(ours, library_crystal_results(atoms, parameters, cutoffs), TOLERANCE)


@pytest.mark.parametrize("name", ["Fe(CO)5", "s22 Adenine-thymine_complex_stack", "UF6", "H2 at 3 Å"])
@pytest.mark.parametrize("atm", [False, True])
def test_backend_dftd3_is_the_library(name, atm):
    atoms, parameters = rattled(MOLECULES[name]), d3_parameters("b3lyp", atm=atm)
    ours = atomic_results(atoms, make_term(parameters, backend="dftd3"))
    assert_same(ours, library_crystal_results(atoms, parameters), TOLERANCE)


@pytest.mark.parametrize("name", ["urea", "MgO", "CO on Pt(111)", "polyacetylene"])
def test_backend_dftd3_is_the_library_for_crystals(name):
    atoms, parameters = rattled(CRYSTALS[name]), d3_parameters("pbe0", atm=True)
    ours = atomic_results(atoms, make_term(parameters, SHORT, backend="dftd3"))
    assert_same(ours, library_crystal_results(atoms, parameters, SHORT), TOLERANCE)


def test_molecules_larger_than_the_cutoffs_agree(path):
    """Some pairs, counts and triples are beyond their cutoffs, and some only just."""
    atoms = rattled(MOLECULES["s22 Adenine-thymine_complex_stack"])
    parameters, cutoffs = d3_parameters("pbe0", atm=True), (9.0, 6.0, 7.0)
    for backend in ("torch", "dftd3"):
        ours = atomic_results(atoms, make_term(parameters, cutoffs, backend=backend))
        assert_same(ours, library_crystal_results(atoms, parameters, cutoffs), TOLERANCE)


def test_planted_error_in_a_parameter_is_seen():
    atoms, parameters = MOLECULES["C6H6"], d3_parameters("pbe0")
    wrong = replace(parameters, a2=parameters.a2 * (1.0 + 1e-6))
    ours = atomic_results(atoms, D3Dispersion(wrong))
    with pytest.raises(AssertionError, match="energy"):
        assert_same(ours, library_crystal_results(atoms, parameters), TOLERANCE)
