"""What takes long with a structure, told on a terminal before it begins."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ase import Atoms

    from molcalc.calculators.base import MolCalculator

MANY_FOR_TRIPLES = 500
"""Atoms from which on the three-body term of D4 takes some seconds and more."""


def tell_of_triples(calculator: MolCalculator, images: Iterable[Atoms]) -> None:
    """Note, on a terminal, that D4 will take its time for the largest of some structures, and what to do about it."""
    from molcalc.cli.terminal import note
    from molcalc.dispersion.d4 import D4Dispersion

    if not sys.stderr.isatty():
        return
    largest = max(images, key=len, default=None)
    terms = (module for module in calculator.potential.modules() if isinstance(module, D4Dispersion))
    if largest is not None and len(largest) >= MANY_FOR_TRIPLES and any(term.damping.s9 for term in terms):
        note(
            f"{largest.get_chemical_formula()}: the three-body term of D4 sums over all near triples of "
            f"{len(largest)} atoms and takes most of the time (docs/performance.md); "
            "--dispersion d4:s8=…,a1=…,a2=…,s9=0 leaves it out"
        )
