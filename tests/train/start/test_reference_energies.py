"""Self-atomic energies from total energies."""

from __future__ import annotations

import numpy as np
import pytest

from molcalc.errors import DatasetError
from molcalc.train.start.reference_energies import as_yaml, composition, fit_reference_energies

TRUE = {1: -13.6, 6: -1029.5, 8: -2041.9}
ELEMENTS = (1, 6, 8)


def compositions(n: int = 400) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 6, size=(n, 3)).astype(float)


def test_composition_counts_atoms_of_each_element() -> None:
    counts = composition(np.array([8, 1, 1, 6, 8, 8]), np.array([0, 3, 6]), ELEMENTS)
    assert counts.tolist() == [[2, 0, 1], [0, 1, 2]]


def test_exact_sums_are_recovered() -> None:
    counts = compositions()
    found = fit_reference_energies(counts, counts @ np.array(list(TRUE.values())), ELEMENTS)
    assert found == pytest.approx(TRUE, abs=1e-9)


def test_outliers_do_not_move_the_result() -> None:
    """Three broken energies lie outside the 2nd to 98th percentile and drop out of the second fit."""
    counts = compositions()
    energies = counts @ np.array(list(TRUE.values())) + np.random.default_rng(1).normal(0, 1e-3, 400)
    energies[:3] += 500.0
    assert fit_reference_energies(counts, energies, ELEMENTS) == pytest.approx(TRUE, abs=0.3)
    plain = np.linalg.lstsq(counts, energies, rcond=None)[0]
    assert np.abs(plain - np.array(list(TRUE.values()))).max() > 0.3


def test_missing_energies_are_left_out() -> None:
    counts = compositions()
    energies = counts @ np.array(list(TRUE.values()))
    energies[::3] = np.nan
    assert fit_reference_energies(counts, energies, ELEMENTS) == pytest.approx(TRUE, abs=1e-9)


def test_a_fixed_ratio_gives_the_solution_of_least_norm_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    counts = np.tile([0.0, 1.0, 2.0], (50, 1))
    counts[:, 0] = 1.0
    energies = counts @ np.array(list(TRUE.values()))
    found = fit_reference_energies(counts, energies, ELEMENTS, "co2.db")
    assert "co2.db: the compositions determine only 1 of 3" in caplog.text
    assert max(map(abs, found.values())) < 3000
    assert np.dot(counts[0], list(found.values())) == pytest.approx(energies[0], abs=1e-8)


def test_an_element_without_energies_is_an_error() -> None:
    counts = compositions()
    counts[:, 1] = 0
    with pytest.raises(DatasetError, match=r"Z=\[6\]"):
        fit_reference_energies(counts, counts.sum(axis=1), ELEMENTS)


def test_no_energies_are_an_error() -> None:
    with pytest.raises(DatasetError, match="low.db: no energies"):
        fit_reference_energies(compositions(), np.full(400, np.nan), ELEMENTS, "low.db")


def test_yaml_keeps_all_digits() -> None:
    assert as_yaml({8: -2041.123456789012, 1: -13.6}) == "1: -13.6\n8: -2041.123456789012\n"
