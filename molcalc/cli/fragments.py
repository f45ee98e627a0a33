"""Where a model puts the charge of two molecules that are far apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from molcalc.io.checkpoint import Checkpoint

DISTANCE = 30.0
"""Å between NH4⁺ and H2O."""


def fragment_charges(checkpoint: Checkpoint) -> str:
    """Charges of NH4⁺ and H2O at a distance at which neither feels the other.

    A model that is told the total charge only may spread it over both; then energies of charged fragments in one box
    are not to be trusted.
    """
    from ase.build import molecule

    from molcalc.calculators.of_model import calculator_of
    from molcalc.errors import UnsupportedElementError

    if checkpoint.config.neutral_only:
        return "not measured: for neutral molecules only"
    ion, water = molecule("CH4"), molecule("H2O")
    ion.symbols[0] = "N"
    water.positions += [DISTANCE, 0.0, 0.0]
    both = ion + water
    several = len(checkpoint.config.fidelities) > 1
    options: dict[str, Any] = {"fidelity": checkpoint.config.fidelities[0].name} if several else {}
    try:
        calc = calculator_of(checkpoint, charge=1, dispersion=None, dtype="float64", **options)
        charges = calc.get_property("charges", both)
    except UnsupportedElementError:
        return "not measured: the model does not know H, N and O"
    parts = charges[: len(ion)].sum(), charges[len(ion) :].sum()
    return f"NH4⁺ {parts[0]:+.3f} e, H2O {parts[1]:+.3f} e at {DISTANCE:g} Å (right: +1, 0)"
