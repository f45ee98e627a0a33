"""Terms of the comparison of predictions with labels, for training, validation and evaluation."""

from __future__ import annotations

from dataclasses import dataclass

from molcalc.io.schema import check_choices, check_least

DIPOLE_SOURCES = ("auto", "distributed", "charges")


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Points of the electrostatic potential that count, and charges that make the dipole.

    Attributes
    ----------
    esp_radius_factor : points closer to an atom than this many van der Waals radii are left out; 0 keeps all.
    esp_max : V; points with a larger absolute potential are left out. None keeps all.
    dipole_source : which charges' dipole is compared with labels: "distributed", "charges", or "auto" as the calculator
        returns it.
    """

    esp_radius_factor: float = 1.4
    esp_max: float | None = None
    dipole_source: str = "auto"

    def __post_init__(self) -> None:
        check_choices(self, dipole_source=DIPOLE_SOURCES)
        check_least(self, 0, "esp_radius_factor")


USUAL = Comparison()
"""The comparison unless a user says otherwise."""
