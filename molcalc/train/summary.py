"""The report of a finished run."""

from __future__ import annotations

from collections.abc import Mapping

from molcalc.files import write_atomic
from molcalc.train.evaluation import Evaluation
from molcalc.train.metrics import UNITS
from molcalc.train.preparation import Parts
from molcalc.train.trainer import Trainer


def write_summary(trainer: Trainer, parts: Parts, metrics: Mapping[str, Evaluation]) -> None:
    """Write ``report.md`` and, where matplotlib is installed, the plots it shows."""
    lines = [f"# {trainer.folder.path.name}", ""]
    for name, evaluation in metrics.items():
        lines += [f"## Errors, {name}", "", "| property | MAE | RMSE | values |", "|---|---|---|---|"]
        for prop, row in evaluation.overall.items():
            lines.append(f"| {prop} ({UNITS[prop]}) | {row['mae']:.4g} | {row['rmse']:.4g} | {row['n']} |")
        lines.append("")
    write_atomic(trainer.folder.path / "report.md", "\n".join(lines).encode())
