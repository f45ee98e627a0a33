"""Labels that cannot belong together."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

from molcalc.errors import DatasetError
from molcalc.train import fit
from molcalc.train.data import open_dataset
from molcalc.train.data.contradictions import check_charges
from tests.train.data.conftest import Make


def _charged(atoms: Atoms, data: dict[str, np.ndarray]) -> None:
    if len(atoms) == 3:
        atoms.calc.results["charges"] += 1.0 / len(atoms)


def test_a_total_charge_that_charges_contradict_is_refused(make_database: Make, tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = make_database(change=_charged)
    message = (
        r"contradicts the atomic charges in \d+ of \d+ systems, first in set.db row \d+: total_charge=0, the charges "
        r"add up to 1.000 e; correct the key total_charge"
    )
    with pytest.raises(DatasetError, match=message):
        fit(path, "noneq-dcm", output=tmp_path / "run", progress=False)
    with pytest.raises(DatasetError, match=r"in 12 of 24 systems, first in set.db row 1:"):
        check_charges(open_dataset(path))


def test_rounded_and_missing_charges_are_accepted(make_database: Make) -> None:
    def change(atoms: Atoms, data: dict[str, np.ndarray]) -> None:
        atoms.calc.results["charges"] = atoms.calc.results["charges"].round(1)
        if len(atoms) == 4:
            del atoms.calc.results["charges"]

    dataset = open_dataset(make_database(change=change))
    assert 0 < dataset.has("charges").sum() < len(dataset)
    check_charges(dataset)
