"""The report of a run: ``report.html`` (one file, pictures inside) and ``report.md``, and the pictures themselves."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from molcalc.assembly.opening import open_model
from molcalc.io import checkpoint
from molcalc.io.checkpoint import Checkpoint
from molcalc.io.files import write_atomic
from molcalc.properties import LABELS
from molcalc.registry import MODELS
from molcalc.train.data.comparison import Comparison
from molcalc.train.data.dataset import Dataset
from molcalc.train.data.parts import Parts
from molcalc.train.loop.potential_task import PotentialTask
from molcalc.train.loop.trainer import Trainer
from molcalc.train.report import figures
from molcalc.train.report.display import ERROR_HEADER, error_rows, esp_note, group_table, three_digits, with_unit
from molcalc.train.report.document import Code, DocumentPart, Heading, Image, Table, Text, as_html, as_markdown
from molcalc.train.report.esp_plots import chosen_examples, esp_examples
from molcalc.train.report.evaluation import Evaluation, Evaluator, evaluate_part, potential_spread
from molcalc.train.report.plots import PART_TITLES, Picture, RunCourse, draw_run
from molcalc.units import symbols_of

PLOTS = "plots"
SHOWN_GROUPS = 20
SHOWN_SYSTEMS = 3
GROUP_TITLES = {"fidelity": "fidelity", "formula": "molecule", "n_atoms": "number of atoms", "element": "element"}


class RunReport:
    """The report of a run: what was trained on what, how well it does, and how to use it.

    Parameters
    ----------
    trainer : of the run.
    parts : systems it trains on, and those that were held out.
    options : of the run by key, as plain values.
    usual : what options are unless a user says otherwise.
    """

    def __init__(
        self, trainer: Trainer[PotentialTask], parts: Parts, *, options: Mapping[str, Any], usual: Mapping[str, Any]
    ) -> None:
        self._trainer, self._parts, self._options, self._usual = trainer, parts, options, usual
        self._folder = trainer.folder.path
        self._with_pictures = bool(options["plots"])

    def write(self) -> dict[str, Evaluation]:
        """Evaluate the best model of a finished run, and write the report and its pictures.

        Returns
        -------
        errors of the best model by name of the held-out part ("valid", "test"), as far as there are any.
        """
        model = checkpoint.load(self._folder)
        evaluator = self._evaluator(model)
        held_out = {name: part for name, part in self._parts.held_out.items() if len(part)}
        errors = {name: evaluate_part(evaluator, part) for name, part in held_out.items()}
        self._write(model, evaluator, errors, finished=True)
        return errors

    def update(self) -> None:
        """Write report and pictures of a run that goes on, with the present averaged weights.

        To be called after a validation; draws no random numbers and changes nothing of the run.
        """
        model = self._trainer.averaged
        evaluator = self._evaluator(model)
        self._write(model, evaluator, {"valid": evaluate_part(evaluator, self._parts.valid)}, finished=False)

    def _evaluator(self, model: Checkpoint) -> Evaluator:
        return Evaluator(
            open_model(model),
            self._trainer.task.comparison,
            device=self._trainer.device,
            with_dispersion={subtraction.fidelity.name for subtraction in self._trainer.task.subtractions},
        )

    def _write(self, model: Checkpoint, evaluator: Evaluator, errors: Mapping[str, Evaluation], finished: bool) -> None:
        pictures: list[Picture] = []
        if self._with_pictures and figures.can_draw():
            folder = self._folder / PLOTS
            pictures = figures.drawn(lambda: draw_run(folder, self._course(evaluator, errors)), folder) or []
        blocks = self.blocks(model, errors, pictures, finished)
        write_atomic(self._folder / "report.md", as_markdown(blocks, self._folder).encode())
        write_atomic(self._folder / "report.html", as_html(blocks).encode())

    def _course(self, evaluator: Evaluator, errors: Mapping[str, Evaluation]) -> RunCourse:
        """History, errors and examples that pictures are drawn from."""
        trainer = self._trainer
        examples, radial = {}, []
        part = list(errors)[-1] if errors else ""
        if part and "esp" in errors[part].overall:
            chosen, evenly = chosen_examples(errors[part])
            systems = np.array([*chosen.values(), *evenly])
            found = esp_examples(evaluator, self._parts.held_out[part], systems)
            examples = dict(zip(chosen, found))
            radial = found[len(chosen) :]
        return RunCourse(trainer.history, trainer.task.measured, errors, examples, radial)

    def blocks(
        self, model: Checkpoint, errors: Mapping[str, Evaluation], pictures: Sequence[Picture], finished: bool
    ) -> list[DocumentPart]:
        """The report as a document.

        Parameters
        ----------
        model : that was evaluated.
        errors : of it, by name of the held-out part.

        Returns
        -------
        headings, paragraphs, tables, code and pictures, in order
        """
        trainer = self._trainer
        blocks: list[DocumentPart] = [Heading(self._folder.name, 1), Text(self._summary(model, finished))]
        blocks += [Heading("How to use it"), Code(_usage(self._folder, model))]
        blocks += [Heading("Errors"), *_errors(errors, trainer.task.loss.labels, trainer.task.comparison)]
        if errors:
            part = list(errors)[-1]
            held_out = self._parts.held_out[part]
            blocks += _groups(errors[part], part)
            blocks += _largest(errors[part], held_out)
            if not trainer.task.potential.rotation_invariant and "esp" in errors[part].overall:
                blocks += _orientation(potential_spread(model, held_out, trainer.task.comparison, trainer.seed))
        blocks += [Heading("Data"), *_data(self._parts.train, model)]
        blocks += [Heading("Options that differ from the defaults"), *option_table(self._options, self._usual)]
        if pictures:
            blocks += [Heading("Pictures"), *(Image(picture.path, picture.caption) for picture in pictures)]
        elif self._with_pictures and not figures.can_draw():
            blocks.append(Text(f"There are no pictures: matplotlib is not installed ({figures.INSTALL_PLOT})."))
        return blocks

    def _summary(self, model: Checkpoint, finished: bool) -> str:
        """One paragraph: size, start, length, optimizer, and which model is kept."""
        trainer, options = self._trainer, self._options
        progress, history = trainer.progress, trainer.history
        size = sum(value.numel() for value in model.weights.values())
        start = f"started from {Path(options['init']).name}" if options["init"] else "started from random weights"
        text = (
            f"{model.config.kind} with {size} parameters, {start}; {progress.epoch} of {trainer.config.epochs} epochs, "
            f"{progress.step} steps, {_duration(progress.seconds)} of training with {options['optimizer']} in "
            f"{trainer.config.precision}, seed {trainer.seed}."
        )
        if history:
            best = min(history, key=lambda row: row["valid_score"])
            rate = max(row["learning_rate"] for row in history)
            started = " (the weights that the run started from: no epoch was better)" if best["step"] == 0 else ""
            text += (
                f" Learning rate up to {rate:.3g} ({trainer.schedule.config.name}). Kept is the model with the "
                "smallest geometric mean of the errors on the valid part, from epoch "
                f"{best['epoch']}{started}; model hash {model.hash}."
            )
        return text if finished else f"{text} The run goes on; these are the present averaged weights."


def _usage(folder: Path, model: Checkpoint) -> str:
    name = MODELS[model.config.kind].calculator_name
    fidelity = f', fidelity="{model.config.fidelities[0].name}"' if len(model.config.fidelities) > 1 else ""
    return (
        f"from molcalc import {name}\n"
        f'atoms.calc = {name}("{folder.as_posix()}"{fidelity})\n'
        "print(atoms.get_potential_energy(), atoms.get_forces())"
    )


def _errors(errors: Mapping[str, Evaluation], trained: Collection[str], comparison: Comparison) -> list[DocumentPart]:
    blocks: list[DocumentPart] = []
    for part, evaluation in errors.items():
        rows = error_rows(evaluation.overall)
        for row, name in zip(rows, evaluation.overall):
            if name not in trained:
                row[0] += " (not trained on)"
        blocks += [Heading(PART_TITLES.get(part, part), 3), Table(ERROR_HEADER, rows)]
    if any("esp" in evaluation.overall for evaluation in errors.values()):
        blocks.append(Text(esp_note(comparison.esp_radius_factor, comparison.esp_max)))
    return blocks


def _groups(evaluation: Evaluation, part: str) -> list[DocumentPart]:
    blocks: list[DocumentPart] = []
    for kind, title in GROUP_TITLES.items():
        table = {name: row for name, row in evaluation.groups.get(kind, {}).items() if row}
        if len(table) < 2:
            continue
        header, rows = group_table(table, title)
        more = "" if len(rows) <= SHOWN_GROUPS else f" (largest {SHOWN_GROUPS} of {len(rows)})"
        blocks += [Heading(f"By {title}, {PART_TITLES.get(part, part)}{more}", 3), Table(header, rows[:SHOWN_GROUPS])]
    return blocks


def _largest(evaluation: Evaluation, data: Dataset) -> list[DocumentPart]:
    """The systems with the largest errors, so that their labels can be looked at."""
    blocks: list[DocumentPart] = []
    names = [name for name in ("energy", "forces", "esp") if name in evaluation.system_rmse]
    rows = []
    for name in names:
        errors = evaluation.system_rmse[name]
        order = np.argsort(np.where(np.isfinite(errors), -errors, np.inf), kind="stable")[:SHOWN_SYSTEMS]
        found = [k for k in order.tolist() if np.isfinite(errors[k])]
        rows += [[LABELS[name].title, data.row_name(k), with_unit(name, float(errors[k]))] for k in found]
    if rows:
        blocks += [
            Heading("Largest errors (RMSE of one structure)", 3),
            Table(["property", "structure", "RMSE"], rows, numeric=False),
        ]
    return blocks


def _orientation(spread: float) -> list[DocumentPart]:
    """A warning with a number in V, for models whose potential does not turn with the molecule."""
    return [
        Heading("Orientation", 3),
        Text(
            "The distributed charges of this model do not turn with the molecule: over random orientations, the "
            f"potential at one point has a standard deviation of {three_digits(1e3 * spread)} mV."
        ),
    ]


def _data(train: Dataset, model: Checkpoint) -> list[DocumentPart]:
    provenance = model.config.provenance
    sizes = train.n_atoms()
    elements = symbols_of(np.unique(train.numbers))
    files = ", ".join(source.name for source in train.sources)
    rows = [
        ["files", files],
        ["structures", provenance.get("trained_on", str(len(train)))],
        ["atoms per structure", f"{sizes.min()}–{sizes.max()}, {three_digits(float(sizes.mean()))} on average"],
        ["elements", elements],
        ["training labels", ", ".join(f"{name} {count}" for name, count in train.counts().items() if count)],
        ["data hash", train.hash],
        ["hash of the split", provenance.get("split", "")],
    ]
    for fidelity in model.config.fidelities:
        added = "in the labels" if fidelity.dispersion_in_labels else fidelity.dispersion or "none"
        rows.append(
            [f"level {fidelity.name}", f"functional {fidelity.functional or 'not declared'}, dispersion {added}"]
        )
    return [Table(["", ""], [row for row in rows if row[1]], numeric=False)]


def option_table(options: Mapping[str, Any], usual: Mapping[str, Any]) -> list[DocumentPart]:
    """Options that are not as they are unless a user says otherwise, or the word that there are none."""
    default, chosen = _flat(usual), _flat(options)
    names = [name for name in dict.fromkeys([*chosen, *default]) if chosen.get(name) != default.get(name)]
    rows = [[name, _text(chosen, name), _text(default, name)] for name in names]
    return [Table(["option", "value", "default"], rows, numeric=False)] if rows else [Text("None.")]


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested options by dotted name."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[prefix + str(key)] = None if isinstance(value, Mapping) else value
    return flat


def _text(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    return "–" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{three_digits(seconds)} s"
    return f"{three_digits(seconds / 60)} min" if seconds < 7200 else f"{three_digits(seconds / 3600)} h"
