"""Pictures of electrostatic potentials: maps of examples, and the error as a function of the distance.

The examples are single systems, predicted point by point.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from molcalc.properties import LABELS
from molcalc.train.data.comparison import without_masked_points
from molcalc.train.data.dataset import Dataset
from molcalc.train.data.label_reader import at_fidelities, fidelities_of_model
from molcalc.train.loop.predictions import predict
from molcalc.train.report.display import with_unit
from molcalc.train.report.evaluation import Evaluation, Evaluator, formula
from molcalc.train.report.figures import BLUE, CYCLE, DIVERGING, GRAY, new_figure
from molcalc.units import COVALENT_RADII, VDW_RADII, symbols_of

SCALE_QUANTILE = 0.98
"""Share of the reference values inside the color scale; the rest has its end colors."""
MARKER_AREA = 26.0
"""Square points."""
ATOM_COLORS = {1: "#FFFFFF", 6: "#C8C8C8", 7: "#9DB8F5", 8: "#F59A8C", 9: "#B5E8A0", 15: "#FFC27A", 16: "#F2E26B",
               17: "#8FDDA0", 35: "#D9A08C", 53: "#C9A0DC"}  # fmt: skip
"""The usual colors of elements, light enough for the symbol on top."""
OTHER_COLOR = "#F0C8D8"
BIN_WIDTH = 0.1
MIN_IN_BIN = 10
DRAWN_POINTS = 8000
VIEWS = (("from above", 2), ("from the side", 1))
"""Principal axis that a view looks along, the longest extent of the molecule being 0."""
RADIAL_SYSTEMS = 64
"""Systems whose points show how the error depends on the distance."""


@dataclass(frozen=True)
class EspExample:
    """One system with all its points, those that do not count included.

    Attributes
    ----------
    name, formula : where it comes from and what it is.
    numbers : (n_atoms,); positions : (n_atoms, 3) Å.
    points : (n_points, 3) Å.
    reference, prediction : (n_points,) V.
    counted : (n_points,) bool, whether the point is outside the molecule as the errors see it.
    """

    name: str
    formula: str
    numbers: np.ndarray
    positions: np.ndarray
    points: np.ndarray
    reference: np.ndarray
    prediction: np.ndarray
    counted: np.ndarray

    @property
    def error(self) -> np.ndarray:
        """(n_points,) V."""
        return self.prediction - self.reference

    @property
    def rmse(self) -> float:
        """V, over the points that count."""
        return float(np.sqrt(np.mean(self.error[self.counted] ** 2))) if self.counted.any() else float("nan")

    def nearest(self) -> tuple[np.ndarray, np.ndarray]:
        """(n_points,) Å distance to the nearest atom, and (n_points,) its atomic number."""
        distances = np.linalg.norm(self.points[:, None] - self.positions, axis=2)
        atom = distances.argmin(axis=1)
        return distances[np.arange(len(atom)), atom], self.numbers[atom]


def esp_examples(evaluator: Evaluator, data: Dataset, systems: np.ndarray) -> list[EspExample]:
    """The potential of some systems of a dataset at all their points.

    Parameters
    ----------
    systems : positions in ``data``.

    Returns
    -------
    one example for each system, with its points
    """
    potential = evaluator.potential
    of_model = fidelities_of_model(evaluator.config, data)
    found = []
    for k in np.asarray(systems).tolist():
        batch = data.batch([k], cutoff=potential.cutoff, pair_cutoff=potential.pair_cutoff, labels=("esp",))
        batch = at_fidelities(batch, of_model)
        results = predict(potential, batch.to(evaluator.device), ("esp",))
        masked = without_masked_points(batch, evaluator.comparison)
        assert batch.esp_points is not None
        found.append(
            EspExample(
                name=data.row_name(k),
                formula=formula(data, k),
                numbers=batch.numbers.numpy(),
                positions=batch.positions.numpy(),
                points=batch.esp_points.numpy(),
                reference=batch.labels["esp"].numpy(),
                prediction=results["esp"].detach().double().cpu().numpy(),
                counted=torch.isfinite(masked.labels["esp"]).numpy(),
            )
        )
    return found


def chosen_examples(evaluation: Evaluation) -> tuple[dict[str, int], np.ndarray]:
    """Indices of systems to draw, by what they are examples of; and of those for the dependence on distance."""
    errors = evaluation.system_rmse.get("esp", np.empty(0))
    labelled = np.flatnonzero(np.isfinite(errors))
    if not len(labelled):
        return {}, labelled
    order = labelled[np.argsort(errors[labelled], kind="stable")]
    chosen = {"median error": int(order[len(order) // 2])}
    if len(order) > 1:
        chosen["largest error"] = int(order[-1])
    evenly = np.unique(np.linspace(0, len(labelled) - 1, RADIAL_SYSTEMS).astype(np.int64))
    return chosen, labelled[evenly]


def draw_esp_map(example: EspExample, what: str) -> Any:
    """Reference, prediction and difference of one system, seen along two axes.

    The first three share one color scale; the fourth shows the difference in its own. Only the half of the points that
    faces the viewer is drawn.

    Returns
    -------
    figure of matplotlib
    """
    figure, axes = new_figure(2, 4, 12.0, 6.3)
    counted = example.counted if example.counted.any() else np.ones(len(example.points), dtype=bool)
    error = example.error
    wide = _reach(example.reference[counted])
    narrow = _reach(error[counted])
    panels = (
        ("reference", example.reference, wide),
        ("model", example.prediction, wide),
        ("difference, same colors", error, wide),
        ("difference, own colors", error, narrow),
    )
    axes_of = _principal_axes(example.positions)
    center = example.positions.mean(axis=0)
    extent = 1.05 * float(np.abs((example.points[counted] - center) @ axes_of.T).max())
    images = []
    for row, (view, along) in enumerate(VIEWS):
        directions = [k for k in range(3) if k != along]
        points = (example.points - center) @ axes_of.T
        atoms = (example.positions - center) @ axes_of.T
        front = np.flatnonzero(counted & (points[:, along] >= 0))
        front = front[np.argsort(points[front, along])]
        for column, (title, values, reach) in enumerate(panels):
            axis = axes[row, column]
            images.append(
                axis.scatter(*points[front][:, directions].T, c=values[front], cmap=DIVERGING, vmin=-reach, vmax=reach,
                             s=MARKER_AREA, edgecolors="#888888", linewidths=0.25)
            )  # fmt: skip
            _draw_atoms(axis, atoms[:, directions], example.numbers, atoms[:, along])
            axis.set(aspect="equal", xticks=[], yticks=[], xlim=(-extent, extent), ylim=(-extent, extent))
            axis.grid(visible=False)
            axis.spines[["left", "bottom"]].set_visible(False)
            if row == 0:
                axis.set_title(title)
            if column == 0:
                axis.set_ylabel(view)
                _scale_bar(axis)
    figure.colorbar(images[2], ax=axes[:, :3], label="V", orientation="horizontal", fraction=0.05, aspect=50)
    own = figure.colorbar(images[3], ax=axes[:, 3:], label="V", orientation="horizontal", fraction=0.05, aspect=16)
    own.ax.locator_params(nbins=5)
    figure.suptitle(
        f"Potential of {example.formula}, {what}: {example.name}, RMSE {with_unit('esp', example.rmse)} "
        f"({with_unit('esp', example.rmse, 1)})"
    )
    return figure


def draw_esp_radial(examples: Sequence[EspExample]) -> Any:
    """|error| at every point against its distance to the nearest atom; radii of the elements are marked."""
    unit, factor = LABELS["esp"].shown[1]
    found = [example.nearest() for example in examples]
    distance = np.concatenate([pair[0] for pair in found])
    elements = np.unique(np.concatenate([pair[1] for pair in found]))
    error = factor * np.abs(np.concatenate([example.error for example in examples]))
    counted = np.concatenate([example.counted for example in examples])
    figure, axes = new_figure(1, 1, 7.5, 4.4)
    axis = axes[0, 0]
    rng = np.random.default_rng(0)
    drawn = rng.permutation(len(error))[:DRAWN_POINTS]
    for mask, color, label in ((counted, BLUE, "points"), (~counted, GRAY, "left out of the errors")):
        chosen = drawn[mask[drawn]]
        if len(chosen):
            axis.plot(distance[chosen], error[chosen], ".", color=color, markersize=3, alpha=0.35, label=label,
                      markeredgewidth=0)  # fmt: skip
    centers, middle, upper = _running_quantiles(distance, error)
    axis.plot(centers, middle, color="black", label=f"median in {BIN_WIDTH} Å")
    axis.plot(centers, upper, color="black", linestyle="--", label="95 % are below")
    positive = error[error > 0]
    low = float(np.quantile(positive, 0.005)) if len(positive) else 1e-3
    axis.set(xlabel="distance to the nearest atom (Å)", ylabel=f"|error| ({unit})", yscale="log")
    axis.set_ylim(low, float(error.max()) * 1.6 if len(positive) else 1.0)
    _mark_radii(axis, elements)
    axis.set_xlim(0.0, float(distance.max()) * 1.03)
    for handle in axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), markerscale=3).legend_handles:
        handle.set_alpha(1.0)
    axis.set_title(f"Error of the potential by distance, {len(examples)} systems")
    return figure


def _mark_radii(axis: Any, elements: np.ndarray) -> None:
    for k, z in enumerate(elements.tolist()):
        color, symbol = CYCLE[(k + 1) % len(CYCLE)], _symbol(z)
        for radius, line, what in ((COVALENT_RADII[z], ":", "covalent"), (VDW_RADII[z], "-.", "van der Waals")):
            axis.axvline(radius, color=color, linestyle=line, linewidth=1.2, label=f"{symbol}, {what} {radius:.2f} Å")


def _running_quantiles(distance: np.ndarray, error: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centers of distance bins with enough points, and median and 95 % quantile of the errors in them."""
    bins = np.floor(distance / BIN_WIDTH).astype(np.int64)
    numbers, counts = np.unique(bins, return_counts=True)
    numbers = numbers[counts >= min(MIN_IN_BIN, counts.max())]
    quantiles = [np.quantile(error[bins == k], (0.5, 0.95)) for k in numbers]
    middle, upper = np.array(quantiles).T
    return (numbers + 0.5) * BIN_WIDTH, middle, upper


