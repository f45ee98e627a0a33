"""Self-atomic energies from total energies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect

from molcalc.errors import ConfigError, DatasetError
from molcalc.train.data import open_dataset
from molcalc.train.start.reference_energies import (
    ReferenceSource,
    as_yaml,
    check_given,
    composition,
    fit_reference_energies,
    isolated_atoms,
)

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
    assert "may be wrong by hundreds of eV; add compositions" in caplog.text
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


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Files of self-atomic energies: of one level, and of two."""
    (tmp_path / "sae.yaml").write_text("1: -13.6\nO: -2041.9\n")
    (tmp_path / "two.yaml").write_text('"high":\n  1: -13.6\nlow:\n  H: -10.5\n')
    return {name: str(tmp_path / f"{name}.yaml") for name in ("sae", "two")}


def test_energies_are_given_by_symbol_number_or_file_and_by_fidelity(files: dict[str, str]) -> None:
    both = ("high", "low")

    def energies(wish: Any, fidelity: str = "high", names: tuple[str, ...] = ("high",)) -> Any:
        return ReferenceSource.of(wish, fidelity, names).energies

    assert energies({"H": -13.6, "8": -2041.9}) == energies(files["sae"]) == {1: -13.6, 8: -2041.9}
    assert energies(files["two"], "low", both) == {1: -10.5}
    assert energies({"high": files["sae"], "low": {"H": -10.0}}, "low", both) == {1: -10.0}
    assert energies({"high": files["sae"], "low": {"H": -10.0}}, "high", both) == {1: -13.6, 8: -2041.9}
    assert ReferenceSource.of({"high": "isolated"}, "low", both).words == "fit"
    assert ReferenceSource.of({"high": "isolated"}, "high", both).words == "isolated"


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"Hh": -13.6}, "'Hh' .*is no element"),
        ({"H": float("nan")}, "H.*expected an energy in eV"),
        ({"H": True}, "H.*expected an energy in eV"),
        ({"H": -13.6, "1": -13.0}, "Z=1 is given twice"),
        ({}, "expected lines"),
        ("isolate", r"did you mean 'isolated'.*no such file"),
        ({"higj": {"H": -13.6}}, "did you mean 'high'"),
        ({"H": -13.6}, "of which fidelity"),
        ("sae", "of which fidelity"),
    ],
)
def test_what_gives_no_energies_is_refused(files: dict[str, str], wish: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ReferenceSource.of(files.get(wish, wish) if isinstance(wish, str) else wish, "high", ("high", "low"))


def test_single_atoms_in_the_data_are_found_without_ions_and_excited_states(tmp_path: Path) -> None:
    with connect(tmp_path / "atoms.db") as db:
        for symbols, energy, charge in (("H", -13.6, 0), ("O", -2040.0, 0), ("O", -2041.9, 0), ("O", -2045.0, -2),
                                        ("OH2", -2075.0, 0), ("C", -1029.0, 0)):  # fmt: skip
            atoms = Atoms(symbols, [[0, 0, k] for k in range(len(Atoms(symbols)))])
            atoms.calc = SinglePointCalculator(atoms, energy=energy)
            db.write(atoms, total_charge=charge)
    data = open_dataset(tmp_path / "atoms.db")
    assert isolated_atoms([data.subset([0, 1]), data.subset([2, 3, 4, 5])], 0, (1, 8)) == {1: -13.6, 8: -2041.9}


@pytest.mark.parametrize(("scale", "words"), [(0.9, "of the level of the labels"), (1.001, "")])
def test_given_energies_that_cannot_be_those_of_the_labels_are_warned_of(
    scale: float, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    counts = compositions()[1:]
    counts[:, 0] += 1
    energies = counts @ np.array(list(TRUE.values()))
    check_given({z: scale * value for z, value in TRUE.items()}, counts, energies, "water.db")
    assert (words in caplog.text) if words else not caplog.text


def test_given_energies_in_hartree_are_refused() -> None:
    counts = compositions()[1:]
    counts[:, 0] += 1
    with pytest.raises(ConfigError, match=r"water.db: .* when taken as Hartree: give them in eV"):
        check_given({z: value / 27.211386 for z, value in TRUE.items()}, counts, counts @ np.array(list(TRUE.values())),
                    "water.db")  # fmt: skip
