"""The report of a run that trained a generator: ``report.html``, ``report.md`` and a picture of its course."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from molcalc.conformers.vae.reference import ReferenceStructure
from molcalc.conformers.vae.training import VAETask
from molcalc.io.files import write_atomic
from molcalc.train.loop.trainer import Trainer
from molcalc.train.report import figures
from molcalc.train.report.display import three_digits
from molcalc.train.report.document import Code, DocumentPart, Heading, Image, Table, Text, as_html, as_markdown
from molcalc.train.report.summary import PLOTS, option_table

MEANINGS = {
    "pair_rmse": "distances of all pairs, RMSE in Å",
    "bond_rmse": "bonds, RMSE in Å",
    "angle_rmse": "distances over two bonds, RMSE in Å",
    "stereo": "centers with the right handedness, share",
    "torsion_error": "torsions, median error in degrees",
    "mirror_error": "torsions with the sign of the mirror image, share",
    "divergence": "divergence from the prior, nat",
    "active_units": "latent dimensions that say something",
}
"""Metrics as the report names them."""


class VAEReport:
    """The report of a run.

    Parameters
    ----------
    trainer : of the run.
    reference : molecule that the generator is for.
    options : of the run by key, as plain values.
    usual : what options are unless a user says otherwise.
    """

    def __init__(
        self,
        trainer: Trainer[VAETask],
        reference: ReferenceStructure,
        *,
        options: Mapping[str, Any],
        usual: Mapping[str, Any],
    ) -> None:
        self._trainer, self._reference = trainer, reference
        self._options, self._usual = options, usual
        self._folder = trainer.folder.path

    def update(self) -> None:
        """Write the report of a run that goes on, with the errors of its last validation."""
        going_on = "The run goes on; these are errors of the present averaged weights."
        self._write({"valid": self._trainer.history[-1]}, going_on)

    def write(self, metrics: Mapping[str, Mapping[str, float]], advice: str) -> None:
        """Write the report of a run that has ended.

        Parameters
        ----------
        metrics : of the best model, by held-out part.
        advice : on the latents; empty where they are in order.
        """
        self._write(metrics, advice)

    def _write(self, metrics: Mapping[str, Mapping[str, Any]], note: str) -> None:
        trainer, molecule = self._trainer, self._reference.molecule
        size = sum(parameter.numel() for parameter in trainer.task.network.parameters())
        named = molecule.formula if molecule.name == molecule.formula else f"{molecule.name}, {molecule.formula}"
        text = (
            f"Generator of conformers of {named}, charge {molecule.charge}, with {size} "
            f"parameters; {trainer.task.model_config.provenance['trained_on']} structures; {trainer.progress.epoch} of "
            f"{trainer.config.epochs} epochs, {trainer.progress.step} steps, seed {trainer.seed}."
        )
        name = self._folder.as_posix()
        usage = (
            f'from molcalc.conformers import ConformerVAE\nstructures = ConformerVAE.load("{name}").sample(200, seed=0)'
        )
        blocks: list[DocumentPart] = [Heading(self._folder.name, 1), Text(text)]
        blocks += [Text(note)] if note else []
        blocks += [Heading("How to use it"), Code(usage)]
        blocks.append(Heading("Errors of reconstructions"))
        parts = list(metrics)
        rows = [
            [MEANINGS[key], *(three_digits(float(metrics[part][key])) for part in parts)]
            for key in MEANINGS
            if all(key in metrics[part] for part in parts)
        ]
        blocks.append(Table(["", *parts], rows))
        blocks += [Heading("Options that differ from the defaults"), *option_table(self._options, self._usual)]
        if self._options["plots"] and figures.can_draw() and trainer.history:
            path = figures.drawn(self._draw, self._folder / PLOTS)
            if path is not None:
                blocks += [Heading("Course"), Image(path, "Losses, and errors of held-out structures.")]
        write_atomic(self._folder / "report.md", as_markdown(blocks, self._folder).encode())
        write_atomic(self._folder / "report.html", as_html(blocks).encode())

    def _draw(self) -> Path:
        history = self._trainer.history
        with figures.style():
            figure, axes = figures.new_figure(1, 3, 10.5, 3.0)
            steps = [row["step"] for row in history]
            panels = (
                ("losses", "nat", {"train_loss": "training", "valid_loss": "validation"}),
                ("distances of held-out structures", "RMSE (Å)",
                 {"pair_rmse": "all pairs", "angle_rmse": "over two bonds", "bond_rmse": "bonds"}),
                ("latent space", "nat; number of dimensions",
                 {"divergence": "divergence from the prior", "active_units": "dimensions that say something"}),
            )  # fmt: skip
            for axis, (title, unit, names) in zip(axes[0], panels):
                for (name, label), color in zip(names.items(), figures.CYCLE):
                    points = [(step, row[name]) for step, row in zip(steps, history) if name in row]
                    axis.plot(*zip(*points), label=label, color=color) if points else None
                axis.set_title(title)
                axis.set_xlabel("step")
                axis.set_ylabel(unit)
                axis.margins(y=0.3)
                axis.legend(loc="upper right")
            return figures.save_figure(figure, self._folder / PLOTS / "course.png")
