"""Strict conversion of plain dictionaries (JSON, YAML) into dataclasses, and the ranges that their fields declare.

A field says beside its type which values it may have, ``epochs: Annotated[int, Range(1)]``, and ``check_fields(self)``
in ``__post_init__`` holds it to that, however the dataclass is made.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import types
import typing
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from molcalc.errors import ConfigError, short, suggest

T = TypeVar("T")

MOST_COUNTED = 10**9
"""Largest value of options that count something; more is a slip, and overflows in one place or another."""


LARGEST_SEED = 2**63 - 1
"""Of the random generators of torch."""


@dataclass(frozen=True)
class Range:
    """Numbers that a field may have.

    Attributes
    ----------
    least, most : limits, which belong to the range unless they are open.
    above, below : whether the limit itself is left out.
    """

    least: float = -math.inf
    most: float = math.inf
    above: bool = False
    below: bool = False

    def __contains__(self, value: float) -> bool:
        low = value > self.least if self.above else value >= self.least
        return low and (value < self.most if self.below else value <= self.most)

    def __str__(self) -> str:
        low = f"{'above' if self.above else 'at least'} {self.least:g}"
        high = f"{'below' if self.below else 'at most'} {self.most:g}"
        return " and ".join([low] * (self.least > -math.inf) + [high] * (self.most < math.inf))


@dataclass(frozen=True, eq=False)
class Choice:
    """Names that a field may have; of a table, those that it has when it is looked at."""

    names: Collection[str]


Count = Annotated[int, Range(1, MOST_COUNTED)]
"""How many of something: at least one."""
Share = Annotated[float, Range(0, 1)]
"""A number from 0 to 1."""
Positive = Annotated[float, Range(0, 1e9, above=True)]
"""A number above 0."""
NotNegative = Annotated[float, Range(0, 1e9)]
"""A number of at least 0."""
ShareOrNumber = Annotated[int | float, Range(0, 1e9)]
"""A share (a float), or how many (an int)."""


def from_dict(cls: type[T], values: Mapping[str, Any], where: str = "") -> T:
    """Build a dataclass from a mapping, checking names and types.

    Parameters
    ----------
    values : plain values by field; one that is a dataclass of the right kind already is taken as it is.
    where : named in errors ("config.json: arguments").

    Returns
    -------
    instance of ``cls``

    Raises
    ------
    ConfigError
        For an unknown key (with the nearest valid one), a missing key, a value of the wrong type, or a value the
        dataclass itself refuses.
    """
    prefix = f"{where}: " if where else ""
    if not isinstance(values, Mapping):
        raise ConfigError(f"{prefix}expected a mapping of options; got {type(values).__name__}")
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in values:
        if key not in fields:
            raise ConfigError(
                f"{prefix}unknown key {short(key)}{suggest(str(key), fields)}; valid keys: {', '.join(sorted(fields))}"
            )
    hints = _hints(cls)  # type: ignore[arg-type]
    arguments = {key: _convert(value, hints[key], f"{prefix}{key}") for key, value in values.items()}
    missing = [
        name
        for name, field in fields.items()
        if name not in arguments
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ConfigError(f"{prefix}missing {', '.join(missing)}")
    try:
        return cls(**arguments)
    except ValueError as error:
        raise ConfigError(f"{prefix}{error}") from error


@functools.cache
def _hints(cls: type[Any]) -> dict[str, Any]:
    return typing.get_type_hints(cls, include_extras=True)


def _convert(value: Any, hint: Any, name: str) -> Any:
    """Check a value against a type hint; sequences become tuples, paths text, whole numbers may stand for floats."""
    origin = typing.get_origin(hint)
    if origin is Annotated:
        return _convert(value, typing.get_args(hint)[0], name)
    if origin in (typing.Union, types.UnionType):
        options = [kind for kind in typing.get_args(hint) if kind is not type(None)]
        if value is None and len(options) < len(typing.get_args(hint)):
            return None
        errors = []
        for option in options:
            try:
                return _convert(value, option, name)
            except ConfigError as error:
                errors.append(error)
        raise next((error for error in errors if "is not finite" in str(error)), errors[0])
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise _wrong(name, value, "a list")
        inner = typing.get_args(hint)
        if inner[-1] is Ellipsis:
            inner = inner[:1] * len(value)
        if len(inner) != len(value):
            raise _wrong(name, value, f"a list of {len(inner)}")
        return tuple(_convert(item, kind, f"{name}[{k}]") for k, (item, kind) in enumerate(zip(value, inner)))
    if origin is dict:
        if not isinstance(value, Mapping):
            raise _wrong(name, value, "a mapping")
        return {str(key): _convert(item, typing.get_args(hint)[1], f"{name}.{key}") for key, item in value.items()}
    if dataclasses.is_dataclass(hint):
        if isinstance(value, hint):  # type: ignore[arg-type]
            return value
        return from_dict(hint, value, name)  # type: ignore[arg-type]
    if hint is Any:
        return value
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return _number(value, name)
    if hint is str and isinstance(value, os.PathLike):
        return os.fspath(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise _wrong(name, value, f"{hint.__name__}")
    return value


def _number(value: int | float, name: str) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ConfigError(f"{name}: {short(value)} is not finite")
    return number


def _wrong(name: str, value: Any, expected: str) -> ConfigError:
    return ConfigError(f"{name}: {short(value)} is a {type(value).__name__}; expected {expected}")


def check_fields(config: Any) -> None:
    """Refuse a dataclass with a field outside the range, or not among the choices, that its type declares.

    Raises
    ------
    ValueError
        Names the field, its value and what is allowed; :func:`from_dict` adds where it stood.
    """
    kind: Any = type(config)
    for name, hint in _hints(kind).items():
        for place, value, allowed in _annotated(name, getattr(config, name), hint):
            if isinstance(allowed, Range) and value not in allowed:
                raise ValueError(f"{place}={short(value)}; expected {allowed}")
            if isinstance(allowed, Choice) and value not in allowed.names:
                nearest = suggest(str(value), allowed.names)
                raise ValueError(f"{place}={short(value)}{nearest}; choose one of {', '.join(allowed.names)}")


def _annotated(name: str, value: Any, hint: Any) -> Iterator[tuple[str, Any, Any]]:
    """Values inside a value with what their types allow, and where they stand; None is no value."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if value is None:
        return
    if origin is Annotated:
        yield from ((name, value, allowed) for allowed in inner[1:])
    elif origin in (typing.Union, types.UnionType):
        yield from (found for option in inner for found in _annotated(name, value, option))
    elif origin is dict and isinstance(value, Mapping):  # in a union, it may be something else
        for key, item in value.items():
            yield from _annotated(f"{name}.{key}", item, inner[1])
    elif origin is tuple and isinstance(value, tuple):
        kinds = inner[:1] * len(value) if inner[-1] is Ellipsis else inner
        for k, (item, kind) in enumerate(zip(value, kinds)):
            yield from _annotated(f"{name}[{k}]", item, kind)
