"""Searches for minima: every call for forces is counted, distinct minima are told, what is none is not counted."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

pytest.importorskip("rdkit")
from molcalc.calculators import AIMNet2
from molcalc.conformers.force_field import MMFF94
from molcalc.conformers.metrics.any_calculator import NotRelaxed, Relaxed, relax_each
from molcalc.conformers.metrics.conformer_sets import ConformerSets
from molcalc.conformers.metrics.exchanges import Exchanges
from molcalc.conformers.metrics.minima_search import TIGHT, MinimaSearch, search_minima, union_of_minima
from molcalc.conformers.metrics.relaxed_sets import relaxed_energies
from molcalc.conformers.metrics.start_sources import Embedded, FarApart, Generated, Jittered, Restarted
from molcalc.conformers.molecules import molecule_of
from molcalc.conformers.rdkit_molecules import embed, molecule_of_smiles
from molcalc.errors import ConfigError, InputError
from tests.helpers.peroxides import peroxides

BUTANE = molecule_of_smiles("CCCC", "butane")
(STRUCTURE,) = embed(BUTANE, 1, 1)


class CountingField(MMFF94):
    """Force field that counts the structures it has seen."""

    n_calls = 0

    def calculate(
        self, atoms: Atoms | None = None, properties: Sequence[str] = ("energy",), system_changes: Sequence[str] = ()
    ) -> None:
        self.n_calls += 1
        super().calculate(atoms, properties, system_changes)


@pytest.fixture(scope="module")
def butanes() -> list[Atoms]:
    """Structures of butane, of all three minima."""
    return embed(BUTANE, 8, 1, relaxed=False)


def searched(frames: list[Atoms], calculator: MMFF94, force_calls: int) -> MinimaSearch:
    """Search of butane with structures in their order, over and over."""
    given = itertools.cycle(frames)
    return search_minima(
        Generated(lambda n: [next(given) for _ in range(n)]),
        calculator,
        STRUCTURE,
        force_calls=force_calls,
    )


def test_butane_has_three_minima_and_every_call_is_counted(butanes: list[Atoms]) -> None:
    calculator = CountingField(BUTANE)
    outcomes = relax_each(butanes, calculator, TIGHT)
    assert sum(outcome.calls for outcome in outcomes) == calculator.n_calls
    found = searched(butanes, MMFF94(BUTANE), calculator.n_calls)
    assert found.force_calls == calculator.n_calls
    assert found.n_starts == len(butanes)
    # Anti, and two gauche ones that are mirror images.
    assert len(found.minima) == 3
    assert sum(each.starts for each in found.minima) == len(butanes)
    energies = sorted(each.energy for each in found.minima)
    assert energies[1] == pytest.approx(energies[2], abs=1e-3)
    assert energies[1] - energies[0] == pytest.approx(0.034, abs=0.01)
    assert found.per_thousand_calls == pytest.approx(3000 / calculator.n_calls)
    spent = [each.found_after for each in found.minima]
    assert spent == sorted(spent)
    assert len(found.within(0.01, energies[0])) == 1
    assert found.numbers()["minima"] == 3


def test_a_search_ends_with_its_calls_and_leaves_what_is_beyond(butanes: list[Atoms]) -> None:
    found = searched(butanes[:3], MMFF94(BUTANE), 20)
    assert all(each.found_after <= 20 for each in found.minima)
    assert found.force_calls >= 20
    with pytest.raises(ConfigError, match="force_calls=0"):
        searched(butanes, MMFF94(BUTANE), 0)
    none = search_minima(Generated(lambda n: []), MMFF94(BUTANE), STRUCTURE, force_calls=5)
    assert (none.n_starts, len(none.minima), none.relaxed.shape) == (0, 0, (0, 14, 3))


def test_searches_are_compared_by_all_minima_that_any_knows(butanes: list[Atoms]) -> None:
    one, all_of_them = searched(butanes[:1], MMFF94(BUTANE), 30), searched(butanes, MMFF94(BUTANE), 150)
    found = union_of_minima([one, all_of_them], Exchanges.of(BUTANE, butanes[0].positions))
    assert found.shape == (3, 2)
    assert found.sum(axis=0).tolist() == [1, 3]


def test_starts_that_are_far_apart_come_first(butanes: list[Atoms]) -> None:
    """Anti, gauche and its mirror image, of twenty structures most of which are the first."""
    torsions = np.array([180.0] * 18 + [65.0, -65.0])
    frames = [BUTANE.structure(butanes[0].positions) for _ in torsions]
    for atoms, torsion in zip(frames, torsions):
        atoms.set_dihedral(0, 1, 2, 3, torsion, indices=[3, 11, 12, 13])
    source = FarApart(Generated(lambda n: frames[:n]), STRUCTURE, pool=20)
    found = [round(atoms.get_dihedral(0, 1, 2, 3)) for atoms in source.draw(3)[0]]
    assert sorted(found) == [65, 180, 295]
    assert source.name == "generator, far apart"
    assert FarApart(Generated(lambda n: []), STRUCTURE).draw(3) == ([], 0)
    with pytest.raises(InputError, match="pool=0"):
        FarApart(Generated(lambda n: []), STRUCTURE, pool=0)


def test_structures_with_other_bonds_or_stereochemistry_are_no_minima() -> None:
    chiral = molecule_of_smiles("C[C@H](O)F", "a chiral molecule")
    (atoms,) = embed(chiral, 1, 1)
    mirrored = atoms.copy()
    mirrored.positions *= -1.0
    given = iter([[atoms, mirrored], [], [], []])
    source = Generated(lambda n: next(given))
    found = search_minima(source, MMFF94(chiral), atoms, force_calls=1000)
    assert len(found.minima) == 1
    assert found.rejected == {"stereochemistry changed": 1}


def test_sources_say_what_their_structures_cost(butanes: list[Atoms]) -> None:
    calculator = CountingField(BUTANE)
    jittered, cost = Jittered(butanes, noise=0.05).draw(5)
    assert (len(jittered), cost) == (5, 0)
    assert all(min(np.abs(each.positions - frame.positions).max() for frame in butanes) < 0.3 for each in jittered)
    moved, cost = Restarted(butanes, calculator, temperature=300.0, steps=7).draw(3)
    assert (len(moved), cost, calculator.n_calls) == (3, 24, 24)
    assert Restarted(butanes, calculator, temperature=300.0, steps=7).draw(3)[0][1] == moved[1]
    with pytest.raises(InputError, match="no frames"):
        Jittered([])
    with pytest.raises(ConfigError, match="noise=-1"):
        Jittered(butanes, noise=-1.0)


def test_embedded_structures_have_the_stereochemistry_of_one_and_its_order_of_atoms() -> None:
    chiral = molecule_of_smiles("C[C@H](O)CF", "a chiral molecule")
    (atoms,) = embed(chiral, 1, 1)
    order = np.random.default_rng(0).permutation(len(atoms))
    shuffled = molecule_of(atoms[order], "it")
    made, cost = Embedded(atoms[order]).draw(6)
    assert cost == 0
    assert all(shuffled.bonds_kept(np.array([each.positions for each in made])))
    exchanges = Exchanges.of(shuffled, atoms.positions[order])
    assert exchanges.same_stereoisomer(np.array([each.positions for each in made])).all()


def test_models_relax_all_in_one_batch_with_the_same_counts(small: AIMNet2) -> None:
    frames = peroxides(2, seed=3)
    together = relax_each(frames, small, TIGHT)
    assert all(isinstance(each, Relaxed) and each.converged for each in together)
    torn = frames[0].copy()
    torn.positions[3] = torn.positions[2] + 1e-3
    (failed,) = relax_each([torn], small, TIGHT)
    assert isinstance(failed, NotRelaxed)
    sets = ConformerSets.of(molecule("H2O2"), frames * 2, frames * 2)
    found = relaxed_energies(sets, small)
    assert (found.kept, found.reference_kept, found.weight) == (1.0, 1.0, pytest.approx(1.0))
    assert found.minima == found.reference_minima == found.common
    assert found.calls == 2 * sum(each.calls for each in together)
    assert found.before[1] > found.after[1] >= 0.0
    assert ("bonds and stereochemistry kept", "1.000", "1.000") in found.rows()
