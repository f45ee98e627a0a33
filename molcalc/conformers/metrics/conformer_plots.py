"""Pictures of generated conformers beside a reference: torsion maps, histograms, coverage, latent space, searches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from molcalc.conformers.metrics.conformer_sets import ConformerMetrics, ConformerSets
from molcalc.conformers.metrics.coverage import DELTAS
from molcalc.conformers.metrics.distributions import (
    ANGLE_EDGES,
    BOND_EDGES,
    MAP_EDGES,
    TORSION_EDGES,
    TORSION_KIND,
    jensen_shannon,
    map_counts,
    torsion_counts,
)
from molcalc.conformers.metrics.minima_search import MinimaSearch
from molcalc.errors import InputError
from molcalc.train.report.figures import BLUE, CYCLE, GRAY, RED, SEQUENTIAL, new_figure

DRAWN_MAPS = 4
MOST_HISTOGRAMS = 12
PLOT_COLUMNS = 4
DECADES = 3.0
"""Powers of ten below the densest bin of a map that colors show."""
TICKS = (-180, -90, 0, 90, 180)
CIRCULAR = "twilight_shifted"
"""Colors of torsions, which close to a circle."""
SET_NAMES = ("reference", "generated")


def draw_torsion_maps(sets: ConformerSets) -> Any | None:
    """Densities of neighboring torsions: the reference above, what is generated below, in one scale of colors.

    Of many maps those with the most spread in the reference are drawn.

    Returns
    -------
    figure of matplotlib; None where no two torsions are neighbors
    """
    pairs = sets.coordinates.neighbors
    if not len(pairs):
        return None
    torsions = [sets.coordinates.torsions_in(part) for part in (sets.reference, sets.generated)]
    chosen = sorted(range(len(pairs)), key=lambda k: -_spread(torsions[0][:, pairs[k]]))[:DRAWN_MAPS]
    figure, axes = new_figure(2, len(chosen), 3.1 * len(chosen) + 0.6, 6.0, sharex=True, sharey=True)
    image = None
    for column, k in enumerate(sorted(chosen)):
        shares = [counts / counts.sum() for counts in (map_counts(part[:, pairs[k]]) for part in torsions)]
        top = np.log10(max(each.max() for each in shares))
        first, second = (sets.coordinates.torsion_names[each] for each in pairs[k])
        titles = ("reference", f"generated, JSD {jensen_shannon(*shares):.3f}")
        for axis, share, title in zip(axes[:, column], shares, titles):
            with np.errstate(divide="ignore"):
                logarithms = np.log10(share.T)
            image = axis.pcolormesh(MAP_EDGES, MAP_EDGES, logarithms, cmap=SEQUENTIAL, vmin=top - DECADES, vmax=top)
            axis.set(aspect="equal", xticks=TICKS, yticks=TICKS, title=title, ylabel=f"{second} (°)")
            axis.grid(visible=False)
        axes[1, column].set_xlabel(f"{first} (°)")
    bar = figure.colorbar(image, ax=axes, shrink=0.6, label="log₁₀ of the share, densest bin of each map at the top")
    bar.set_ticks([])
    return figure


def draw_distances(sets: ConformerSets) -> Any:
    """Histograms of bond lengths and angles, by elements, of the reference and of what is generated."""
    coordinates = sets.coordinates
    panels = [
        (f"{kind} (Å)" if unit == "Å" else f"{kind} (°)", edges, [part[:, _of(types, kind)].ravel() for part in values])
        for types, edges, unit, values in (
            (coordinates.bond_types, BOND_EDGES, "Å", _both(sets, coordinates.lengths)),
            (coordinates.angle_types, ANGLE_EDGES, "°", _both(sets, coordinates.angles_in)),
        )
        for kind in dict.fromkeys(types)
    ][:MOST_HISTOGRAMS]
    rows = -(-len(panels) // PLOT_COLUMNS)
    figure, axes = new_figure(rows, PLOT_COLUMNS, 3.0 * PLOT_COLUMNS, 2.2 * rows)
    for axis in list(axes.flat)[len(panels) :]:
        axis.set_visible(False)
    for axis, (title, edges, parts) in zip(axes.flat, panels):
        low, high = np.quantile(np.concatenate(parts), (0.001, 0.999))
        shown = edges[(edges > low - 3 * np.diff(edges)[0]) & (edges < high + 3 * np.diff(edges)[0])]
        for values, color, name in zip(parts, (GRAY, BLUE), SET_NAMES):
            _outline(axis, values, shown, color, name)
        axis.set(xlabel=title, yticks=[], ylim=(0.0, None))
    axes[0, 0].legend()
    return figure


def draw_torsions(sets: ConformerSets, metrics: ConformerMetrics) -> Any | None:
    """Distributions of torsions, of the reference and of what is generated.

    Returns
    -------
    figure of matplotlib; None where nothing turns
    """
    names = sets.coordinates.torsion_names[:MOST_HISTOGRAMS]
    if not names:
        return None
    values = _both(sets, sets.coordinates.torsions_in)
    found = {each.name: each for each in metrics.divergences if each.kind == TORSION_KIND}
    columns = min(PLOT_COLUMNS, len(names))
    rows = -(-len(names) // columns)
    figure, axes = new_figure(rows, columns, max(4.0, 3.0 * columns), 2.2 * rows + 0.3, sharex=True)
    for axis in list(axes.flat)[len(names) :]:
        axis.set_visible(False)
    centers = 0.5 * (TORSION_EDGES[1:] + TORSION_EDGES[:-1])
    for column, (axis, name) in enumerate(zip(axes.flat, names)):
        for part, color, whose in zip(values, (GRAY, BLUE), SET_NAMES):
            counts = torsion_counts(part[:, column])
            axis.step(centers, counts / counts.sum(), where="mid", color=color, label=whose)
        each = found[name]
        axis.set(title=f"JSD {each.value:.3f} ({each.halves:.3f})", xlabel=f"{name} (°)", yticks=[], ylim=(0.0, None))
        axis.set_xticks(TICKS)
        axis.xaxis.set_tick_params(labelbottom=True)
    axes[0, 0].legend()
    return figure


def draw_coverage(metrics: ConformerMetrics) -> Any:
    """Share of structures with one of the other set within a distance, in both directions."""
    figure, axes = new_figure(1, 1, 5.2, 3.6)
    axis = axes[0, 0]
    for coverage, line, whose in (
        (metrics.coverage, "-", "generated"),
        (metrics.halves_coverage, "--", "second half of the reference"),
    ):
        axis.plot(DELTAS, coverage.recall_curve, line, color=BLUE, label=f"COV-R, {whose}")
        axis.plot(DELTAS, coverage.precision_curve, line, color=RED, label=f"COV-P, {whose}")
    axis.set(xlabel="δ (Å)", ylabel="share within δ", ylim=(-0.02, 1.02), xlim=(0.0, DELTAS[-1]))
    axis.legend(loc="lower right")
    return figure


def draw_latent(latents: np.ndarray, torsions: np.ndarray, name: str) -> Any:
    """Latents of structures in the plane that explains a torsion best, colored by it.

    The axes are those combinations of latents that are nearest to its cosine and its sine: a circle, where the latent
    space knows it.

    Parameters
    ----------
    latents : (n_structures, n_latent), such as the means that an encoder gives.
    torsions : (n_structures,) degrees.
    name : of the torsion.

    Returns
    -------
    figure of matplotlib

    Raises
    ------
    InputError
        When the numbers of structures differ.
    """
    if len(latents) != len(torsions):
        raise InputError(f"{len(latents)} latents, {len(torsions)} torsions: give one for each structure")
    radians = np.radians(torsions)
    places, explained = _explaining(latents, np.column_stack([np.cos(radians), np.sin(radians)]))
    figure, axes = new_figure(1, 1, 5.4, 4.4)
    axis = axes[0, 0]
    image = axis.scatter(
        *places.T, c=torsions, cmap=CIRCULAR, vmin=-180, vmax=180, s=8, linewidths=0.2, edgecolors=GRAY
    )
    bar = figure.colorbar(image, ax=axis, label=f"{name} (°)")
    bar.set_ticks(TICKS)
    axis.set_xlabel(f"latents nearest to its cosine ({100 * explained[0]:.0f} % explained)")
    axis.set_ylabel(f"nearest to its sine ({100 * explained[1]:.0f} %)")
    axis.set_aspect("equal", adjustable="datalim")
    axis.set_title(f"Latents of {len(latents)} structures")
    return figure


def _explaining(latents: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Combinations of latents nearest to values, and the shares of variance that they explain of values left out.

    Parameters
    ----------
    latents : (n_structures, n_latent).
    values : (n_structures, n_values).

    Returns
    -------
    combinations : (n_structures, n_values).
    explained : (n_values,), at least 0.
    """
    known = np.column_stack([np.ones(len(latents)), latents])
    # A ridge of one structure, as latents are of the order of 1: there may be more latents than structures.
    projection = known @ np.linalg.solve(known.T @ known + np.eye(known.shape[1]), known.T)
    fitted = projection @ values
    left_out = (values - fitted) / (1.0 - np.diag(projection))[:, None]
    variances = ((values - values.mean(axis=0)) ** 2).sum(axis=0)
    return fitted, np.maximum(0.0, 1.0 - (left_out**2).sum(axis=0) / np.maximum(variances, 1e-300))


