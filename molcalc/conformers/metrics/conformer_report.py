"""Report on generated conformers: ``report.html`` (one file), ``report.md``, ``metrics.json`` and pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from molcalc.conformers.metrics import conformer_plots as plots
from molcalc.conformers.metrics.conformer_sets import ConformerMetrics, ConformerSets
from molcalc.conformers.metrics.exchanges import Exchanges
from molcalc.conformers.metrics.minima_search import MinimaSearch, union_of_minima
from molcalc.conformers.metrics.relaxed_sets import RelaxedEnergies
from molcalc.io.files import write_atomic
from molcalc.train.report.document import DocumentPart, Heading, Image, Table, Text, as_html, as_markdown
from molcalc.train.report.figures import INSTALL_PLOT, can_draw, save_figure, style

WINDOW = 0.26
"""eV above the lowest minimum of all searches: minima that are counted apart."""
CONFORMER_REPORT_FILES = ("report.html", "report.md", "metrics.json", "plots")
"""Names in the folder of a report."""
SEARCH_HEADER = (
    "starts", "relaxed", "calls", "minima", "per 1,000 calls", f"within {WINDOW:g} eV", "of all known", "rejected"
)  # fmt: skip


def write_conformer_report(
    folder: Path,
    sets: ConformerSets,
    metrics: ConformerMetrics,
    *,
    energies: RelaxedEnergies | None = None,
    searches: Sequence[MinimaSearch] = (),
    latents: tuple[np.ndarray, np.ndarray, str] | None = None,
    title: str = "",
) -> None:
    """Write the report on generated conformers, with pictures where matplotlib is installed.

    Parameters
    ----------
    folder : made where it is missing; files of an earlier report are replaced.
    energies : of relaxed structures, see :func:`~molcalc.conformers.metrics.relaxed_sets.relaxed_energies`.
    searches : for minima with the same calculator, see
        :func:`~molcalc.conformers.metrics.minima_search.search_minima`.
    latents : (n, n_latent) latents of structures, (n,) degrees of a torsion in them, and its name.
    title : of the report; the formula of the molecule unless given.

    Raises
    ------
    InputError
        When latents and torsions are of different numbers of structures.
    ResourceError
        When the disk is full or not writable.
    """
    folder.mkdir(parents=True, exist_ok=True)
    blocks: list[DocumentPart] = [
        Heading(title or f"Generated conformers of {sets.molecule.formula}", 1),
        Text(
            f"{metrics.n_generated} generated structures beside a reference of {metrics.n_reference}. Divergences and "
            "coverage of the reference are those between its first and its second half: what sampling alone does."
        ),
        Heading("Metrics"),
        Table(["", "generated", "reference"], metrics.rows()),
        *_torsion_table(metrics),
    ]
    if energies is not None:
        blocks += [Heading("Relaxation"), Table(["", "generated", "reference"], energies.rows())]
    if searches:
        table = search_rows(searches, Exchanges.of(sets.molecule, sets.structure))
        blocks += [Heading("Minima for calls for forces"), Table(SEARCH_HEADER, table)]
    if can_draw():
        pictures = _pictures(folder / "plots", sets, metrics, searches, latents)
        blocks += [Heading("Pictures"), *pictures]
    else:
        blocks.append(Text(f"There are no pictures: matplotlib is not installed ({INSTALL_PLOT})."))
    write_atomic(folder / "metrics.json", json.dumps(_numbers(metrics, energies, searches), indent=1).encode())
    write_atomic(folder / "report.md", as_markdown(blocks, folder).encode())
    write_atomic(folder / "report.html", as_html(blocks).encode())


def search_rows(searches: Sequence[MinimaSearch], exchanges: Exchanges) -> list[list[str]]:
    """Rows of texts under :data:`SEARCH_HEADER`, one for each search.

    Returns
    -------
    texts; "of all known" is the share of minima that any of the searches has found
    """
    known = union_of_minima(searches, exchanges)
    lowest = min((each.energy for search in searches for each in search.minima), default=0.0)
    return [
        [
            search.source,
            str(search.n_starts),
            str(search.force_calls),
            str(len(search.minima)),
            f"{search.per_thousand_calls:.2f}",
            str(len(search.within(WINDOW, lowest))),
            f"{found.mean():.3f}" if len(found) else "",
            ", ".join(f"{reason} {number}" for reason, number in search.rejected.items()),
        ]
        for search, found in zip(searches, known.T)
    ]


def _torsion_table(metrics: ConformerMetrics) -> list[DocumentPart]:
    """Shares of positive torsions: what tells the hands of mirror images."""
    if not metrics.positive_torsions:
        return []
    rows = [[name, *(f"{share:.3f}" for share in shares)] for name, shares in metrics.positive_torsions.items()]
    header = ["share of positive torsions", "generated", "reference", "its first half", "its second half"]
    return [Heading("Torsions", 3), Table(header, rows)]


def _pictures(
    folder: Path,
    sets: ConformerSets,
    metrics: ConformerMetrics,
    searches: Sequence[MinimaSearch],
    latents: tuple[np.ndarray, np.ndarray, str] | None,
) -> list[Image]:
    with style():
        drawn: list[tuple[str, Any, str]] = [
            ("torsion_maps", plots.draw_torsion_maps(sets), "Neighboring torsions: shares in bins of 15°."),
            (
                "torsions",
                plots.draw_torsions(sets, metrics),
                "Torsions about bonds that turn; in brackets the divergence between halves of the reference.",
            ),
            ("distances", plots.draw_distances(sets), "Bonds and angles by elements; outliers in the outermost bins."),
            ("coverage", plots.draw_coverage(metrics), "Coverage in both directions against the distance."),
        ]
        if latents is not None:
            drawn.append(("latents", plots.draw_latent(*latents), "Latents in the plane that explains a torsion best."))
        if searches:
            drawn.append(("searches", plots.draw_searches(searches), "Distinct minima found by each search."))
        return [
            Image(save_figure(figure, folder / f"{name}.png"), caption)
            for name, figure, caption in drawn
            if figure is not None
        ]


def _numbers(
    metrics: ConformerMetrics, energies: RelaxedEnergies | None, searches: Sequence[MinimaSearch]
) -> Mapping[str, Any]:
    return {
        "metrics": asdict(metrics),
        "energies": None if energies is None else asdict(energies),
        "searches": [search.numbers() for search in searches],
    }
