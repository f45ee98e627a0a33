"""What a user says about files of data: the unit of each label, and the name that it has there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from molcalc.errors import DatasetError, suggest
from molcalc.properties import LABELS
from molcalc.state import FIDELITY_KEY

NAMED = (*LABELS, "esp_points", "total_charge", "multiplicity", FIDELITY_KEY)
"""What a file may have under another name."""


@dataclass(frozen=True)
class Declaration:
    """Units and names of labels in files, where they are not the usual ones.

    Attributes
    ----------
    units : by label, or positions, cell, esp_points; what is not here is as the file says, or in eV, Å and e.
    labels : name in the files by label, or esp_points, total_charge, multiplicity, fidelity.
    """

    units: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        taken: dict[str, str] = {}
        for name, theirs in self.labels.items():
            if name not in NAMED:
                raise DatasetError(f"labels: {name!r} is no label{suggest(name, NAMED)}; labels are {', '.join(NAMED)}")
            if theirs in taken:
                raise DatasetError(f"labels: {theirs!r} is taken for {taken[theirs]} and for {name}; choose one")
            taken[theirs] = name

    def __bool__(self) -> bool:
        return bool(self.units or self.labels)
