"""What a model remembers of its training data, alone and joined with that of others."""

from __future__ import annotations

import numpy as np
import pytest

from molcalc.knowledge import CLOSER, NEAR, Knowledge, independent, too_wide

OF_CO2 = Knowledge(
    charges=(0,), multiplicities=(1,), span=({"C": 1, "O": 2},), shortest={"C-O": 1.1, "O-O": 2.2}, n_systems=16,
    sizes=(3, 3),
)  # fmt: skip
OF_IONS = Knowledge(
    charges=(-1, 0), multiplicities=(1, 2), span=({"H": 1, "O": 1}, {"C": 2, "O": 4}), n_systems=5, sizes=(2, 6),
    shortest={"H-O": 0.9, "C-O": 1.2},
)  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "composition", "inside"),
    [
        ([{"C": 1, "O": 2}], {"C": 1, "O": 2}, True),
        ([{"C": 1, "O": 2}], {"C": 30, "O": 60}, True),
        ([{"C": 1, "O": 2}], {"C": 1, "O": 1}, False),
        ([{"C": 1, "O": 2}], {"C": 1000, "O": 2001}, False),
        ([{"C": 1, "H": 4}, {"C": 2, "H": 6}], {"H": 2}, True),
        ([{"C": 1, "H": 4}, {"C": 2, "H": 8}], {"H": 2}, False),
        ([], {"H": 2}, False),
    ],
)
def test_compositions_are_sums_and_differences_of_those_in_the_data(
    rows: list[dict[str, int]], composition: dict[str, int], inside: bool
) -> None:
    known = Knowledge(charges=(0,), multiplicities=(1,), span=independent(rows), shortest={}, n_systems=1, sizes=(1, 9))
    assert known.spans(composition) is inside


def test_given_energies_of_free_atoms_hold_for_every_composition() -> None:
    known = Knowledge(charges=(0,), multiplicities=(1,), span=None, shortest={}, n_systems=1, sizes=(1, 9))
    assert known.spans({"C": 1, "O": 1})


def test_later_data_add_to_what_weights_know() -> None:
    joined = OF_CO2.joined(OF_IONS)
    assert joined.charges == (-1, 0)
    assert joined.span == ({"C": 1, "O": 2}, {"H": 1, "O": 1})
    assert joined.shortest == {"C-O": 1.1, "H-O": 0.9, "O-O": 2.2}
    assert (joined.n_systems, joined.sizes) == (21, (2, 6))


def test_an_ensemble_knows_what_all_its_networks_know() -> None:
    shared = OF_CO2.shared(OF_IONS)
    assert shared.charges == (0,)
    assert shared.span == ({"C": 1, "O": 2},), "also when the other has its double"
    assert shared.shortest == {"C-O": 1.2}
    assert OF_IONS.shared(OF_CO2).shortest == shared.shortest


def test_atoms_that_were_never_neighbors_are_too_close_before_they_touch() -> None:
    closest = OF_CO2.closest
    assert closest[6, 8] == closest[8, 6] == pytest.approx(CLOSER * 1.1)
    assert closest[6, 6] == pytest.approx(CLOSER * NEAR)


@pytest.mark.parametrize("n_atoms", [1, 9, 192])
def test_disagreement_of_an_ensemble_grows_with_the_root_of_the_atoms(n_atoms: int) -> None:
    assert not too_wide(0.039 * np.sqrt(n_atoms), n_atoms)
    assert too_wide(0.041 * np.sqrt(n_atoms), n_atoms)
