"""Terms that belong to a fidelity, in batches of one and of several."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from ase import Atoms
from ase.build import molecule
from torch import Tensor

from molcalc.assembly.by_fidelity import ByFidelity, part_of
from molcalc.assembly.terms import completed_by, completing_terms
from molcalc.batch import AtomicBatch, collate, from_atoms
from molcalc.calculators import D4
from molcalc.derivatives import evaluate
from molcalc.dispersion.d3 import D3Dispersion
from molcalc.electrostatics.coulomb import SimpleCoulomb
from molcalc.energy_term import EnergyTerm
from molcalc.fidelity import Fidelity
from molcalc.models.network import NoNetwork
from molcalc.potential import Potential
from tests.helpers.calculators import tiny_calculator
from tests.helpers.networks import FIDELITIES, tiny_checkpoint, tiny_multifidelity_checkpoint
from tests.helpers.structures import crystal, organic


class Counted(D3Dispersion):
    """D3 that notes the sizes of its batches."""

    def __init__(self, functional: str) -> None:
        super().__init__(functional, cutoff=9.0, cn_cutoff=7.0, switch_width=2.0)
        self.sizes: list[int] = []

    def forward(self, batch: AtomicBatch, predictions: Mapping[str, Tensor]) -> Tensor:
        self.sizes.append(batch.n_systems)
        return super().forward(batch, predictions)


def batch_of(images: list[Atoms], fidelities: list[int], pair_cutoff: float = 9.0) -> AtomicBatch:
    parts = [from_atoms(atoms, cutoff=5.0, pair_cutoff=pair_cutoff, total_charge=k) for k, atoms in enumerate(images)]
    return replace(collate(parts), fidelity=torch.tensor(fidelities))


def potential_of(*terms: EnergyTerm) -> Potential:
    return Potential([NoNetwork(range(1, 20))], list(terms))


def test_a_batch_of_one_fidelity_goes_to_its_term_only() -> None:
    first, second = Counted("pbe0"), Counted("b3lyp")
    term = ByFidelity([first, None, second])
    batch = batch_of([organic(), molecule("H2O")], [2, 2])
    assert torch.equal(term(batch, {}), second(batch, {}))
    assert first.sizes == []
    assert not term(replace(batch, fidelity=torch.tensor([1, 1])), {}).any()


def test_a_mixed_batch_gives_every_structure_the_energy_of_its_own_term() -> None:
    """Energy, forces and stress, in crystals and molecules of one batch."""
    first, second = Counted("pbe0"), Counted("b3lyp")
    images = [crystal(), organic(), molecule("CO2"), crystal()]
    batch = batch_of(images, [2, 0, 1, 0])
    mixed = evaluate(potential_of(ByFidelity([first, None, second])), batch, ("forces", "stress"))
    assert (first.sizes, second.sizes) == ([2], [1])
    for k, term in enumerate((second, first, None, first)):
        alone = batch_of([images[k]], [0])
        own = batch.system_idx == k
        if term is None:
            assert not mixed["energy"][k]
            assert not mixed["forces"][own].any()
            continue
        expected = evaluate(potential_of(term), alone, ("forces", "stress"))
        assert mixed["energy"][k] == pytest.approx(float(expected["energy"]), abs=1e-12)
        assert torch.allclose(mixed["forces"][own], expected["forces"], rtol=0, atol=1e-12)
        if alone.periodic:
            assert torch.allclose(mixed["stress"][k], expected["stress"][0], rtol=0, atol=1e-12)


def test_a_term_that_two_fidelities_share_is_evaluated_once() -> None:
    shared = Counted("pbe0")
    batch = batch_of([organic(), organic(1), organic(2)], [0, 1, 0])
    ByFidelity([shared, shared])(batch, {})
    assert shared.sizes == [3]


def test_structures_are_taken_out_of_a_batch_with_all_that_is_theirs() -> None:
    images = [organic(), crystal(), molecule("NH3"), organic(4)]
    whole = batch_of(images, [0, 1, 2, 3])
    part, atoms = part_of(whole, torch.tensor([False, True, False, True]))
    expected = collate([from_atoms(images[k], cutoff=5.0, pair_cutoff=9.0, total_charge=k) for k in (1, 3)])
    expected = replace(expected, fidelity=torch.tensor([1, 3]))
    for name, value in vars(expected).items():
        if isinstance(value, Tensor):
            assert torch.equal(getattr(part, name), value), name
    assert torch.equal(whole.positions[atoms], part.positions)
    assert torch.allclose(part.edge_vectors(), expected.edge_vectors())


def test_what_a_term_needs_is_what_any_of_them_needs() -> None:
    term = ByFidelity([SimpleCoulomb(), Counted("pbe0")])
    assert term.requires == ("charges",)
    assert not term.supports_periodic
    assert term.pair_cutoff == SimpleCoulomb().pair_cutoff
    batch = batch_of([organic(), molecule("H2O")], [1, 0], math.inf)
    charges = torch.linspace(-1.0, 1.0, batch.n_atoms, dtype=torch.float64)
    alone = SimpleCoulomb()(batch_of([molecule("H2O")], [0], math.inf), {"charges": charges[-3:]})
    assert torch.allclose(term(batch, {"charges": charges})[-3:], alone)


def test_d3_and_d4_complete_structures_of_one_batch() -> None:
    pytest.importorskip("dftd4")
    levels = [replace(FIDELITIES[0], dispersion="d4:pbe0"), *FIDELITIES[1:]]
    calc = tiny_calculator(tiny_multifidelity_checkpoint(fidelities=levels), fidelity="pbe0")
    atoms = organic()
    atoms.info["charge"] = 2
    for name, together in calc.compare_fidelities(atoms).items():
        calc.fidelity = name
        assert together["energy"] == pytest.approx(calc.get_potential_energy(atoms), abs=1e-9)
        assert together["forces"] == pytest.approx(calc.get_forces(atoms), abs=1e-9)
    calc.fidelity = "pbe0"
    assert calc.todict()["dispersion"] == "d4:pbe0"
    bare = tiny_calculator(tiny_multifidelity_checkpoint(fidelities=levels), fidelity="pbe0", dispersion=None)
    added = calc.get_potential_energy(atoms) - bare.get_potential_energy(atoms)
    assert added == pytest.approx(D4("pbe0").get_potential_energy(atoms), abs=1e-9)


def test_fidelities_of_equal_dispersion_have_one_term() -> None:
    config = replace(
        tiny_checkpoint().config,
        fidelities=(Fidelity(name="a", dispersion="d3bj:pbe0"), Fidelity(name="b", dispersion="d3bj:pbe0")),
    )
    terms, words = completing_terms(config, 0), completed_by(config, 0)
    assert isinstance(terms[-1], D3Dispersion)
    assert [each["dispersion"] for each in words] == ["d3bj:pbe0"] * 2
    terms, words = (function(config, 1, dispersion=None) for function in (completing_terms, completed_by))
    assert isinstance(terms[-1], ByFidelity)
    assert [each["dispersion"] for each in words] == ["d3bj:pbe0", "none"]
    bare = replace(config, fidelities=(Fidelity(name="a"), Fidelity(name="b")))
    assert [type(term) for term in completing_terms(bare, 0)] == [SimpleCoulomb]
