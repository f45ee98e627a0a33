"""The report of a run: ``report.html`` (one file, pictures inside) and ``report.md``, and the pictures themselves."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from molcalc.calculators.sources import CALCULATORS
from molcalc.io import checkpoint
from molcalc.io.checkpoint import Checkpoint
from molcalc.io.files import write_atomic
from molcalc.properties import LABELS
from molcalc.train.config import make_config
from molcalc.train.data.dataset import Dataset
from molcalc.train.loop.trainer import Trainer
from molcalc.train.report import figures
from molcalc.train.report.display import ERROR_HEADER, error_rows, esp_note, group_table, number, with_unit
from molcalc.train.report.document import Block, Code, Heading, Image, Table, Text, as_html, as_markdown
from molcalc.train.report.esp_examples import chosen_examples, esp_examples
from molcalc.train.report.evaluation import Evaluation, evaluate_part
from molcalc.train.report.orientation import potential_spread
from molcalc.train.report.plots import PARTS, Picture, Shown, draw_run
from molcalc.train.start import network as networks
from molcalc.train.start.preparation import Parts
from molcalc.units import symbols_of

log = logging.getLogger(__name__)

PLOTS = "plots"
SHOWN_GROUPS = 20
SHOWN_SYSTEMS = 3
GROUP_TITLES = {"fidelity": "fidelity", "formula": "molecule", "n_atoms": "number of atoms", "element": "element"}


def write_summary(trainer: Trainer, parts: Parts, metrics: Mapping[str, Evaluation]) -> None:
    """Write the report of a finished run and its pictures.

    Parameters
    ----------
    metrics : errors of the best model by name of the part ("valid", "test").
    """
    best = checkpoint.load(trainer.folder.path)
    _write(trainer, parts, metrics, best, finished=True)


def update_plots(trainer: Trainer) -> None:
    """Write report and pictures of a run that goes on, with the present averaged weights.

    To be called after a validation; draws no random numbers and changes nothing of the run.
    """
    with trainer.average.applied():
        weights = {name: value.detach().clone() for name, value in trainer.network.state_dict().items()}
    model = networks.checkpointed(trainer.model_config, weights)
    parts = Parts(trainer.train, trainer.valid, trainer.train.subset([]))
    _write(trainer, parts, {"valid": evaluate_part(model, trainer.valid, trainer.config)}, model, finished=False)


def _write(
    trainer: Trainer, parts: Parts, metrics: Mapping[str, Evaluation], model: Checkpoint, finished: bool
) -> None:
    folder = trainer.folder.path
    pictures: list[Picture] = []
    if trainer.config.plots and figures.available():
        try:
            pictures = draw_run(folder / PLOTS, _shown(trainer, parts, metrics, model))
        except Exception as error:  # hours of training must not end with a font that matplotlib cannot find
            log.warning("the pictures in %s could not be drawn: %s", folder / PLOTS, error)
    blocks = report(trainer, parts, metrics, model, pictures, finished)
    write_atomic(folder / "report.md", as_markdown(blocks, folder).encode())
    write_atomic(folder / "report.html", as_html(blocks).encode())


def _shown(trainer: Trainer, parts: Parts, metrics: Mapping[str, Evaluation], model: Checkpoint) -> Shown:
    examples, radial = {}, []
    part = list(metrics)[-1] if metrics else ""
    if part and "esp" in metrics[part].overall:
        data: Dataset = getattr(parts, part)
        chosen, evenly = chosen_examples(metrics[part])
        found = esp_examples(model, data, np.array([*chosen.values(), *evenly]), trainer.config)
        examples = dict(zip(chosen, found))
        radial = found[len(chosen) :]
    return Shown(trainer.history, trainer.measured, metrics, examples, radial)


def report(
    trainer: Trainer,
    parts: Parts,
    metrics: Mapping[str, Evaluation],
    model: Checkpoint,
    pictures: list[Picture],
    finished: bool = True,
) -> list[Block]:
    """What was trained on what, how well it does, and how to use it."""
    folder = trainer.folder.path
    blocks: list[Block] = [Heading(folder.name, 1), Text(_course(trainer, model, finished))]
    blocks += [Heading("How to use it"), Code(_usage(folder, model))]
    blocks += [Heading("Errors"), *_errors(trainer, metrics)]
    if metrics:
        part = list(metrics)[-1]
        blocks += _groups(metrics[part], part)
        blocks += _largest(metrics[part], getattr(parts, part))
        blocks += _orientation(trainer, model, metrics[part], getattr(parts, part))
    blocks += [Heading("Data"), *_data(parts, model)]
    blocks += [Heading("Options that differ from the defaults"), *_options(trainer)]
    if pictures:
        blocks += [Heading("Pictures"), *(Image(picture.path, picture.caption) for picture in pictures)]
    elif trainer.config.plots and not figures.available():
        blocks.append(Text(f"There are no pictures: matplotlib is not installed ({figures.INSTALL})."))
    return blocks


def _course(trainer: Trainer, model: Checkpoint, finished: bool) -> str:
    progress, config = trainer.progress, trainer.config
    size = sum(value.numel() for value in model.weights.values())
    start = f"started from {Path(str(config.init)).name}" if config.init else "started from random weights"
    text = (
        f"{model.config.kind} with {size} parameters, {start}; {progress.epoch} of {config.epochs} epochs, "
        f"{progress.step} steps, {_duration(progress.seconds)} of training with {config.optimizer} in "
        f"{config.precision}, seed {config.seed}."
    )
    if trainer.history:
        best = min(trainer.history, key=lambda row: row["valid_score"])
        rate = max(row["learning_rate"] for row in trainer.history)
        text += (
            f" Learning rate up to {rate:.3g} ({config.schedule.name}). Kept is the model with the smallest geometric "
            f"mean of the errors on the valid part, from epoch {best['epoch']}; model hash {model.hash}."
        )
    return text if finished else f"{text} The run goes on; these are the present averaged weights."


def _usage(folder: Path, model: Checkpoint) -> str:
    name = CALCULATORS[model.config.kind]
    fidelity = f', fidelity="{model.config.fidelities[0].name}"' if len(model.config.fidelities) > 1 else ""
    return (
        f"from molcalc.calculators import {name}\n"
        f'atoms.calc = {name}("{folder.as_posix()}"{fidelity})\n'
        "print(atoms.get_potential_energy(), atoms.get_forces())"
    )


def _errors(trainer: Trainer, metrics: Mapping[str, Evaluation]) -> list[Block]:
    blocks: list[Block] = []
    for part, evaluation in metrics.items():
        rows = error_rows(evaluation.overall)
        for row, name in zip(rows, evaluation.overall):
            if name not in trainer.loss.labels:
                row[0] += " (not trained on)"
        blocks += [Heading(PARTS.get(part, part), 3), Table(ERROR_HEADER, rows)]
    if any("esp" in evaluation.overall for evaluation in metrics.values()):
        blocks.append(Text(esp_note(trainer.config.esp_radius_factor, trainer.config.esp_max)))
    return blocks


def _groups(evaluation: Evaluation, part: str) -> list[Block]:
    blocks: list[Block] = []
    for kind, title in GROUP_TITLES.items():
        table = {name: row for name, row in evaluation.groups.get(kind, {}).items() if row}
        if len(table) < 2:
            continue
        header, rows = group_table(table, title)
        more = "" if len(rows) <= SHOWN_GROUPS else f" (largest {SHOWN_GROUPS} of {len(rows)})"
        blocks += [Heading(f"By {title}, {PARTS.get(part, part)}{more}", 3), Table(header, rows[:SHOWN_GROUPS])]
    return blocks


def _largest(evaluation: Evaluation, data: Dataset) -> list[Block]:
    """The systems with the largest errors, so that their labels can be looked at."""
    blocks: list[Block] = []
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


def _orientation(trainer: Trainer, model: Checkpoint, evaluation: Evaluation, data: Dataset) -> list[Block]:
    """A warning with a number, for models whose potential does not turn with the molecule."""
    if trainer.potential.rotation_invariant or "esp" not in evaluation.overall:
        return []
    spread = potential_spread(model, data, trainer.config)
    return [
        Heading("Orientation", 3),
        Text(
            "The distributed charges of this model do not turn with the molecule: over random orientations, the "
            f"potential at one point has a standard deviation of {number(1e3 * spread)} mV."
        ),
    ]


def _data(parts: Parts, model: Checkpoint) -> list[Block]:
    train, provenance = parts.train, model.config.provenance
    sizes = train.n_atoms()
    elements = symbols_of(np.unique(train.numbers))
    files = ", ".join(source.name for source in train.sources)
    rows = [
        ["files", files],
        ["structures", provenance.get("trained_on", str(len(train)))],
        ["atoms per structure", f"{sizes.min()}–{sizes.max()}, {number(float(sizes.mean()))} on average"],
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


def _options(trainer: Trainer) -> list[Block]:
    default = _flat(make_config({"model": trainer.config.model}).to_dict())
    chosen = _flat(trainer.config.to_dict())
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
        return f"{number(seconds)} s"
    return f"{number(seconds / 60)} min" if seconds < 7200 else f"{number(seconds / 3600)} h"
