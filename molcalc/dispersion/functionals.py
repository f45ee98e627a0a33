"""Tables of damping parameters that come with the packages dftd3 and dftd4."""

from __future__ import annotations

import difflib
import sys
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from molcalc.errors import ConfigError

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
    """

    def __init__(self, method: str, *, prefix: str, package: str, folder: str, key: str) -> None:
        self.method, self.prefix, self.package, self.folder, self.key = method, prefix, package, folder, key

    def find(self, functional: str) -> tuple[str, Schemes]:
        """Name as stored, and parameters, of an exact name; case, dashes and underscores do not count.

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
        entry = self._entries.get(canonical(name))
        if entry is None:
            near = [self._entries[k][0] for k in difflib.get_close_matches(canonical(name), self._entries, n=5)]
            instead = f"give {self.method}Parameters(s6, s8, a1, a2) instead"
            hint = f"near matches: {', '.join(near)}" if near else instead
            raise ConfigError(f"no {self.method} parameters for functional {functional!r}; {hint}")
        return entry

    def names(self, scheme: str) -> list[str]:
        """Functionals that have parameters of one kind of damping."""
        return sorted(name for name, schemes in self._entries.values() if scheme in schemes)

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
                return tomllib.loads(path.read_text())
        raise ConfigError(f"the parameter file of the package {self.package} is missing: install {self.package} again")


def canonical(name: str) -> str:
    """Name of a functional without what does not count: case, dashes and underscores."""
    return name.lower().replace("-", "").replace("_", "")


def missing_package(method: str, package: str) -> ConfigError:
    """The error that says how to install a package."""
    return ConfigError(f"{method} needs the package {package}, which is not installed: pip install {package}")
