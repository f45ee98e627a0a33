"""Damping parameters of D3(BJ) and D4: by value, by functional name, and by the short texts of models and options.

Functionals are looked up in the tables that come with the packages dftd3 and dftd4, by exact name or by a spelling of
another program (:data:`ALIASES`).
"""

from __future__ import annotations

import difflib
import logging
import math
import sys
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from functools import cached_property
from importlib.util import find_spec
from numbers import Real
from pathlib import Path
from typing import Any, ClassVar

from molcalc.errors import ConfigError, MissingPackageError, suggest
from molcalc.io.plain_numbers import decimal

log = logging.getLogger(__name__)

PREFIX = "d3bj:"
CRITICAL_RADII = (2.7, 23.0)
"""Bohr, range of R0 = sqrt(C8/C6) over all pairs of elements (He-He to Fr-Fr)."""
STRONGER_CHARGE_SCALING = {"r2scan-3c": (2.0, 1.0)}
"""ga, gc of functionals that were not fitted with (3, 2), which the table does not hold: Grimme, Hansen, Ehlert,
Mewes, J. Chem. Phys. 154, 064103 (2021)."""

ALIASES = {
    "b1p86": "b1p",
    "b3lypg": "b3lyp",  # with the VWN of Gaussian, which every program but ORCA and Turbomole means by b3lyp
    "b3p86": "b3p",
    "b97d3": "b97d",
    "b97d3bj": "b97d",
    "bhandhlyp": "bhlyp",
    "bp86": "bp",
    "hseh1pbe": "hse06",
    "mpw1pw91": "mpw1pw",
    "mpwpw91": "mpwpw",
    "pbe1pbe": "pbe0",
    "pbeh": "pbe0",
    "pbepbe": "pbe",
    "tpsstpss": "tpss",
}
"""Spellings of Gaussian, ORCA, PySCF and libxc of functionals that the tables spell otherwise, both canonical."""
SLIP = 0.8
"""Similarity (of difflib) from which a name is taken for a misspelt one: a letter of five too many, lost or swapped."""
OTHER_FUNCTIONALS = {
    "b97d2": "b97d",
    "wb97xd": "wb97x",
    "wb97xd3": "wb97x",
    "wb97md": "wb97m",
    "wb97xv": "wb97x",
    "wb97mv": "wb97m",
    "b97mv": "b97m",
}
"""Names that look like another spelling of a functional in the tables, and are functionals of their own."""
_PLAIN = str.maketrans({"-": None, "_": None, " ": None, "(": None, ")": None, "ω": "w", "²": "2"})


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


Schemes = dict[str, dict[str, Any]]
"""Kind of damping → parameters by name."""


class FunctionalTable:
    """Damping parameters by functional.

    The packages' own readers need one of three TOML packages, hence the reading here.

    Parameters
    ----------
    method : "D3" or "D4".
    prefix : what may stand before the name of a functional.
    package : holds ``parameters.toml``; conda installs keep it under ``share/FOLDER``.
    key : of the method in that file.
    endings : what the method is called after the name of a functional, canonical.
    """

    def __init__(
        self, method: str, *, prefix: str, package: str, folder: str, key: str, endings: tuple[str, ...]
    ) -> None:
        self.method, self.prefix, self.package, self.folder, self.key = method, prefix, package, folder, key
        self.endings = endings

    def find(self, functional: str) -> tuple[str, Schemes]:
        """Name as stored, and parameters, of a functional; case, dashes and underscores do not count.

        Parameters
        ----------
        functional : exact name, one of :data:`ALIASES`, or either with the name of the method after it ("pbe-d3bj").

        Returns
        -------
        name : as the table has it.
        schemes : parameters by kind of damping.

        Raises
        ------
        ConfigError : for another method's prefix, or an unknown name (near matches are listed).
        """
        if not isinstance(functional, str):
            raise ConfigError(f"functional must be a string such as 'pbe0', got {functional!r}")
        name = functional.strip()
        if ":" in name:
            if not name.lower().startswith(self.prefix):
                raise ConfigError(f"unknown dispersion {functional!r}: write '{self.prefix}pbe0' for {self._title}")
            name = name[len(self.prefix) :]
        found = self._entries.get(canonical(name)) or self._entries.get(self._meant(canonical(name)))
        if found is None:
            raise ConfigError(f"no {self.method} parameters for functional {functional!r}; {self._hint(name)}")
        if canonical(name) != canonical(found[0]):
            log.info("%s: functional %r stands for %r", self._title, functional, found[0])
        return found

    def _meant(self, name: str) -> str:
        """Canonical name that an alias stands for, after the name of the method is taken off its end."""
        name = ALIASES.get(name, name)
        if name in OTHER_FUNCTIONALS:
            return name
        for ending in self.endings:
            if name.endswith(ending):
                return ALIASES.get(name.removesuffix(ending), name.removesuffix(ending))
        return name

    def _hint(self, name: str) -> str:
        """What to do about a name that is not in the table."""
        known = canonical(name)
        if like := OTHER_FUNCTIONALS.get(known):
            return f"it is another functional than {like!r}, with dispersion of its own"
        near = [self._entries[k][0] for k in difflib.get_close_matches(known, self._entries, n=5)]
        return f"near matches: {', '.join(near)}" if near else f"give {self.method}Parameters(s6, s8, a1, a2) instead"

    def knows(self, name: str) -> bool:
        """Whether :meth:`find` has a functional of this canonical name."""
        return name in self._entries or self._meant(name) in self._entries

    def names(self, scheme: str | None = None) -> list[str]:
        """Functionals that have parameters of one kind of damping, or of any."""
        return sorted(name for name, schemes in self._entries.values() if scheme is None or scheme in schemes)

    @property
    def installed(self) -> bool:
        """Whether the package is there that has the table."""
        return find_spec(self.package) is not None

    def defaults(self, scheme: str) -> dict[str, Any]:
        """Parameters that hold where a functional does not say otherwise."""
        return dict(self._database["default"]["parameter"][self.key][scheme])

    @property
    def _title(self) -> str:
        return "D3(BJ)" if self.method == "D3" else self.method

    @cached_property
    def _entries(self) -> dict[str, tuple[str, Schemes]]:
        entries = self._database["parameter"].items()
        return {canonical(name): (name, entry[self.key]) for name, entry in entries if self.key in entry}

    @cached_property
    def _database(self) -> dict[str, Any]:
        if sys.version_info >= (3, 11):
            import tomllib
        else:
            import tomli as tomllib

        spec = find_spec(self.package)
        if spec is None or not spec.origin:
            raise missing_package(self.method, self.package)
        folders = [Path(spec.origin).parent, Path(sys.prefix, "share", self.folder)]
        for folder in (*folders, Path(sys.prefix, "Library", "share", self.folder)):
            path = folder / "parameters.toml"
            if path.is_file():
                return tomllib.loads(path.read_text(encoding="utf-8"))
        raise ConfigError(f"the parameter file of the package {self.package} is missing: install {self.package} again")