def _reach(values: np.ndarray) -> float:
    return float(np.quantile(np.abs(values), SCALE_QUANTILE)) or 1.0


def _principal_axes(positions: np.ndarray) -> np.ndarray:
    """(3, 3) rows are directions of the molecule, from its longest to its shortest extent."""
    centered = positions - positions.mean(axis=0)
    _, _, directions = np.linalg.svd(centered, full_matrices=True)
    return np.asarray(directions)


def _draw_atoms(axis: Any, places: np.ndarray, numbers: np.ndarray, depth: np.ndarray) -> None:
    """Small circles with the symbols of the elements, the nearest last."""
    for k in np.argsort(depth):
        z = int(numbers[k])
        color = ATOM_COLORS.get(z, OTHER_COLOR)
        axis.plot(*places[k], "o", color=color, markersize=11, markeredgecolor="black", markeredgewidth=0.8)
        axis.annotate(_symbol(z), places[k], ha="center", va="center", fontsize=7)


def _scale_bar(axis: Any) -> None:
    """A bar of 1 Å in the lower left corner."""
    left, bottom = 0.97 * axis.get_xlim()[0], 0.97 * axis.get_ylim()[0]
    axis.plot([left, left + 1.0], [bottom, bottom], color="black", linewidth=2, solid_capstyle="butt")
    axis.annotate("1 Å", (left + 0.5, bottom), xytext=(0, 3), textcoords="offset points", ha="center", fontsize=7)


def _symbol(z: int) -> str:
    return symbols_of([z]).split()[0]
