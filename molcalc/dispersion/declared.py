"""Dispersion terms from the short texts that name them in models and options: "d3bj:pbe0", "d4:pbe0"."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, fields

from molcalc.dispersion.d3 import D3Dispersion
from molcalc.dispersion.d4 import D4Dispersion
from molcalc.dispersion.parameters import D3Parameters, D4Parameters, d3_parameters, d4_parameters
from molcalc.energy_term import EnergyTerm
from molcalc.errors import ConfigError, suggest

Parameters = D3Parameters | D4Parameters
METHODS: dict[str, tuple[type[Parameters], Callable[[str], Parameters]]] = {
    "d3bj": (D3Parameters, d3_parameters),
    "d4": (D4Parameters, d4_parameters),
}

SWITCH_WIDTH = 2.0
"""Å."""


def parse_dispersion(text: str) -> Parameters:
    """Parameters that a text names.

    Parameters
    ----------
    text : "METHOD:FUNCTIONAL" with an exact name, or "METHOD:s8=0.3908,a1=0.566,a2=3.128"; methods are "d3bj"
        (two-body terms only unless s9 is given) and "d4" (with the three-body term).

    Returns
    -------
    parameters of D3 or of D4

    Raises
    ------
    ConfigError : the text or functional is unknown, or dftd4 is missing.
    """
    method, _, rest = text.partition(":")
    if method not in METHODS or not rest:
        raise ConfigError(
            f"dispersion={text!r}{suggest(method, METHODS)}; give 'auto', None, 'd3bj:FUNCTIONAL' or 'd4:FUNCTIONAL' "
            "(for example 'd3bj:pbe0'), D3Parameters or D4Parameters"
        )
    kind, look_up = METHODS[method]
    if "=" not in rest:
        return look_up(rest)
    known = [field.name for field in fields(kind)]
    values = {"s6": 1.0}
    for part in rest.split(","):
        key, _, number = part.partition("=")
        if key not in known:
            raise ConfigError(f"dispersion={text!r}: unknown parameter {key!r}; known: {', '.join(known)}")
        try:
            values[key] = float(number)
        except ValueError as error:
            raise ConfigError(f"dispersion={text!r}: {key}={number!r} is not a number") from error
    missing = {field.name for field in fields(kind) if field.default is MISSING} - values.keys()
    if missing:
        raise ConfigError(f"dispersion={text!r}: missing {', '.join(sorted(missing))}")
    return kind(**values)


def dispersion_from(wish: str | Parameters, *, smooth: bool = False, legacy: bool = False) -> EnergyTerm:
    """The energy term of a text or of parameters.

    Parameters
    ----------
    smooth : let energies fall to zero over the last 2 Å of their range, as crystals need: where they are cut off, the
        stress misses what crosses the cutoff under strain (4e-6 eV/Å³ in urea).
    legacy : D3 in the form inside the published AIMNet2 files; see :class:`molcalc.dispersion.d3.D3Dispersion`.

    Returns
    -------
    term of D3 or of D4

    Raises
    ------
    ConfigError : as :func:`parse_dispersion`, or ``legacy`` with D4.
    """
    parameters = parse_dispersion(wish) if isinstance(wish, str) else wish
    width = SWITCH_WIDTH if smooth and not legacy else 0.0
    if isinstance(parameters, D3Parameters):
        return D3Dispersion(parameters, switch_width=width, legacy=legacy)
    if legacy:
        raise ConfigError(f"dispersion={wish!r}: legacy=True reproduces models with D3; leave it out with D4")
    return D4Dispersion(parameters, switch_width=width)
