"""Files and databases with the predictions of every system."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from molcalc.batch import AtomicBatch
from molcalc.errors import DatasetError
from molcalc.properties import LABELS
from molcalc.state import FIDELITY_KEY, state_key
from molcalc.train.data.block import Block
from molcalc.train.data.convert import write_file
from molcalc.train.data.databases import write_results
from molcalc.train.data.dataset import Dataset
from molcalc.train.data.problems import Problems
from molcalc.train.report.evaluation import Predictions

ANNOTATED = ".db"


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """Names of files, with as much of their folders as tells those of one name apart.

    Parameters
    ----------
    paths : those of one file are not told apart.

    Returns
    -------
    one name for each, such as "water.db" or "run1/water.db"
    """
    parts = [path.absolute().parts for path in paths]
    taken = [1] * len(parts)
    while True:
        names = ["/".join(part[-n:]) for part, n in zip(parts, taken)]
        files: dict[str, set[tuple[str, ...]]] = {}
        for name, part in zip(names, parts):
            files.setdefault(name, set()).add(part)
        if all(len(found) == 1 for found in files.values()):
            return names
        taken = [n + (len(files[name]) > 1) for name, n in zip(names, taken)]


class PredictionWriter:
    """Writer of the predictions of an evaluation, which it collects batch by batch.

    An instance is what :func:`molcalc.train.report.evaluation.evaluate_part` takes as ``on_batch``.
    """

    def __init__(self, data: Dataset) -> None:
        self.data = data
        self._row_ids = data.row_ids()
        self._names = distinct_names([source.path for source in data.sources])
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

        Rows keep their keys, and have ``source_file``, ``source_row``, ``label_energy`` and ``energy_error`` (eV), and
        ``forces_rmse``, ``dipole_rmse``, … where there are labels. Files of one name have as much of their folders in
        ``source_file`` as tells them apart.

        Returns
        -------
        number of structures

        Raises
        ------
        DatasetError, ResourceError
        """
        return write_file(path, self._blocks(), metadata)

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
        sources, rows = self._row_ids
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

    def _keys_of_files(self) -> dict[tuple[int, int], dict[str, Any]]:
        """Keys of rows as their files have them, without charge and the like, by source and row."""
        found: dict[tuple[int, int], dict[str, Any]] = {}
        for index, source in enumerate(self.data.sources):
            for block in source.read(Problems()):
                keys = {name: values for name, values in block.keys.items() if state_key(name) is None}
                for k, row in enumerate(block.systems["row"].tolist()):
                    own = {name: values[k] for name, values in keys.items() if values[k] is not None}
                    found[index, row] = own
        return found

    def _blocks(self) -> Iterator[Block]:
        of_files = self._keys_of_files()
        for block in self.data.blocks():
            chosen = block.systems.pop("row").tolist()
            for name, label in LABELS.items():
                block.part(label.kind).pop(name, None)
                values = [self._predicted[k][name] for k in chosen if name in self._predicted[k]]
                if len(values) == len(chosen):
                    joined = np.stack(values) if label.kind == "system" else np.concatenate(values)
                    block.part(label.kind)[name] = joined
            if "esp" not in block.points:
                block.points.clear()
                block.systems.pop("n_points", None)
            sources, numbers = self._row_ids
            rows = [{**of_files[int(sources[k]), int(numbers[k])], **self._keys(k)} for k in chosen]
            names = dict.fromkeys(name for keys in rows for name in keys)
            block.keys = {name: [keys.get(name) for keys in rows] for name in names}
            yield block

    def _keys(self, k: int) -> dict[str, Any]:
        """State of a structure, where it comes from, and its errors."""
        data = self.data
        keys: dict[str, Any] = {
            "total_charge": round(float(data.total_charge[k])),
            "multiplicity": int(data.multiplicity[k]),
        }
        if len(data.fidelities) > 1:
            keys[FIDELITY_KEY] = data.fidelities[int(data.fidelity[k])]
        source, row = (ids[k] for ids in self._row_ids)
        file = data.sources[int(source)]
        label = file.row_label(int(row))
        keys.update(source_file=self._names[int(source)], source_row=int(label) if label.isdigit() else label)
        errors = self._errors(k)
        if "energy_error" in errors:
            keys["label_energy"] = float(self._predicted[k]["energy"]) - errors["energy_error"]
        return {**keys, **errors}
