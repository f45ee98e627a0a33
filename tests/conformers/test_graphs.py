"""Maps of molecules onto themselves and onto each other."""

from __future__ import annotations

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

    def keeps_first(images: list[int], atom: int) -> bool:
        seen.append(atom)
        return atom != 1 or images[1] == 1

    assert len(list(mappings(graph, graph, keeps_first))) == 6
    assert len(seen) < 24 * 5


def test_a_part_remembers_what_it_was_bonded_to() -> None:
    graph = AtomGraph.of([6, 6, 8, 1], [(0, 1), (1, 2), (2, 3)])
    assert graph.part([0, 1]).colors[0] != graph.part([0, 1]).colors[1]
    assert AtomGraph.of([6, 6], [(0, 1)]).colors[0] == AtomGraph.of([6, 6], [(0, 1)]).colors[1]


def test_a_chain_of_many_atoms_needs_no_recursion() -> None:
    n = 1500
    graph = AtomGraph.of([6] * n, [(k, k + 1) for k in range(n - 1)])
    assert len(list(mappings(graph, graph))) == 2
