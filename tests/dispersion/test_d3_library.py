"""The backend that calls the dftd3 package."""

from dataclasses import replace

import pytest
import torch
from ase.build import molecule

from molcalc.dispersion import d3
from molcalc.dispersion.d3 import D3Dispersion
from molcalc.errors import ConfigError
from tests.helpers.dispersion import assert_same, atomic_results, make_batch
from tests.helpers.structures import known_crystals, rattled


@pytest.fixture
def calls(monkeypatch):
    """Names of the engines used, in order."""
    used = []
    for name in ("compiled_energies", "library_energies"):
        original = getattr(d3, name)
        monkeypatch.setattr(d3, name, lambda *args, n=name, f=original: (used.append(n), f(*args))[1])
    return used


def test_auto_prefers_compiled_loops_then_the_library_then_torch(calls, monkeypatch):
    atoms = molecule("C6H6")
    monkeypatch.setattr(d3, "usable", lambda *tensors: False)
    atomic_results(atoms, D3Dispersion("pbe0"))
    assert calls == ["library_energies"]
    for options in ({"legacy": True}, {"switch_width": 1.0}, {"backend": "torch"}):
        atomic_results(atoms, D3Dispersion("pbe0", **options))
    assert calls == ["library_energies"]
    monkeypatch.setattr(d3, "usable", lambda *tensors: True)
    atomic_results(atoms, D3Dispersion("pbe0"))
    assert calls == ["library_energies", "compiled_energies"]


def test_energies_of_atoms_equal_the_native_ones():
    for atoms in (rattled(molecule("CH3CONH2")), rattled(known_crystals()["urea"])):
        options = {"cutoff": 10.0, "cn_cutoff": 8.0}
        both = [D3Dispersion("b3lyp", **options, backend=backend) for backend in ("dftd3", "torch")]
        library, native = (term(make_batch(atoms), {}) for term in both)
        torch.testing.assert_close(library, native, rtol=0.0, atol=1e-11)


@pytest.mark.parametrize("name", ["CO on Pt(111)", "graphite"])
def test_direction_of_vacuum_vectors_does_not_matter(name):
    """The library alone moves by 1e-6 Hartree when the vacuum vector of a slab is tilted."""
    atoms = rattled(known_crystals()[name])
    atoms.pbc = [True, True, False]
    term = D3Dispersion("pbe0", backend="dftd3")
    expected = atomic_results(atoms, term)
    atoms.cell.array[2] += 0.3 * atoms.cell.array[0] + 0.2 * atoms.cell.array[1]
    assert_same(atomic_results(atoms, term), expected, 1e-13)
    assert_same(atomic_results(atoms, D3Dispersion("pbe0", backend="torch")), expected, 1e-11)


@pytest.mark.parametrize("name", ["CO on Pt(111)", "polyacetylene"])
@pytest.mark.parametrize("shift", [-30.0, -7.0, -1.0, 5.0, 17.0])
def test_place_along_a_direction_without_periodicity_does_not_matter(name, shift):
    """The library alone wraps the atoms of a slab that crosses the boundary of its cell, which cuts it in two."""
    atoms = rattled(known_crystals()[name])
    term = D3Dispersion("pbe0", backend="dftd3")
    expected = atomic_results(atoms, D3Dispersion("pbe0", backend="torch"))
    atoms.positions[:, ~atoms.pbc] += shift
    assert_same(atomic_results(atoms, term), expected, 1e-11)


@pytest.mark.parametrize("name", ["CO on Pt(111)", "polyacetylene"])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)], ids=["vectors in order", "vectors in another order"])
@pytest.mark.parametrize("compiled", [True, False], ids=["loops", "torch alone"])
def test_orientation_of_slabs_and_chains_does_not_matter(name, order, compiled, monkeypatch):
    """The library alone is wrong by a fifth for a slab that does not lie in the plane of x and y."""
    if not compiled:
        monkeypatch.setattr(d3, "usable", lambda *tensors: False)
    atoms = rattled(known_crystals()[name])
    atoms.set_cell(atoms.cell.array[list(order)])
    atoms.pbc = [atoms.pbc[k] for k in order]
    for axis, angle in (("x", 30.0), ("y", 15.0), ("z", 40.0)):
        atoms.rotate(angle, axis, rotate_cell=True)
    options = {"cutoff": 9.0, "cn_cutoff": 7.0}
    expected = atomic_results(atoms, D3Dispersion("pbe0", **options, backend="torch"))
    assert_same(atomic_results(atoms, D3Dispersion("pbe0", **options, backend="dftd3")), expected, 1e-11)


def test_tensors_elsewhere_than_on_the_cpu_are_refused():
    term = D3Dispersion("pbe0", backend="dftd3")
    batch = make_batch(molecule("H2O")).to("meta")
    with pytest.raises(ConfigError, match="needs tensors on the CPU, not on meta"):
        term(batch, {})


def test_first_derivatives_of_each_energy_are_exact():
    """The library differentiates the plain sum only; other weights must go through torch."""
    term = D3Dispersion("pbe0", cutoff=6.0, cn_cutoff=5.0, backend="dftd3")
    for atoms in (rattled(molecule("H2O")), rattled(known_crystals()["NaCl"])):
        batch = make_batch(atoms)
        leaves = batch.positions.clone().requires_grad_(), batch.cell.clone().requires_grad_()
        function = lambda x, h, b=batch: term(replace(b, positions=x, cell=h), {})  # noqa: E731
        assert torch.autograd.gradcheck(function, leaves)
