"""The report: its tables, its numbers, its pictures, and what it says without matplotlib."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule
from PIL import Image

from molcalc.conformers.metrics import conformer_report
from molcalc.conformers.metrics.conformer_report import search_rows, write_conformer_report
from molcalc.conformers.metrics.conformer_sets import ConformerSets, conformer_metrics
from molcalc.conformers.metrics.exchanges import Exchanges
from molcalc.conformers.metrics.minima_search import MinimaSearch, Minimum
from molcalc.errors import InputError
from tests.helpers.peroxides import peroxides

FRAMES = peroxides(30)
SETS = ConformerSets.of(molecule("H2O2"), FRAMES[:20], FRAMES[10:])


def search(source: str, energies: list[float], calls: int) -> MinimaSearch:
    """Search that has found the first structures, one after the other."""
    positions = np.array([atoms.positions for atoms in FRAMES[: len(energies)]])
    minima = [
        Minimum(positions=place, energy=energy, found_after=10 * (k + 1), starts=1)
        for k, (place, energy) in enumerate(zip(positions, energies))
    ]
    return MinimaSearch(
        source=source, n_starts=9, force_calls=calls, minima=tuple(minima), relaxed=positions,
        energies=np.array(energies), rejected={"not converged": 2},
    )  # fmt: skip


def test_the_report_has_tables_numbers_and_pictures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    metrics = conformer_metrics(SETS)
    latents = np.random.default_rng(0).normal(size=(20, 1))
    torsions = SETS.coordinates.torsions_in(SETS.generated)[:, 0]
    searches = [search("generator", [0.0], 100), search("ETKDG", [0.1, 0.5], 200)]
    write_conformer_report(
        tmp_path, SETS, metrics, searches=searches, latents=(latents, torsions, "H–O–O–H"), title="Peroxides"
    )
    text = (tmp_path / "report.md").read_text()
    assert "# Peroxides" in text
    assert "| generator | 9 | 100 | 1 | 10.00 | 1 |" in text
    assert "H2–O0–O1–H3" in text
    numbers = json.loads((tmp_path / "metrics.json").read_text())
    assert numbers["metrics"]["n_generated"] == 20
    assert [each["minima"] for each in numbers["searches"]] == [1, 2]
    drawn = sorted(path.stem for path in (tmp_path / "plots").glob("*.png"))
    assert drawn == ["coverage", "distances", "latents", "searches", "torsions"]  # one torsion has no map
    for path in (tmp_path / "plots").glob("*.png"):
        assert np.asarray(Image.open(path).convert("L")).std() > 5.0
    assert (tmp_path / "report.html").read_text().count("data:image/png;base64,") == 5
    with pytest.raises(InputError, match="20 latents, 19 torsions"):
        write_conformer_report(tmp_path, SETS, metrics, latents=(latents, torsions[:-1], "it"))


def test_minima_in_the_window_are_counted_from_the_lowest_of_all_searches() -> None:
    rows = search_rows(
        [search("one", [0.3], 100), search("two", [0.0, 0.2], 100)], Exchanges.of(SETS.molecule, SETS.structure)
    )
    assert [row[5] for row in rows] == ["0", "2"]
    assert rows[0][7] == "not converged 2"


def test_without_matplotlib_the_report_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conformer_report, "can_draw", lambda: False)
    write_conformer_report(tmp_path, SETS, conformer_metrics(SETS))
    assert "matplotlib is not installed" in (tmp_path / "report.md").read_text()
    assert not (tmp_path / "plots").exists()
