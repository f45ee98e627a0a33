"""The D3 energy term: gradients of any order, periodicity, batches, bad input."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from molcalc.batch import collate
from molcalc.dispersion.d3 import D3Dispersion
from molcalc.dispersion.parameters import D3Parameters, d3_parameters
from molcalc.errors import CellError, ConfigError, UnsupportedElementError
from molcalc.units import BOHR, HARTREE
from tests.helpers.checks import assert_gradients_exact
from tests.helpers.dispersion import atomic_results, make_batch
from tests.helpers.structures import dimer, known_crystals, known_molecules, random_rotation, rattled

WB97M = D3Parameters(s6=1.0, s8=0.3908, a1=0.566, a2=3.128)
PBE0_ATM = d3_parameters("pbe0", atm=True)
# s-dftd3 1.7, benzene of ASE's g2 set, omegaB97M-D3(BJ), Hartree: without and with three-body term.
BENZENE, BENZENE_ATM = -0.01642424, -0.01641483
SHORT = {"cutoff": 6.0, "cn_cutoff": 5.0, "atm_cutoff": 4.0}


def energies(atoms, term):
    return term(make_batch(atoms), {})


def function_of_positions_and_cell(atoms, term):
    batch = make_batch(atoms)

    def function(positions, cell):
        return term(replace(batch, positions=positions, cell=cell), {})

    return function, (batch.positions.clone().requires_grad_(), batch.cell.clone().requires_grad_())


@pytest.mark.parametrize(("s9", "expected"), [(0.0, BENZENE), (1.0, BENZENE_ATM)])
def test_benzene_matches_the_published_program(s9, expected, path):
    total = energies(molecule("C6H6"), D3Dispersion(replace(WB97M, s9=s9))).sum().item() / HARTREE
    assert total == pytest.approx(expected, abs=1e-8)


# Gradients


@pytest.mark.parametrize("switch_width", [0.0, 2.0])
def test_first_derivatives_of_each_energy_are_exact(switch_width, path):
    """gradcheck asks for the gradient of single energies, not only of their sum."""
    term = D3Dispersion(PBE0_ATM, **SHORT, switch_width=switch_width)
    for atoms in (rattled(molecule("CH3OH")), rattled(bulk("MgO", "rocksalt", 4.21))):
        assert_gradients_exact(*function_of_positions_and_cell(atoms, term), second=False)


@pytest.mark.parametrize("backend", ["torch", "dftd3"])
def test_second_derivatives_are_exact(backend, path):
    term = D3Dispersion(PBE0_ATM, **SHORT, backend=backend)
    for atoms in (rattled(molecule("H2O")), rattled(bulk("LiH", "rocksalt", 4.08))):
        assert_gradients_exact(*function_of_positions_and_cell(atoms, term))


def test_legacy_derivatives_are_exact(path):
    term = D3Dispersion(WB97M, legacy=True)
    function, arguments = function_of_positions_and_cell(rattled(molecule("CH3OH")), term)
    assert_gradients_exact(function, arguments, second=False)
    function, arguments = function_of_positions_and_cell(rattled(molecule("H2O")), term)
    assert_gradients_exact(function, arguments)


def test_hessian_equals_differences_of_forces(path):
    term, atoms = D3Dispersion(PBE0_ATM), rattled(molecule("C2H4"))
    function, (positions, cell) = function_of_positions_and_cell(atoms, term)
    (gradient,) = torch.autograd.grad(function(positions, cell).sum(), positions, create_graph=True)
    rows = [torch.autograd.grad(x, positions, retain_graph=True)[0] for x in gradient.reshape(-1)]
    hessian = torch.stack(rows).reshape(18, 18).numpy()
    np.testing.assert_allclose(hessian, hessian.T, atol=1e-12)
    for k in (0, 7, 17):
        sides = []
        for step in (1e-4, -1e-4):
            moved = atoms.copy()
            moved.positions.flat[k] += step
            sides.append(atomic_results(moved, term)[1].reshape(-1) * HARTREE / BOHR)
        np.testing.assert_allclose(hessian[k], (sides[0] - sides[1]) / 2e-4, atol=1e-8)


def test_results_are_the_same_with_and_without_a_graph(path):
    """First derivatives must not depend on who computes them."""
    term = D3Dispersion(PBE0_ATM, **SHORT)
    for atoms in (rattled(molecule("C6H6")), rattled(known_crystals()["urea"])):
        function, arguments = function_of_positions_and_cell(atoms, term)
        plain, graph = (
            torch.autograd.grad(function(*arguments).sum(), arguments, create_graph=x, materialize_grads=True)
            for x in (False, True)
        )
        for a, b in zip(plain, graph):
            torch.testing.assert_close(a, b, rtol=0.0, atol=1e-11)


# Physics


def test_rotation_reflection_and_translation_change_nothing(path):
    term, atoms = D3Dispersion(PBE0_ATM), rattled(molecule("CH3CONH2"))
    expected = atomic_results(atoms, term)
    matrix = random_rotation(3)
    for transform in (matrix, -matrix):
        moved = atoms.copy()
        moved.positions = atoms.positions @ transform + 1000.0
        energy, gradient, _ = atomic_results(moved, term)
        assert energy == pytest.approx(expected[0], abs=1e-13)
        np.testing.assert_allclose(gradient, expected[1] @ transform, atol=1e-12)


def test_order_of_atoms_changes_nothing(path):
    term, atoms = D3Dispersion(PBE0_ATM), rattled(known_molecules()["PdCl2(PH3)2"])
    order = np.random.default_rng(0).permutation(len(atoms))
    torch.testing.assert_close(energies(atoms[order], term), energies(atoms, term)[order])


@pytest.mark.parametrize("name", ["NaCl", "graphite"])
def test_supercells_have_the_same_energy_per_atom(name, path):
    """The primitive cells are much smaller than the cutoffs: atoms interact with their own images."""
    atoms = known_crystals()[name]
    term = D3Dispersion(PBE0_ATM, cutoff=12.0, cn_cutoff=10.0, atm_cutoff=6.0)
    per_atom = energies(atoms, term)
    large = energies(atoms.repeat((3, 2, 1)), term)
    torch.testing.assert_close(large, per_atom.repeat(6), rtol=1e-11, atol=0.0)


def test_atoms_wrapped_into_other_cells_change_nothing(path):
    term, atoms = D3Dispersion(PBE0_ATM, **SHORT), rattled(known_crystals()["urea"])
    moved = atoms.copy()
    moved.positions += np.random.default_rng(0).integers(-3, 4, (len(atoms), 3)) @ atoms.cell.array
    torch.testing.assert_close(energies(moved, term), energies(atoms, term), rtol=0.0, atol=1e-12)


def test_cell_of_a_molecule_is_ignored(path):
    term, atoms = D3Dispersion("pbe0"), molecule("H2O")
    expected = energies(atoms, term)
    atoms.cell = [1.0, 1.0, 1.0]
    assert torch.equal(energies(atoms, term), expected)


@pytest.mark.parametrize("quantity", ["cutoff", "cn_cutoff", "atm_cutoff"])
def test_switch_makes_energy_and_forces_continuous_at_each_cutoff(quantity, path):
    ranges = {"cutoff": 8.0, "cn_cutoff": 8.0, "atm_cutoff": 8.0, quantity: 6.0}
    term = D3Dispersion(PBE0_ATM, **ranges, switch_width=1.5)

    def at(distance):
        atoms = Atoms("ArXeAr", [[0, 0, 0], [0, 3.6, 0], [distance, 0, 0]])
        energy, gradient, _ = atomic_results(atoms, term)
        return energy, gradient

    below, above = at(6.0 - 1e-9), at(6.0 + 1e-9)
    assert abs(below[0] - above[0]) < 1e-12
    np.testing.assert_allclose(below[1], above[1], atol=1e-10)
    forces = np.array([at(r)[1] for r in np.linspace(5.95, 6.05, 41)])
    assert np.abs(np.diff(forces, axis=0)).max() < 1e-2 * np.abs(forces).max()


def test_switch_changes_nothing_well_inside(path):
    atoms = molecule("C6H6")
    smooth = D3Dispersion("pbe0", cutoff=12.0, cn_cutoff=12.0, switch_width=2.0)
    hard = D3Dispersion("pbe0", cutoff=12.0, cn_cutoff=12.0)
    torch.testing.assert_close(energies(atoms, smooth), energies(atoms, hard), rtol=0.0, atol=1e-15)


# Batches


@pytest.mark.parametrize("name", ["urea", "CO on Pt(111)", "polyacetylene"])
def test_pair_list_of_the_batch_changes_nothing(name, path):
    term, atoms = D3Dispersion(PBE0_ATM, **SHORT), rattled(known_crystals()[name])
    for a, b in zip(atomic_results(atoms, term, listed=True), atomic_results(atoms, term)):
        np.testing.assert_allclose(a, b, rtol=0.0, atol=1e-13)


@pytest.mark.parametrize("backend", ["torch", "dftd3"])
def test_batch_equals_single_structures(backend, path):
    term = D3Dispersion(PBE0_ATM, **SHORT, backend=backend)
    images = [molecule("H2O"), bulk("NaCl", "rocksalt", 5.64), molecule("C6H6"), known_crystals()["CO on Pt(111)"]]
    images += [molecule("H"), known_crystals()["polyacetylene"]]
    batches = [make_batch(rattled(image)) for image in images]
    for a, b in zip(joined_results([collate(batches)], term), joined_results(batches, term)):
        torch.testing.assert_close(a, b, rtol=0.0, atol=1e-12)


def joined_results(batches, term):
    """Energies and gradients by positions and cell, joined over batches."""
    parts = []
    for batch in batches:
        leaves = batch.positions.clone().requires_grad_(), batch.cell.clone().requires_grad_()
        values = term(replace(batch, positions=leaves[0], cell=leaves[1]), {})
        parts.append((values.detach(), *torch.autograd.grad(values.sum(), leaves, materialize_grads=True)))
    return [torch.cat(column) for column in zip(*parts)]


def test_structures_of_a_batch_do_not_see_each_other(path):
    term = D3Dispersion("pbe0")
    batch = collate([make_batch(molecule(name)) for name in ("H2O", "CH4")])
    positions = batch.positions.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(term(replace(batch, positions=positions), {})[:3].sum(), positions)
    assert (gradient[3:] == 0.0).all()
    assert (gradient[:3] != 0.0).any()


@pytest.mark.parametrize("images", [("C6H6", "H2O"), ("NaCl", "NaCl")])
def test_one_structure_with_nan_leaves_the_others_alone(images, path):
    term = D3Dispersion(PBE0_ATM, **SHORT)
    systems = known_molecules() | {"H2O": molecule("H2O"), "NaCl": bulk("NaCl", "rocksalt", 5.64)}
    good, bad = (make_batch(rattled(systems[name]), listed_by=term) for name in images)
    bad = replace(bad, positions=bad.positions * math.nan)
    expected, both = joined_results([good], term), joined_results([collate([good, bad])], term)
    n = good.n_atoms
    for values, reference in zip(both[:2], expected[:2]):
        torch.testing.assert_close(values[:n], reference, rtol=0.0, atol=1e-14)
        assert values[n:].isnan().all()
    torch.testing.assert_close(both[2][:1], expected[2], rtol=0.0, atol=1e-14)


@pytest.mark.parametrize("backend", ["torch", "dftd3"])
def test_single_atom_and_far_atoms_have_no_energy_and_no_forces(backend, path):
    term = D3Dispersion(PBE0_ATM, backend=backend)
    for atoms in (molecule("H"), dimer("H2", 50.0)):
        energy, gradient, _ = atomic_results(atoms, term)
        assert energy == 0.0
        assert (gradient == 0.0).all()


def test_single_precision_positions_give_double_precision_energies(path):
    term = D3Dispersion("pbe0")
    batch = make_batch(molecule("C6H6"))
    single = replace(batch, positions=batch.positions.float())
    values = term(single, {})
    assert values.dtype == torch.float64
    torch.testing.assert_close(values, term(batch, {}), rtol=0.0, atol=1e-6)


def test_moving_the_term_to_single_precision_changes_nothing(path):
    batch = make_batch(molecule("C6H6"))
    expected = D3Dispersion("pbe0")(batch, {})
    assert torch.equal(D3Dispersion("pbe0").float()(batch, {}), expected)


# Bad input


@pytest.mark.parametrize("backend", ["torch", "dftd3"])
@pytest.mark.parametrize("number", [0, 95, 118])
def test_element_without_data_is_named(number, backend):
    atoms = molecule("H2O")
    atoms.numbers[1] = number
    with pytest.raises(UnsupportedElementError, match=rf"Z={number} \(atoms \[1\]\)"):
        energies(atoms, D3Dispersion("pbe0", backend=backend))


@pytest.mark.parametrize("name", ["cutoff", "cn_cutoff", "atm_cutoff"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan])
def test_cutoffs_must_be_positive(name, value):
    with pytest.raises(ConfigError, match=f"^{name}="):
        D3Dispersion(WB97M, **{name: value})


@pytest.mark.parametrize("value", [-0.1, 21.2, math.nan])
def test_switch_must_fit_into_the_shortest_cutoff(value):
    with pytest.raises(ConfigError, match=r"^switch_width=.*21\.1671 Å"):
        D3Dispersion(WB97M, switch_width=value)


def test_unknown_backend_is_refused():
    with pytest.raises(ConfigError, match="backend='numba'.*auto, torch, dftd3"):
        D3Dispersion(WB97M, backend="numba")


@pytest.mark.parametrize("options", [{"legacy": True}, {"switch_width": 1.0}])
def test_backend_dftd3_refuses_what_it_cannot_do(options):
    with pytest.raises(ConfigError, match="use backend='torch'"):
        D3Dispersion(WB97M, backend="dftd3", **options)


def test_legacy_form_refuses_the_three_body_term():
    with pytest.raises(ConfigError, match="s9=1"):
        D3Dispersion(PBE0_ATM, legacy=True)


@pytest.mark.parametrize("value", [None, {"s6": 1.0}, 3])
def test_parameters_of_another_type_are_refused(value):
    with pytest.raises(ConfigError, match="needs D3Parameters or the name"):
        D3Dispersion(value)


def test_unknown_functional_is_refused():
    with pytest.raises(ConfigError, match="near matches"):
        D3Dispersion("pbe00")


@pytest.mark.parametrize(("cell", "pbc"), [([3, 0, 3], True), (np.ones((3, 3)), True), ([3, 0, 3], [0, 1, 0])])
def test_cell_without_volume_is_refused(cell, pbc, path):
    atoms = Atoms("Ar", cell=cell)
    batch = make_batch(atoms)
    batch = replace(batch, pbc=torch.as_tensor(np.broadcast_to(pbc, (1, 3)).copy(), dtype=torch.bool))
    with pytest.raises(CellError, match="structure 0: .*(cell rank|next to no volume)"):
        D3Dispersion("pbe0")(batch, {})
