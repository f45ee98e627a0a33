"""Ranking of conformers from source to weights: duplicates, mirror images, what is dropped, and continuation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.io.trajectory import Trajectory

from molcalc.calculators import AIMNet2
from molcalc.conformers import RankedConformers, rank_conformers
from molcalc.conformers.kept import KeptRelaxations
from molcalc.conformers.ranked import DUPLICATE, REASONS, boltzmann_weights
from molcalc.conformers.settings import ROUGH, RankingSettings
from molcalc.errors import (
    ConfigError,
    InputError,
    RelaxationWarning,
    SpinError,
    UnsupportedElementError,
)
from molcalc.simulate import relaxation_run
from molcalc.units import KCAL_PER_MOL
from tests.conformers.conftest import TORSIONS

pytest.importorskip("rdkit")


def test_every_structure_is_a_conformer_or_dropped_for_a_reason(peroxides: RankedConformers) -> None:
    (ranked,) = peroxides.molecules
    assert ranked.n_structures == len(TORSIONS)
    assert len(ranked.conformers) + len(ranked.dropped) == len(TORSIONS)
    assert sorted([*(each.start for each in ranked.conformers), *(each.start for each in ranked.dropped)]) == [
        *range(len(TORSIONS))
    ]
    assert sum(each.found for each in ranked.conformers) + sum(
        number for reason, number in ranked.dropped_by_reason.items() if reason != DUPLICATE
    ) == len(TORSIONS)  # fmt: skip
    assert set(ranked.dropped_by_reason) <= set(REASONS)


def test_ranks_energies_and_weights_agree_with_each_other_and_with_the_structures(
    peroxides: RankedConformers, small: AIMNet2
) -> None:
    conformers = peroxides.conformers
    assert [each.rank for each in conformers] == list(range(1, len(conformers) + 1))
    gibbs = [each.gibbs for each in conformers]
    assert gibbs == sorted(gibbs)
    weights = boltzmann_weights(gibbs, [1] * len(gibbs), 298.15)
    for each, weight in zip(conformers, weights):
        assert each.weight == pytest.approx(weight, abs=1e-12)
        assert each.relative == pytest.approx(each.gibbs - gibbs[0], abs=1e-9)
        assert each.relative_kcal_mol == pytest.approx(each.relative / KCAL_PER_MOL, abs=1e-9)
        assert each.atoms.get_potential_energy() == each.energy
        again = each.atoms.copy()
        again.calc = small
        assert again.get_potential_energy() == pytest.approx(each.energy, abs=1e-5)
        assert np.linalg.norm(again.get_forces(), axis=1).max() < 0.0025
        assert each.atoms.info["molecule"] == "peroxide"
        assert {name: each.atoms.info[name] for name in each.numbers} == each.numbers
    assert peroxides.frames == [each.atoms for each in conformers]


def test_mirror_images_are_conformers_with_equal_energies_or_one_that_counts_twice(
    peroxides: RankedConformers, small: AIMNet2
) -> None:
    flat, first, second = peroxides.conformers
    assert first.energy == pytest.approx(second.energy, abs=1e-4)
    assert first.gibbs == pytest.approx(second.gibbs, abs=2e-3)
    assert flat.symmetry_number == first.symmetry_number == second.symmetry_number == 2
    assert sorted([first.found, second.found]) == [2, 3]
    for starts in ([first.atoms, second.atoms, flat.atoms], [second.atoms, flat.atoms]):
        merged = rank_conformers(starts, small, enantiomers="merge", progress=False)
        one, both = merged.conformers
        assert (one.degeneracy, both.degeneracy, both.found) == (1, 2, len(starts) - 1)
        assert [one.weight, both.weight] == pytest.approx(
            boltzmann_weights([one.energy, both.energy], [1, 2], 298.15), abs=1e-12
        )


def test_given_structures_are_ranked_by_molecule(small: AIMNet2) -> None:
    images = [molecule("H2O"), molecule("CO2"), molecule("H2O"), molecule("H2"), Atoms("H", info={"spin": 2})]
    for k, atoms in enumerate(images):
        atoms.rattle(0.02, seed=k)
    with pytest.warns(UserWarning, match="multiplicity 2"):
        found = rank_conformers(images, small, gibbs=True, progress=False)
    assert [each.molecule.formula for each in found.molecules] == ["H2O", "CO2", "H2"]
    assert [each.conformers[0].found for each in found.molecules] == [2, 1, 1]
    assert [each.conformers[0].symmetry_number for each in found.molecules] == [2, 2, 2]
    assert [each.conformers[0].weight for each in found.molecules] == [1.0, 1.0, 1.0]
    assert isinstance(found.failures[0], SpinError)


def test_a_molecule_that_fails_is_told_and_stops_nothing(small: AIMNet2) -> None:
    with pytest.warns(RelaxationWarning, match="3 of 4 sources have no conformers: entry 1: 'C1CC'"):
        found = rank_conformers(["CO", "C1CC", "[SiH4]", "O.O"], small, n_structures=1, progress=False)
    assert [each.molecule.formula for each in found.molecules] == ["CH4O"]
    assert isinstance(found.failures[2], UnsupportedElementError)
    assert "entry 2: element Si (Z=14) of atoms [0] is not covered" in str(found.failures[2])
    assert "has 2 parts" in str(found.failures[1])


def test_an_empty_list_is_refused(small: AIMNet2) -> None:
    with pytest.raises(InputError, match="no molecule to rank: the list is empty"):
        rank_conformers([], small)


def test_elements_are_looked_at_before_anything_is_made(small: AIMNet2, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("molcalc.conformers.ranking.embed", lambda *_: pytest.fail("structures were made"))
    with pytest.raises(UnsupportedElementError, match=r"SMILES: element Fe"):
        rank_conformers("[Fe]", small, progress=False)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_structures": 0}, "n_structures=0 is not a whole number ≥ 1"),
        ({"n_structures": -3}, "n_structures=-3"),
        ({"n_structures": 2.5}, "n_structures=2.5"),
        ({"seed": -1}, "seed=-1"),
        ({"window": 0.0}, "window=0.0 must be a positive"),
        ({"temperature": -1.0}, "temperature=-1.0"),
        ({"pressure": 1e-320}, "pressure=1e-320 is out of any sense"),
        ({"n_structures": 999_999_999}, "n_structures=999999999 is out of any sense"),
        ({"temperature": float("nan")}, "temperature=nan"),
        ({"duplicate_rmsd": 0}, "duplicate_rmsd=0"),
        ({"enantiomers": "both"}, "enantiomers='both'; choose one of apart, merge"),
        ({"fmax": 0}, "fmax=0"),
        ({"optimizer": "newton"}, "optimizer='newton'"),
        ({"temprature": 300}, r"unknown setting 'temprature' \(did you mean 'temperature'\?\)"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(small: AIMNet2, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        rank_conformers("CO", small, **settings)


def test_structures_that_do_not_converge_are_no_conformers(small: AIMNet2) -> None:
    with pytest.raises(InputError, match=r"none of 2 structures is a conformer; structure 0: not converged: .* eV/Å"):
        rank_conformers("CO", small, n_structures=2, steps=1, progress=False)
    with pytest.raises(
        InputError, match=r"not converged: .* after 0 steps; it has no hydrogen atoms: .*adds them with --smiles"
    ):
        rank_conformers(molecule("CO2"), small, steps=0, progress=False)


def test_conformers_beyond_the_window_are_dropped_with_their_duplicates(
    peroxides: RankedConformers, small: AIMNet2
) -> None:
    starts = [each.atoms for each in peroxides.conformers for _ in range(2)]
    found = rank_conformers(starts, small, window=0.05, progress=False)
    assert len(found.conformers) == 1
    assert found.molecules[0].dropped_by_reason == {"duplicate": 1, "beyond the window": 4}


@pytest.mark.parametrize(
    ("smiles", "change", "words"),
    [
        ("C[C@H](F)O", [-1.0, 1.0, 1.0], "stereochemistry changed: at atom 0, 1"),
        ("CO", [2.0, 2.0, 2.0], "bonds changed: bond C0–O1 is broken, bond C0–H2 is broken"),
        ("CO", [0.3, 0.3, 0.3], "bonds changed: .*bond H2–H3 has formed"),
    ],
    ids=["hand", "broken", "formed"],
)
def test_what_is_no_conformer_any_more_is_dropped_and_the_change_named(
    small: AIMNet2, monkeypatch: pytest.MonkeyPatch, smiles: str, change: list[float], words: str
) -> None:
    """Relaxations that end in something else."""
    finish = relaxation_run.with_results

    def changed(atoms: Atoms, *arguments: Any) -> Atoms:
        found = finish(atoms, *arguments)
        found.positions *= change
        return found

    monkeypatch.setattr(relaxation_run, "with_results", changed)
    with pytest.raises(InputError, match=f"structure 0: {words}"):
        rank_conformers(smiles, small, n_structures=1, fmax=0.1, progress=False)


def test_the_mirror_image_of_a_molecule_without_centers_is_no_other_one(
    small: AIMNet2, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = relaxation_run.with_results

    def mirrored(atoms: Atoms, *arguments: Any) -> Atoms:
        found = finish(atoms, *arguments)
        found.positions[:, 0] *= -1
        return found

    monkeypatch.setattr(relaxation_run, "with_results", mirrored)
    assert len(rank_conformers("CCO", small, n_structures=1, fmax=0.1, progress=False).conformers) == 1


def test_an_interrupted_ranking_goes_on_with_what_is_relaxed(
    small: AIMNet2, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"n_structures": 6, "progress": False, "kept": tmp_path / "kept.traj"}
    relaxed: list[int] = []
    begin = relaxation_run.RelaxationRun.begin
    monkeypatch.setattr(relaxation_run.RelaxationRun, "begin", lambda self: (relaxed.append(1), begin(self))[1])
    whole = rank_conformers("C=CO", small, n_structures=6, progress=False)
    n_relaxations = len(relaxed)
    assert 6 < n_relaxations <= 12
    add, n_added = KeptRelaxations.add, [0]

    def killed(self: KeptRelaxations, *arguments: Any) -> None:
        add(self, *arguments)
        n_added[0] += 1
        if n_added[0] == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(KeptRelaxations, "add", killed)
        with pytest.raises(KeyboardInterrupt):
            rank_conformers("C=CO", small, **options)
    with Trajectory(options["kept"]) as trajectory:
        n_kept = len(trajectory)
    assert n_kept == 3
    with pytest.raises(InputError, match="kept.traj exists"):
        rank_conformers("C=CO", small, **options)
    relaxed.clear()
    again = rank_conformers("C=CO", small, restart=True, **options)
    assert len(relaxed) == n_relaxations - n_kept
    assert sorted(each.found for each in again.conformers) == sorted(each.found for each in whole.conformers)
    for one, two in zip(again.conformers, whole.conformers, strict=True):
        assert one.energy == pytest.approx(two.energy, abs=1e-5)
        assert one.atoms.info.keys() == two.atoms.info.keys()
    with pytest.raises(ConfigError, match=r"was made with fmax=0.002, this run has fmax=0.02"):
        rank_conformers("C=CO", small, restart=True, fmax=0.02, **options)
    with pytest.raises(ConfigError, match="was made with dispersion=d3bj:pbe0"):
        rank_conformers("C=CO", AIMNet2("small-species", fidelity="gfn2"), restart=True, **options)


def test_structures_are_relaxed_to_small_forces_in_two_parts() -> None:
    assert [each.fmax for each in RankingSettings().relaxations()] == [ROUGH, 0.002]
    assert [each.fmax for each in RankingSettings(fmax=0.1).relaxations()] == [0.1]
