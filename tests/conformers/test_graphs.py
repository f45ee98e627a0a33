"""Maps of molecules onto themselves and onto each other."""

from __future__ import annotations

import itertools
import random

import pytest

from molcalc.conformers.graphs import AtomGraph, mappings

# Number of exchanges of atoms that keep all bonds: of carbon skeletons, known from their point groups.
SKELETONS = {
    "chain": ([6] * 4, [(0, 1), (1, 2), (2, 3)], 2),
    "ring of six": ([6] * 6, [(k, (k + 1) % 6) for k in range(6)], 12),
    "star": ([6] * 5, [(0, k) for k in range(1, 5)], 24),
    "cube": ([6] * 8, [(a, a | bit) for a in range(8) for bit in (1, 2, 4) if not a & bit], 48),
    "two pairs": ([6] * 4, [(0, 1), (2, 3)], 8),
    "alone": ([6] * 3, [], 6),
    "a chain with an oxygen": ([6, 6, 6, 8], [(0, 1), (1, 2), (2, 3)], 1),
}


@pytest.mark.parametrize("name", SKELETONS)
def test_all_exchanges_of_equal_atoms_are_found_once(name: str) -> None:
    labels, bonds, expected = SKELETONS[name]
    graph = AtomGraph.of(labels, bonds)
    found = [tuple(each) for each in mappings(graph, graph)]
    assert len(found) == len(set(found)) == expected
    for images in found:
        assert sorted(images) == list(range(len(labels)))
        assert {frozenset((images[i], images[j])) for i, j in bonds} == {frozenset(pair) for pair in bonds}


def test_a_molecule_is_mapped_onto_itself_in_another_order_of_atoms() -> None:
    labels, bonds, _ = SKELETONS["a chain with an oxygen"]
    order = [2, 0, 3, 1]
    other = AtomGraph.of([labels[k] for k in order], [(order.index(i), order.index(j)) for i, j in bonds])
    assert list(mappings(AtomGraph.of(labels, bonds), other)) == [[order.index(k) for k in range(4)]]


def test_isomers_have_no_map() -> None:
    chain, star = ([6] * 4, [(0, 1), (1, 2), (2, 3)]), ([6] * 4, [(0, 1), (0, 2), (0, 3)])
    assert not list(mappings(AtomGraph.of(*chain), AtomGraph.of(*star)))
    two_rings = [(0, 1), (1, 2), (2, 0), (3, 4), (4, 5), (5, 3)]  # each atom sees what one of a ring of six sees
    assert not list(mappings(AtomGraph.of(*SKELETONS["ring of six"][:2]), AtomGraph.of([6] * 6, two_rings)))


def test_a_search_turns_back_where_it_is_told_to() -> None:
    graph = AtomGraph.of(*SKELETONS["star"][:2])
    seen: list[int] = []

    def moves_first(images: list[int], atom: int) -> tuple[int, ...]:
        seen.append(atom)
        return () if atom != 1 or images[1] == 1 else (1,)

    assert len(list(mappings(graph, graph, moves_first))) == 6
    assert len(seen) < 24 * 5


@pytest.mark.parametrize("seed", range(8))
def test_no_map_is_passed_over_where_pairs_of_atoms_have_no_place_together(seed: int) -> None:
    chance = random.Random(seed)
    n = chance.choice((4, 5, 6))
    bonds = [pair for pair in itertools.combinations(range(n), 2) if chance.random() < 0.35]
    graph = AtomGraph.of([6] * n, bonds)
    forbidden = {(i, j, a, b) for i, j, a, b in itertools.product(range(n), repeat=4) if chance.random() < 0.04}

    def conflict(images: list[int], atom: int) -> tuple[int, ...]:
        pairs = (((i, j), (images[i], images[j])) for i in range(n) if images[i] >= 0 for j in (atom,))
        return next((pair for pair, there in pairs if {(*pair, *there), (*pair[::-1], *there[::-1])} & forbidden), ())

    edges = {frozenset(bond) for bond in bonds}
    right = [
        images
        for images in itertools.permutations(range(n))
        if {frozenset((images[i], images[j])) for i, j in bonds} == edges
        and not any((i, j, images[i], images[j]) in forbidden for i, j in itertools.product(range(n), repeat=2))
    ]
    assert sorted(map(tuple, mappings(graph, graph, conflict))) == sorted(right)


def test_groups_that_have_nothing_to_do_with_a_conflict_are_left_alone() -> None:
    """A chain with many CH3 groups, the end of which has no place: each group has six exchanges."""
    n = 40
    chain = [(k, k + 1) for k in range(n - 1)]
    methyls = [(k, n + k) for k in range(n)]
    hydrogens = [(n + k, 2 * n + 3 * k + each) for k in range(n) for each in range(3)]
    graph = AtomGraph.of([9, *[6] * (2 * n - 1), *[1] * (3 * n)], [*chain, *methyls, *hydrogens])
    seen: list[int] = []

    def last_has_none(images: list[int], atom: int) -> tuple[int, ...]:
        seen.append(atom)
        return (n - 1, n - 2) if atom == graph.walk[-1][0] else ()

    assert not list(mappings(graph, graph, last_has_none))
    assert len(seen) < 20 * n


def test_a_part_remembers_what_it_was_bonded_to() -> None:
    graph = AtomGraph.of([6, 6, 8, 1], [(0, 1), (1, 2), (2, 3)])
    assert graph.part([0, 1]).colors[0] != graph.part([0, 1]).colors[1]
    assert AtomGraph.of([6, 6], [(0, 1)]).colors[0] == AtomGraph.of([6, 6], [(0, 1)]).colors[1]


def test_a_chain_of_many_atoms_needs_no_recursion() -> None:
    n = 1500
    graph = AtomGraph.of([6] * n, [(k, k + 1) for k in range(n - 1)])
    assert len(list(mappings(graph, graph))) == 2
