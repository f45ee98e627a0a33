"""Labels of groups that turn."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from ase.build import molecule

from molcalc.conformers.molecules import molecule_of
from molcalc.conformers.vae.losses import center_volumes
from molcalc.conformers.vae.rotor_labels import RotorLabels
from molcalc.conformers.vae.topology import Topology


@pytest.mark.parametrize("name", ["CH3CH2OH", "C2H6", "CH3CONH2"])
def test_labels_come_back_into_the_order_of_the_reference(name: str) -> None:
    atoms = molecule(name)
    graph = molecule_of(atoms, name).graph
    labels = RotorLabels.of(graph, atoms.positions)
    ends = labels.rotors[0][3]
    for shift in range(3):
        mixed = atoms.positions.copy()
        mixed[list(ends)] = np.roll(atoms.positions[list(ends)], shift, axis=0)
        assert np.allclose(labels.put_in_order(mixed[None])[0], atoms.positions)


def test_no_order_is_taken_that_would_need_a_mirror() -> None:
    """Labels in the other sense stay in it."""
    import torch

    atoms = molecule("CH3CH2OH")
    graph = molecule_of(atoms, "ethanol").graph
    labels, centers = RotorLabels.of(graph, atoms.positions), torch.from_numpy(Topology.of(graph).centers)
    ends = list(labels.rotors[0][3])
    for order in itertools.permutations(range(3)):
        mixed = atoms.positions.copy()
        mixed[ends] = atoms.positions[ends][list(order)]
        before, after = (center_volumes(torch.from_numpy(x), centers).sign()
                         for x in (mixed[None], labels.put_in_order(mixed[None])))  # fmt: skip
        assert torch.equal(before, after)
