"""Metrics of whole sets: identity, one hand of two, remembered structures, and sets that are refused."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from molcalc.conformers.metrics.conformer_sets import ConformerMetrics, ConformerSets, conformer_metrics
from molcalc.errors import InputError
from tests.helpers.peroxides import peroxides

STRUCTURE = molecule("H2O2")


def metrics(generated: list[Atoms], reference: list[Atoms], train: list[Atoms] | None = None) -> ConformerMetrics:
    """Metrics of peroxides."""
    return conformer_metrics(ConformerSets.of(STRUCTURE, generated, reference, train))


def test_the_reference_itself_is_perfect() -> None:
    frames = peroxides(40)
    found = metrics(frames, frames, frames)
    assert all(each.value == 0.0 for each in found.divergences)
    assert (found.coverage.recall, found.coverage.precision) == (1.0, 1.0)
    assert found.coverage.mean_recall == pytest.approx(0.0, abs=1e-5)
    assert found.nearest_train == pytest.approx((0.0, 0.0, 0.0), abs=1e-5)
    assert found.validity == found.reference_validity
    assert found.validity["all"] == 1.0
    assert ("COV-R at 0.5 Å", "1.000", "1.000") in found.rows()


@pytest.mark.parametrize(("positive", "mirrored"), [(1.0, 0.0), (0.0, 1.0)], ids=["of its hand", "of the other"])
def test_mirror_images_are_told(positive: float, mirrored: float) -> None:
    found = metrics(peroxides(40, seed=1, positive=positive), peroxides(40, seed=2, positive=1.0))
    assert found.mirrored == mirrored
    assert found.positive_torsions["H2–O0–O1–H3"][:2] == (positive, 1.0)


def test_what_is_missing_lowers_recall_and_what_is_wrong_lowers_precision() -> None:
    both, one = peroxides(60, seed=1), peroxides(60, seed=2, positive=1.0)
    half = metrics(one, both).coverage
    assert half.recall_curve[2] == pytest.approx(np.mean([a.get_dihedral(2, 0, 1, 3) < 180.0 for a in both]), abs=0.1)
    assert half.precision == 1.0
    torn = [atoms.copy() for atoms in one]
    for atoms in torn[:30]:
        atoms.positions[3] += 3.0
    found = metrics(torn, both)
    assert found.coverage.precision == pytest.approx(0.5)
    assert found.validity["bonds"] == pytest.approx(0.5)
    assert found.validity["all"] == pytest.approx(0.5)


def test_sets_of_other_molecules_or_of_nothing_are_refused() -> None:
    frames = peroxides(6)
    broken = [atoms.copy() for atoms in frames]
    broken[4].positions[0] = np.nan
    for generated, reference, message in (
        (frames, frames[:3], "reference: 3 structures; at least 4"),
        ([], frames, "generated: 0 structures"),
        ([*frames[:2], molecule("H2O")], frames, "generated, structure 2: atoms OH2"),
        ([frames[0][[0, 2, 1, 3]]], frames, "generated, structure 0"),
        (frames, broken, "reference, structure 4: positions are not finite"),
    ):
        with pytest.raises(InputError, match=message):
            metrics(generated, reference)
    apart = molecule("H2O2")
    apart.positions[[0, 2]] += 5.0
    with pytest.raises(InputError, match="2 parts"):
        ConformerSets.of(apart, frames, frames)


def test_what_is_no_list_of_molecules_is_refused() -> None:
    frames = peroxides(8)
    for wrong, words in (
        (frames[0], "generated: one structure was given where a list is expected"),
        ("frames.xyz", "generated: 'frames.xyz' is a str; expected a list of ase.Atoms"),
        ([frames[0], "a"], "generated: structure 1 is 'a', a str"),
    ):
        with pytest.raises(InputError, match=words):
            metrics(wrong, frames)  # type: ignore[arg-type]
    wrapped = frames[3].copy()
    wrapped.pbc = True
    with pytest.raises(
        InputError, match=r"reference, structure 3: pbc=\[True, True, True\]: conformers are of molecules"
    ):
        metrics(frames, [*frames[:3], wrapped])
