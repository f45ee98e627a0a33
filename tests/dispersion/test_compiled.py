"""Compiled loops equal the torch reference, on one thread and on several."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from molcalc.batch import collate
from molcalc.dispersion import compiled as loops
from molcalc.dispersion.compiled import choose_loops, compiled_energies
from molcalc.dispersion.d3 import D3Dispersion
from molcalc.dispersion.energies import dispersion_energies
from molcalc.dispersion.parameters import d3_parameters
from molcalc.dispersion.reference import atom_data
from molcalc.kernels.runtime import available
from molcalc.units import BOHR, HARTREE
from tests.helpers.dispersion import make_batch
from tests.helpers.structures import known_crystals, known_molecules, rattled

pytestmark = pytest.mark.skipif(not available(), reason="numba is not installed")
TOLERANCE = 1e-12
MOLECULES = ["Ni(CO)4", "s22 Indole-benzene_T-shape_complex", "He2", "UF6"]
CRYSTALS = ["urea", "NaCl", "CO on Pt(111)"]
OPTIONS = {
    "default": {"cutoff": 12.0, "cn_cutoff": 9.0, "atm_cutoff": 7.0},
    "switched": {"cutoff": 12.0, "cn_cutoff": 9.0, "atm_cutoff": 7.0, "switch_width": 3.0},
    "legacy": {"legacy": True, "cutoff": 12.0, "cn_cutoff": 9.0},
}


def dispersion_energies_in_ev(batch, term):
    in_bohr = replace(batch, positions=batch.positions / BOHR, cell=batch.cell / BOHR)
    return HARTREE * dispersion_energies(in_bohr, atom_data(batch.numbers, legacy=term.legacy), term.form)


def torch_results(batch, term, weights):
    positions, cell = batch.positions.clone().requires_grad_(), batch.cell.clone().requires_grad_()
    energies = dispersion_energies_in_ev(replace(batch, positions=positions, cell=cell), term)
    gradients = torch.autograd.grad((weights * energies).sum(), (positions, cell), materialize_grads=True)
    return energies.detach(), *gradients


def make_term(option):
    return D3Dispersion(d3_parameters("pbe0", atm=option != "legacy"), **OPTIONS[option])


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize(
    "names", [["Ni(CO)4", "s22 Indole-benzene_T-shape_complex", "He2", "UF6"], ["urea", "NaCl", "CO on Pt(111)"]]
)
@pytest.mark.parametrize("kind", ["all pairs", "listed"])
@pytest.mark.parametrize("n_threads", [1, 3])
def test_every_output_equals_torch_for_any_weights(option, names, kind, n_threads, monkeypatch):
    if n_threads > 1:
        monkeypatch.setattr(torch, "get_num_threads", lambda: n_threads)
        monkeypatch.setattr("molcalc.kernels.runtime.SERIAL_WORK", 100.0)
    monkeypatch.setattr(loops, "LISTED_COST", 0.0 if kind == "listed" else 1e9)
    systems, term = {**known_molecules(), **known_crystals()}, make_term(option)
    batch = collate([make_batch(rattled(systems[name]), listed_by=term) for name in names])
    weights = torch.as_tensor(np.random.default_rng(1).normal(size=batch.n_atoms))
    atoms = atom_data(batch.numbers, legacy=term.legacy)
    expected_kind = "listed" if kind == "listed" else ("lattice" if batch.periodic else "molecules")
    assert choose_loops(batch, term.range).kind == expected_kind
    ours = compiled_energies(batch, atoms, term.form, weights)
    for a, b in zip(ours, torch_results(batch, term, weights)):
        torch.testing.assert_close(a, b, rtol=0.0, atol=TOLERANCE)


def test_lists_are_used_where_they_save_work():
    term = D3Dispersion("pbe0", cutoff=4.0, cn_cutoff=4.0)
    far = known_molecules()["C6H6"]
    for k in range(1, 8):
        copy = known_molecules()["C6H6"]
        copy.translate([8.0 * k, 0.0, 0.0])
        far += copy
    wide = known_crystals()["MgO"].repeat(3)
    for atoms, listed, expected in ((far, True, "listed"), (far, False, "molecules"), (wide, False, "listed")):
        batch = make_batch(atoms, listed_by=term if listed else None)
        assert choose_loops(batch, term.range).kind == expected
        ours = term(batch, {})
        plain = dispersion_energies_in_ev(make_batch(atoms, listed_by=term), term)
        torch.testing.assert_close(ours, plain, rtol=0.0, atol=1e-12)


def test_small_cells_with_long_cutoffs_are_summed_over_translations():
    term = D3Dispersion("pbe0")
    for listed in (False, True):
        batch = make_batch(known_crystals()["MgO"], listed_by=term if listed else None)
        assert choose_loops(batch, term.range).kind == "lattice"


def test_atoms_far_outside_the_cell_give_the_same_derivatives():
    term, atoms = make_term("default"), rattled(known_crystals()["urea"])
    batch = make_batch(atoms)
    numbers = atom_data(batch.numbers)
    expected = compiled_energies(batch, numbers, term.form, None)
    shifts = np.random.default_rng(0).integers(-200, 200, (len(atoms), 3))
    atoms.positions += shifts @ atoms.cell.array
    moved = compiled_energies(make_batch(atoms), numbers, term.form, None)
    for a, b in zip(moved[:2], expected[:2]):
        torch.testing.assert_close(a, b, rtol=0.0, atol=1e-11)
    # At fixed positions, atoms in other cells follow a change of the cell: the chain rule by hand.
    by_cell = expected[2] - torch.as_tensor(shifts.T, dtype=torch.float64) @ expected[1]
    torch.testing.assert_close(moved[2], by_cell, rtol=0.0, atol=1e-8)


def test_weights_and_energies_of_a_molecule_do_not_touch_others():
    term = make_term("default")
    batches = [make_batch(rattled(known_molecules()[name])) for name in ("C6H6", "H2 at 3 Å")]
    batch = collate(batches)
    weights = torch.zeros(batch.n_atoms, dtype=torch.float64)
    weights[:12] = 1.0
    by_positions = compiled_energies(batch, atom_data(batch.numbers), term.form, weights)[1]
    assert (by_positions[12:] == 0.0).all()
    assert (by_positions[:12] != 0.0).any()