def canonical(name: str) -> str:
    """Name of a functional without what does not count: case, dashes, underscores, blanks, and special letters."""
    return name.lower().translate(_PLAIN)


EXTRA_OF_PACKAGE = {"dftd4": "'molcalc[d4]'"}
"""What pip is asked for, where an extra of this package brings it."""


def missing_package(method: str, package: str) -> MissingPackageError:
    """The error that says how to install a package."""
    install = EXTRA_OF_PACKAGE.get(package, package)
    return MissingPackageError(f"{method} needs the package {package}, which is not installed: pip install {install}")


D3_TABLE = FunctionalTable("D3", prefix=PREFIX, package="dftd3", folder="s-dftd3", key="d3",
                           endings=("d3bj", "d3"))  # fmt: skip
D4_TABLE = FunctionalTable("D4", prefix="d4:", package="dftd4", folder="dftd4", key="d4", endings=("d4",))


def d3_parameters(functional: str, *, atm: bool = False) -> D3Parameters:
    """Look up the D3(BJ) parameters of a functional in the table of the dftd3 package.

    Parameters
    ----------
    functional : exact name, "pbe0" or "d3bj:pbe0", or a usual spelling of it (:data:`ALIASES`), which is logged with
        the name that it stands for. Case, dashes and underscores do not count: "B97-3c" is "b973c".
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
    functional : as :func:`d3_parameters` takes it, "pbe0" or "d4:pbe0".
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


def nearly_functionals(name: str) -> list[str]:
    """Functionals of the tables that a name is a slip of the pen away from.

    Parameters
    ----------
    name : of a functional or another method; what follows a slash is its basis.

    Returns
    -------
    names as the tables have them; none for a functional that one of them knows, or for another method
    """
    method = canonical(name.partition("/")[0])
    tables = [table for table in (D3_TABLE, D4_TABLE) if table.installed]
    if method in OTHER_FUNCTIONALS or any(table.knows(method) for table in tables):
        return []
    known = {canonical(each): each for table in tables for each in table.names()}
    return [known[near] for near in difflib.get_close_matches(method, known, cutoff=SLIP)]


Parameters = D3Parameters | D4Parameters
METHODS: dict[str, tuple[type[Parameters], Callable[[str], Parameters]]] = {
    "d3bj": (D3Parameters, d3_parameters),
    "d4": (D4Parameters, d4_parameters),
}


def as_stored(text: str) -> str:
    """The text of a dispersion with its functional spelt as the tables have it: "d3bj:bp" for "d3bj:BP86".

    Returns
    -------
    text that names the same parameters

    Raises
    ------
    ConfigError : as :func:`parse_dispersion`.
    """
    parse_dispersion(text)
    method, _, rest = text.partition(":")
    if "=" in rest:
        return text
    table = D3_TABLE if method == "d3bj" else D4_TABLE
    return f"{method}:{table.find(rest)[0]}"


def parse_dispersion(text: str) -> Parameters:
    """Parameters that a text names.

    Parameters
    ----------
    text : "METHOD:FUNCTIONAL" with a name that the method's table knows, or "METHOD:s8=0.3908,a1=0.566,a2=3.128";
        methods are "d3bj" (two-body terms only unless s9 is given) and "d4" (with the three-body term).

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
            values[key] = decimal(number)
        except ValueError as error:
            raise ConfigError(f"dispersion={text!r}: {key}={number!r} is not a number") from error
    missing = {field.name for field in fields(kind) if field.default is MISSING} - values.keys()
    if missing:
        raise ConfigError(f"dispersion={text!r}: missing {', '.join(sorted(missing))}")
    return kind(**values)
