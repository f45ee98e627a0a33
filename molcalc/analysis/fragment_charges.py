"""Charges that a model gives to two molecules which are too far apart to feel each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ase.build import molecule

from molcalc.calculators.of_model import calculator_of

if TYPE_CHECKING:
    from molcalc.io.checkpoint import Checkpoint

DISTANCE = 30.0
"""Å between NH4⁺ and H2O."""


class FragmentCharges(NamedTuple):
    """Charges of NH4⁺ and H2O, e; right are 1 and 0."""

    ion: float
    water: float


def fragment_charges(checkpoint: Checkpoint) -> FragmentCharges:
    """Charges of NH4⁺ and H2O at a distance at which neither feels the other.

    A model that is told the total charge only may spread it over both; then energies of charged fragments in one box
    are not to be trusted.

    Parameters
    ----------
    checkpoint : of several fidelities the first is asked.

    Returns
    -------
    Sums over the atoms of each molecule, e.

    Raises
    ------
    UnsupportedElementError
        When the model does not know H, N and O.
    ChargeError
        When it is for neutral molecules only.
    """
    ion, water = molecule("CH4"), molecule("H2O")
    ion.symbols[0] = "N"
    water.positions += [DISTANCE, 0.0, 0.0]
    several = len(checkpoint.config.fidelities) > 1
    options: dict[str, Any] = {"fidelity": checkpoint.config.fidelities[0].name} if several else {}
    calc = calculator_of(checkpoint, charge=1, dispersion=None, dtype="float64", on_extrapolation="ignore", **options)
    charges = calc.get_property("charges", ion + water)
    return FragmentCharges(float(charges[: len(ion)].sum()), float(charges[len(ion) :].sum()))