def draw_searches(searches: Sequence[MinimaSearch]) -> Any:
    """Distinct minima found against calls for forces."""
    figure, axes = new_figure(1, 1, 5.6, 3.8)
    axis = axes[0, 0]
    for k, search in enumerate(searches):
        found = sorted(each.found_after for each in search.minima)
        calls, numbers = [0, *found, search.force_calls], [*range(len(found) + 1), len(found)]
        axis.step(calls, numbers, where="post", color=CYCLE[k % len(CYCLE)], label=search.source)
    axis.set(xlabel="calls for forces", ylabel="distinct minima", xlim=(0, None), ylim=(0, None))
    axis.legend(loc="upper left")
    return figure


def _spread(torsions: np.ndarray) -> float:
    """Sum of circular variances."""
    return float(np.sum(1.0 - np.abs(np.mean(np.exp(1j * np.radians(torsions)), axis=0))))


def _both(sets: ConformerSets, values: Any) -> list[np.ndarray]:
    return [values(part) for part in (sets.reference, sets.generated)]


def _of(types: Sequence[str], kind: str) -> list[int]:
    return [k for k, each in enumerate(types) if each == kind]


def _outline(axis: Any, values: np.ndarray, edges: np.ndarray, color: str, name: str) -> None:
    """Outline of a histogram whose outermost bars hold what lies outside."""
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), bins=edges)
    filled = name == SET_NAMES[0]
    axis.stairs(counts / max(1, len(values)), edges, color=color, label=name, fill=filled, alpha=0.6 if filled else 1.0)
