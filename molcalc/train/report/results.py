"""Predictions of every system, back into databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from molcalc.batch import AtomicBatch
from molcalc.errors import DatasetError
from molcalc.properties import LABELS
from molcalc.train.data.databases import write_results
from molcalc.train.data.dataset import Dataset
from molcalc.train.data.frames import Frame
from molcalc.train.data.targets import write_target
from molcalc.train.report.evaluation import Results as Predictions

ANNOTATED = ".db"


class Results:
    """Keeps the predictions of an evaluation, and writes them.

    An instance is what :func:`molcalc.train.report.evaluation.evaluate_part` takes as ``on_batch``.
    """

    def __init__(self, data: Dataset) -> None:
        self.data = data
        self._predicted: list[dict[str, np.ndarray]] = [{} for _ in range(len(data))]
        self._labels: list[dict[str, np.ndarray]] = [{} for _ in range(len(data))]

    def __call__(self, systems: np.ndarray, batch: AtomicBatch, predictions: Predictions) -> None:
        """Take in the predictions of one batch."""
        sizes = batch.atoms_per_system().numpy()
        cuts = {"atom": np.cumsum(sizes)[:-1]}
        if batch.esp_system_idx is not None:
            counts = np.bincount(batch.esp_system_idx.numpy(), minlength=batch.n_systems)
            cuts["point"] = np.cumsum(counts)[:-1]
        names = [name for name in LABELS if name in predictions and (LABELS[name].kind != "point" or "point" in cuts)]
        for source, kept in ((predictions, self._predicted), (batch.labels, self._labels)):
            for name in names:
                if name in source:
                    values = source[name].detach().double().numpy()
                    kind = LABELS[name].kind
                    parts = list(values) if kind == "system" else np.split(values, cuts[kind])
                    for k, part in zip(systems.tolist(), parts):
                        if kind != "system" or np.isfinite(part).any():  # a molecule has no stress
                            kept[k][name] = np.array(part)

    def write(self, path: Path, metadata: dict[str, Any]) -> int:
        """Write a file of all structures whose results are the predictions; returns their number.

        Rows have the keys ``source_file``, ``source_row``, ``label_energy`` and ``energy_error`` (eV), and
        ``forces_rmse``, ``dipole_rmse``, … where there are labels.

        Raises
        ------
        DatasetError, ResourceError
        """
        return write_target(path, self._frames(), metadata)

    def check_annotation(self, name: str) -> None:
        """Refuse data whose rows cannot be added to.

        Raises
        ------
        DatasetError
        """
        if not name.isidentifier():
            raise DatasetError(f"{name!r} cannot begin the name of a key: use letters, digits and _")
        for source in self.data.sources:
            if source.path.suffix.lower() != ANNOTATED:
                raise DatasetError(f"{source.name}: results can be added to SQLite databases ({ANNOTATED}) only")

    def annotate(self, name: str) -> None:
        """Add predictions to the rows they belong to: keys ``NAME_energy``, … and data ``NAME_forces``, …

        Raises
        ------
        DatasetError, ResourceError
        """
        self.check_annotation(name)
        sources, rows = self.data.row_ids()
        for index, source in enumerate(self.data.sources):
            own = np.flatnonzero(sources == index)
            if not len(own):
                continue
            energies = {f"{name}_energy": [float(self._predicted[k]["energy"]) for k in own]}
            errors = [self._errors(k) for k in own.tolist()]
            common = set.intersection(*(set(found) for found in errors))
            values = {**energies, **{f"{name}_{key}": [found[key] for found in errors] for key in sorted(common)}}
            arrays = {
                f"{name}_{label}": [self._predicted[k][label] for k in own]
                for label in self._predicted[int(own[0])]
                if label != "energy" and all(label in self._predicted[k] for k in own)
            }
            write_results(source.path, [int(row) for row in rows[own]], values, arrays)

    def _errors(self, k: int) -> dict[str, float]:
        found = {}
        for name, label in self._labels[k].items():
            difference = (self._predicted[k][name] - label).ravel()
            present = np.isfinite(difference)
            if name == "energy" and present.all():
                found["energy_error"] = float(difference[0])
            elif present.any():
                found[f"{name}_rmse"] = float(np.sqrt(np.mean(difference[present] ** 2)))
        return found

    def _frames(self) -> Iterator[Frame]:
        data = self.data
        sources, rows = data.row_ids()
        for k in range(len(data)):
            own = data.block([k])
            predicted, errors = self._predicted[k], self._errors(k)
            source = data.sources[int(sources[k])]
            label = source.row_label(int(rows[k]))
            keys: dict[str, Any] = {"source_file": source.name, "source_row": int(label) if label.isdigit() else label}
            if "energy_error" in errors:
                keys["label_energy"] = float(predicted["energy"]) - errors["energy_error"]
            yield Frame(
                numbers=own.atoms["numbers"],
                positions=own.atoms["positions"],
                cell=own.systems["cell"][0],
                pbc=own.systems["pbc"][0],
                total_charge=round(float(data.total_charge[k])),
                multiplicity=int(data.multiplicity[k]),
                fidelity=data.fidelities[int(data.fidelity[k])] if len(data.fidelities) > 1 else None,
                labels=predicted,
                esp_points=own.points["esp_points"] if "esp" in predicted else None,
                initial_charges=None,
                keys={**keys, **errors},
            )
