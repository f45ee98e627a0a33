"""Strict conversion of plain dictionaries (JSON, YAML) into dataclasses, and the checks these make of themselves."""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from molcalc.errors import ConfigError, short, suggest

T = TypeVar("T")


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
    return typing.get_type_hints(cls)


def _convert(value: Any, hint: Any, name: str) -> Any:
    """Check a value against a type hint; sequences become tuples, whole numbers may stand for floats."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        options = typing.get_args(hint)
        if value is None and type(None) in options:
            return None
        errors = []
        for option in options:
            try:
                return _convert(value, option, name)
            except ConfigError as error:
                errors.append(error)
        raise errors[0]
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


def check_choices(config: Any, **allowed: Sequence[str | None]) -> None:
    """Refuse a configuration whose fields are not among the values they may have.

    Raises
    ------
    ValueError
        Names the field, its value, the nearest allowed one, and all of them; :func:`from_dict` adds where it stood.
    """
    for name, values in allowed.items():
        value = getattr(config, name)
        if value not in values:
            names = [str(item) for item in values]
            raise ValueError(f"{name}={value!r}{suggest(str(value), names)}; choose one of {', '.join(names)}")


def check_least(config: Any, least: float, *names: str) -> None:
    """Refuse a configuration with a field below its smallest value; None is no value.

    Raises
    ------
    ValueError
        Names the field and its value.
    """
    for name in names:
        value = getattr(config, name)
        if value is not None and value < least:
            raise ValueError(f"{name}={value}; expected at least {least}")
