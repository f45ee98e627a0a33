"""Damping parameters of D3(BJ), by functional name or by value."""

from __future__ import annotations

import difflib
import math
import sys
from dataclasses import dataclass, fields
from functools import lru_cache
from numbers import Real
from pathlib import Path
from typing import Any

from molcalc.errors import ConfigError

PREFIX = "d3bj:"
CRITICAL_RADII = (2.7, 23.0)
"""Bohr, range of R0 = sqrt(C8/C6) over all pairs of elements (He-He to Fr-Fr)."""


@dataclass(frozen=True)
class D3Parameters:
    """Parameters of rational (Becke-Johnson) damping.

    Attributes
    ----------
    s6, s8 : scaling of the C6 and C8 terms.
    a1, a2 : damping radius a1 * R0 + a2, a2 in Bohr.
    s9 : scaling of the three-body (Axilrod-Teller-Muto) term; 0 leaves it out.

    Raises
    ------
    ConfigError : a value is missing or not finite, or the damping radius would not be positive.
    """

    s6: float
    s8: float
    a1: float
    a2: float
    s9: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, _finite(field.name, getattr(self, field.name)))
        if self.a1 == 0 and self.a2 == 0:
            raise ConfigError("D3 parameters a1=0 and a2=0 switch the damping off: one must be positive")
        if min(self.a1 * radius + self.a2 for radius in CRITICAL_RADII) <= 0:
            raise ConfigError(
                f"D3 parameters a1={self.a1:g}, a2={self.a2:g} give a damping radius a1*R0 + a2 <= 0 for "
                f"some pair of elements (R0 is {CRITICAL_RADII[0]:g} to {CRITICAL_RADII[1]:g} Bohr)"
            )


def _finite(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ConfigError(f"D3 parameter {name}={value!r} is not a number")
    if not math.isfinite(value):
        raise ConfigError(f"D3 parameter {name}={value!r} is not finite")
    return float(value)


def d3_parameters(functional: str, *, atm: bool = False) -> D3Parameters:
    """Look up the D3(BJ) parameters of a functional in the table of the dftd3 package.

    Parameters
    ----------
    functional : exact name, "pbe0" or "d3bj:pbe0". As in dftd3, case and dashes do not count, nor do
        underscores: "B97-3c" is "b973c".
    atm : keep the s9 of the functional; otherwise s9 = 0, two-body terms only.

    Raises
    ------
    ConfigError : the name is unknown (near matches are listed) or has no BJ parameters.
    """
    if not isinstance(functional, str):
        raise ConfigError(f"functional must be a string such as 'pbe0', got {functional!r}")
    name = functional.strip()
    if ":" in name:
        if not name.lower().startswith(PREFIX):
            raise ConfigError(f"unknown dispersion {functional!r}: write '{PREFIX}pbe0' for D3(BJ)")
        name = name[len(PREFIX) :]
    table = _table()
    entry = table.get(_canonical(name))
    if entry is None:
        near = [table[key][0] for key in difflib.get_close_matches(_canonical(name), table, n=5)]
        hint = f"near matches: {', '.join(near)}" if near else "give D3Parameters(s6, s8, a1, a2) instead"
        raise ConfigError(f"no D3 parameters for functional {functional!r}; {hint}")
    stored_name, schemes = entry
    if "bj" not in schemes:
        raise ConfigError(
            f"functional {stored_name!r} has no D3(BJ) parameters (only: {', '.join(schemes)}); "
            "use another functional or give D3Parameters(s6, s8, a1, a2)"
        )
    values = {**_defaults(), **schemes["bj"]}
    s9 = values["s9"] if atm else 0.0
    return D3Parameters(s6=values["s6"], s8=values["s8"], a1=values["a1"], a2=values["a2"], s9=s9)


def available_functionals() -> list[str]:
    """Names that :func:`d3_parameters` accepts, as the dftd3 package spells them."""
    return sorted(name for name, schemes in _table().values() if "bj" in schemes)


def _canonical(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


@lru_cache(maxsize=1)
def _database() -> dict[str, Any]:
    """Parsed parameter file of the dftd3 package.

    ``dftd3.parameters`` itself cannot be imported without one of three TOML packages, hence the reading
    here; conda installs keep the file under ``share``.
    """
    from importlib.util import find_spec

    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    spec = find_spec("dftd3")
    folders = [Path(spec.origin).parent] if spec is not None and spec.origin else []
    folders += [Path(sys.prefix, "share", "s-dftd3"), Path(sys.prefix, "Library", "share", "s-dftd3")]
    for folder in folders:
        path = folder / "parameters.toml"
        if path.is_file():
            return tomllib.loads(path.read_text())
    raise ConfigError("the parameter file of the package dftd3 is missing: install dftd3 again")


@lru_cache(maxsize=1)
def _table() -> dict[str, tuple[str, dict[str, dict[str, Any]]]]:
    """Canonical name → (name as stored, damping schemes)."""
    entries = _database()["parameter"].items()
    return {_canonical(name): (name, entry["d3"]) for name, entry in entries if "d3" in entry}


def _defaults() -> dict[str, Any]:
    return dict(_database()["default"]["parameter"]["d3"]["bj"])
