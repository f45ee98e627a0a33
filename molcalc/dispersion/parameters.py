"""Damping parameters of D3(BJ) and D4, by functional name or by value."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from numbers import Real
from typing import Any, ClassVar

from molcalc.dispersion.functionals import FunctionalTable
from molcalc.errors import ConfigError

PREFIX = "d3bj:"
CRITICAL_RADII = (2.7, 23.0)
"""Bohr, range of R0 = sqrt(C8/C6) over all pairs of elements (He-He to Fr-Fr)."""
D3_TABLE = FunctionalTable("D3", prefix=PREFIX, package="dftd3", folder="s-dftd3", key="d3")
D4_TABLE = FunctionalTable("D4", prefix="d4:", package="dftd4", folder="dftd4", key="d4")
STRONGER_CHARGE_SCALING = {"r2scan-3c": (2.0, 1.0)}
"""ga, gc of functionals that were not fitted with (3, 2), which the table does not hold: Grimme, Hansen, Ehlert,
Mewes, J. Chem. Phys. 154, 064103 (2021)."""


@dataclass(frozen=True)
class _RationalDamping:
    """Checks of the parameters of rational (Becke-Johnson) damping."""

    method: ClassVar[str]

    s6: float
    s8: float
    a1: float
    a2: float

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, _finite(self.method, field.name, getattr(self, field.name)))
        if self.a1 == 0 and self.a2 == 0:
            raise ConfigError(f"{self.method} parameters a1=0 and a2=0 switch the damping off: one must be positive")
        if min(self.a1 * radius + self.a2 for radius in CRITICAL_RADII) <= 0:
            raise ConfigError(
                f"{self.method} parameters a1={self.a1:g}, a2={self.a2:g} give a damping radius a1*R0 + a2 <= 0 for "
                f"some pair of elements (R0 is {CRITICAL_RADII[0]:g} to {CRITICAL_RADII[1]:g} Bohr)"
            )


@dataclass(frozen=True)
class D3Parameters(_RationalDamping):
    """Parameters of D3 with rational (Becke-Johnson) damping.

    Attributes
    ----------
    s6, s8 : scaling of the C6 and C8 terms.
    a1, a2 : damping radius a1 * R0 + a2, a2 in Bohr.
    s9 : scaling of the three-body (Axilrod-Teller-Muto) term; 0 leaves it out.

    Raises
    ------
    ConfigError : a value is missing or not finite, or the damping radius would not be positive.
    """

    method = "D3"

    s9: float = 0.0


@dataclass(frozen=True)
class D4Parameters(_RationalDamping):
    """Parameters of D4, whose rational damping is that of D3.

    Attributes
    ----------
    s6, s8, a1, a2 : as in :class:`D3Parameters`.
    s9 : scaling of the three-body term; D4 was fitted with it.
    ga, gc : height and steepness of the scaling of reference polarizabilities with charge.

    Raises
    ------
    ConfigError : as :class:`D3Parameters`.
    """

    method = "D4"

    s9: float = 1.0
    ga: float = 3.0
    gc: float = 2.0


def _finite(method: str, name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ConfigError(f"{method} parameter {name}={value!r} is not a number")
    if not math.isfinite(value):
        raise ConfigError(f"{method} parameter {name}={value!r} is not finite")
    return float(value)


def d3_parameters(functional: str, *, atm: bool = False) -> D3Parameters:
    """Look up the D3(BJ) parameters of a functional in the table of the dftd3 package.

    Parameters
    ----------
    functional : exact name, "pbe0" or "d3bj:pbe0". As in dftd3, case and dashes do not count, nor do
        underscores: "B97-3c" is "b973c".
    atm : keep the s9 of the functional; otherwise s9 = 0, two-body terms only.

    Returns
    -------
    parameters with the functional's s6, s8, a1 and a2

    Raises
    ------
    ConfigError : the name is unknown (near matches are listed) or has no BJ parameters.
    """
    stored_name, schemes = D3_TABLE.find(functional)
    if "bj" not in schemes:
        raise ConfigError(
            f"functional {stored_name!r} has no D3(BJ) parameters (only: {', '.join(schemes)}); "
            "use another functional or give D3Parameters(s6, s8, a1, a2)"
        )
    values = {**D3_TABLE.defaults("bj"), **schemes["bj"]}
    s9 = values["s9"] if atm else 0.0
    return D3Parameters(s6=values["s6"], s8=values["s8"], a1=values["a1"], a2=values["a2"], s9=s9)


def d4_parameters(functional: str, *, atm: bool = True) -> D4Parameters:
    """Look up the D4 parameters of a functional in the table of the dftd4 package.

    Parameters
    ----------
    functional : exact name, "pbe0" or "d4:pbe0"; case, dashes and underscores do not count.
    atm : keep the s9 of the functional, with which the others were fitted; otherwise s9 = 0.

    Returns
    -------
    parameters with the functional's s6, s8, a1 and a2

    Raises
    ------
    ConfigError : the name is unknown (near matches are listed) or has no such parameters, or dftd4 is missing.
    """
    stored_name, schemes = D4_TABLE.find(functional)
    scheme = "bj-eeq-atm"
    if scheme not in schemes:
        raise ConfigError(
            f"functional {stored_name!r} has no parameters of D4 with EEQ charges and a three-body term (only: "
            f"{', '.join(schemes)}); use another functional or give D4Parameters(s6, s8, a1, a2)"
        )
    values = {**D4_TABLE.defaults(scheme), **schemes[scheme]}
    ga, gc = STRONGER_CHARGE_SCALING.get(stored_name, (D4Parameters.ga, D4Parameters.gc))
    s9 = values["s9"] if atm else 0.0
    return D4Parameters(s6=values["s6"], s8=values["s8"], a1=values["a1"], a2=values["a2"], s9=s9, ga=ga, gc=gc)


def available_functionals() -> list[str]:
    """Names that :func:`d3_parameters` accepts, as the dftd3 package spells them."""
    return D3_TABLE.names("bj")
