"""Which structures a generator takes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from molcalc.conformers.vae.reference import ReferenceStructure
from molcalc.errors import InputError
from molcalc.train.data.opening import open_dataset
from tests.helpers.twisted_frames import rattled, twisted


def stretched(atoms: Atoms) -> Atoms:
    atoms.positions[3] += 1.5 * (atoms.positions[3] - atoms.positions[1])
    return atoms


def other_hand(atoms: Atoms) -> Atoms:
    atoms.positions *= -1.0
    return atoms


def changed(name: str, change: Callable[[Atoms], Atoms | None]) -> Callable[[], Atoms]:
    def make() -> Atoms:
        atoms = molecule(name)
        return change(atoms) or atoms

    return make


CASES = [
    (lambda: molecule("CH3OH"), "structure 1 has 6 atoms; C2H6O has 9"),
    (changed("CH3CH2OH", lambda a: a[[1, 0, 2, 3, 4, 5, 6, 7, 8]]), "structure 1 has .*|structure 1: C"),
    (changed("CH3CH2OH", lambda a: a[[2, 1, 0, 3, 4, 5, 6, 7, 8]]), "structure 1 has atoms in another order: atom 0"),
    (changed("CH3CH2OH", lambda a: a.set_pbc(True)), "structure 1: pbc="),
    (changed("CH3CH2OH", lambda a: a.info.update(charge=1)), "structure 1 has charge 1; C2H6O here has 0"),
    (changed("CH3CH2OH", stretched), r"structure 1 has other bonds than the reference: bond .* is broken"),
    (changed("CH3CH2OH", lambda a: a.positions.__setitem__((2, 0), np.nan)), "structure 1: positions are not finite"),
    (changed("CH3CH2OH", other_hand), r"structure 1: C0 is the mirror image of that in the reference"),
]


@pytest.mark.parametrize(("make", "message"), CASES)
def test_structures_of_something_else_are_refused_and_named(make: Callable[[], Atoms], message: str) -> None:
    reference = ReferenceStructure.of(molecule("CH3CH2OH"))
    with pytest.raises(InputError, match=message):
        reference.frames_of([molecule("CH3CH2OH"), make()])


def test_rows_of_something_else_are_refused_and_named() -> None:
    reference = ReferenceStructure.of(molecule("CH3CH2OH"))
    frames = rattled("CH3CH2OH", 3)
    assert reference.frames_in(open_dataset(frames)).shape == (3, 9, 3)
    with pytest.raises(InputError, match=r"structure 2.* has other bonds"):
        reference.frames_in(open_dataset([*frames[:2], stretched(frames[2])]))


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        (molecule("H2O") + Atoms("He", [[9, 9, 9]]), "is of 2 molecules, with 3, 1 atoms"),
        (Atoms("He"), "is one atom, which has no conformers"),
        (Atoms("H2", [[0, 0, 0], [0, 0, 0.74]], pbc=True, cell=[9, 9, 9]), "pbc="),
    ],
    ids=["two", "atom", "periodic"],
)
def test_what_is_no_molecule_is_refused(atoms: Atoms, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ReferenceStructure.of(atoms)


def test_both_hands_of_a_molecule_without_centers_are_taken() -> None:
    frames = twisted(8)
    assert ReferenceStructure.of(frames[0]).frames_of(frames).shape == (8, 4, 3)
