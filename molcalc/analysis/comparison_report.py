"""Comparison of models as a table, as a report in Markdown and HTML, and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from molcalc.analysis.model_comparison import ComparedModel, ModelComparison
from molcalc.io.files import write_atomic
from molcalc.properties import LABELS, PROPERTIES
from molcalc.train.report.display import three_digits
from molcalc.train.report.document import DocumentPart, Heading, Image, Table, Text, as_html, as_markdown
from molcalc.train.report.figures import can_draw
from molcalc.train.report.plots import Picture

REPORT_FILES = ("comparison.json", "comparison.md", "comparison.html")
PICTURES = "plots"
OF_CHARGES = {"distributed": "distributed charges", "charges": "charges of atoms"}
"""Words for what makes a dipole or potential."""
SHOWN_AFTER_MOTIONS = ("energy", "forces", "charges", "dipole", "dcm_dipole", "esp")
_MS = 1e3


@dataclass(frozen=True)
class QuantityRow:
    """One quantity of all models.

    Attributes
    ----------
    section : what it is about: "errors", "after rotation", "time and memory", …
    name, unit : of the quantity; unit "" for numbers and words.
    values : of the models in their order; None where one does not have it.
    """

    section: str
    name: str
    unit: str
    values: tuple[float | int | str | None, ...]

    def cell(self, k: int) -> str:
        """The value of one model, three digits of numbers that were measured."""
        value = self.values[k]
        if value is None:
            return "–"
        return three_digits(value) if isinstance(value, float) else str(value)


def comparison_rows(comparison: ModelComparison) -> list[QuantityRow]:
    """Everything that tables show of a comparison.

    Returns
    -------
    rows, those of one section together
    """
    return [*_error_rows(comparison), *_motion_rows(comparison), *_cost_rows(comparison)]


def _error_rows(comparison: ModelComparison) -> Iterator[QuantityRow]:
    models = comparison.models
    for name in (name for name in LABELS if any(name in model.errors for model in models)):
        unit, factor = LABELS[name].shown[0]
        note = " (not trained on)" if comparison.unlearned(name) else ""
        for kind in ("mae", "rmse"):
            values = tuple(_error(model.errors, name, kind, factor) for model in models)
            yield QuantityRow("errors", f"{LABELS[name].title}, {kind.upper()}{note}", unit, values)
    for name in ("dipole", "esp"):
        unit, factor = LABELS[name].shown[-1 if name == "esp" else 0]
        for source, words in OF_CHARGES.items():
            values = tuple(_error(model.errors_by_charges.get(source, {}), name, "rmse", factor) for model in models)
            if any(value is not None for value in values):
                yield QuantityRow("errors", f"{LABELS[name].title} of {words}, RMSE", unit, values)


def _error(errors: dict[str, dict[str, float]], name: str, kind: str, factor: float) -> float | None:
    return factor * errors[name][kind] if name in errors else None


def _motion_rows(comparison: ModelComparison) -> Iterator[QuantityRow]:
    motions = list(dict.fromkeys(error.motion for error in comparison.models[0].equivariance.errors))
    for motion in motions:
        for name in SHOWN_AFTER_MOTIONS:
            found = [
                {(e.motion, e.name): e for e in model.equivariance.errors}.get((motion, name))
                for model in comparison.models
            ]
            if any(found):
                shown = tuple(None if e is None else f"{_small(e.mean)} ± {_small(e.deviation)}" for e in found)
                yield QuantityRow(f"after {motion}", PROPERTIES[name].title, PROPERTIES[name].unit, shown)
    kept = tuple("yes" if model.equivariance.kept else "no" for model in comparison.models)
    yield QuantityRow("symmetry", "keeps what it declares", "", kept)


def _cost_rows(comparison: ModelComparison) -> Iterator[QuantityRow]:
    section, many = "time and memory", comparison.n_many
    each: Sequence[tuple[str, str, Callable[[ComparedModel], float | int | str | None]]] = (
        ("parameters", "", lambda m: m.n_parameters),
        ("epochs", "", lambda m: None if m.epochs is None else f"{m.epochs:g}"),
        ("steps of training", "", lambda m: m.steps),
        ("training", "s", lambda m: m.training_seconds),
        ("step of training", "ms", lambda m: None if m.step is None else _MS * m.step.median),
        ("step of training, ratio", "", lambda m: None if m.step is None else m.step.ratio),
        ("one structure", "ms", lambda m: _MS * m.one.median),
        ("one structure, ratio", "", lambda m: m.one.ratio),
        (f"each of {many} structures", "ms", lambda m: _MS * m.many.median),
        (f"each of {many} structures, ratio", "", lambda m: m.many.ratio),
        ("peak memory of training", "MB", lambda m: None if m.memory is None else m.memory.training),
        (f"peak memory of {many} structures", "MB", lambda m: None if m.memory is None else m.memory.inference),
        ("memory without a model", "MB", lambda m: None if m.memory is None else m.memory.libraries),
    )
    for name, unit, value in each:
        values = tuple(value(model) for model in comparison.models)
        if any(found is not None for found in values):
            yield QuantityRow(section, name, unit, values)


def _small(value: float) -> str:
    return f"{value:.1e}" if value and math.isfinite(value) else "0"


def comparison_document(comparison: ModelComparison, pictures: Sequence[Picture] = ()) -> list[DocumentPart]:
    """The report: what was compared on what, tables, pictures.

    Returns
    -------
    parts of a document
    """
    names = [model.name for model in comparison.models]
    rows = comparison_rows(comparison)
    parts: list[DocumentPart] = [Heading("Comparison of models", 1), *map(Text, comparison_notes(comparison))]
    for section in dict.fromkeys(row.section for row in rows):
        own = [row for row in rows if row.section == section]
        lines = [[row.name, row.unit, *(row.cell(k) for k in range(len(names)))] for row in own]
        parts += [Heading(section.capitalize()), Table(["", "unit", *names], lines)]
    if pictures:
        parts += [Heading("Pictures"), *(Image(picture.path, picture.caption) for picture in pictures)]
    return parts


def comparison_notes(comparison: ModelComparison) -> list[str]:
    """What numbers of a comparison are over, and how they were taken.

    Returns
    -------
    sentences
    """
    left_out = "".join(f"; {n} left out ({reason})" for reason, n in comparison.left_out.items())
    moved = comparison.models[0].equivariance
    notes = [f"Errors are over {comparison.n_structures} structures of {', '.join(comparison.data)}{left_out}."]
    if comparison.settings:
        chosen = comparison.settings
        notes.append(
            f"All were trained alike: {chosen['epochs']} epochs in batches of {chosen['batch_size']} "
            f"{chosen['batch_mode']}, {chosen['optimizer']} at a rate of {chosen['learning_rate']:g}, seed "
            f"{chosen['seed']}."
        )
    notes += [
        f"Errors after motions are means and standard deviations over {moved.n_structures} structures and random "
        f"motions, in {moved.dtype}.",
        "Times are medians of calls in turns, ratios medians of those to the first model; memory is the peak of a "
        "fresh process for each model, libraries included.",
    ]
    return notes


def write_comparison(folder: Path, comparison: ModelComparison) -> list[Path]:
    """Write ``comparison.json``, ``comparison.md``, ``comparison.html`` and pictures.

    Returns
    -------
    files that were written; without pictures where matplotlib is not installed

    Raises
    ------
    ResourceError
        When the disk is full or not writable.
    """
    from molcalc.analysis.comparison_plots import draw_comparison

    folder.mkdir(parents=True, exist_ok=True)
    pictures = draw_comparison(folder / PICTURES, comparison) if can_draw() else []
    parts = comparison_document(comparison, pictures)
    values = json.dumps(comparison.to_dict(), indent=1, ensure_ascii=False) + "\n"
    for name, text in zip(REPORT_FILES, (values, as_markdown(parts, folder), as_html(parts))):
        write_atomic(folder / name, text.encode())
    return [*(folder / name for name in REPORT_FILES), *(picture.path for picture in pictures)]
