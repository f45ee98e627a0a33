"""Options are checked by name and type, and errors say where and what is allowed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import pytest

from molcalc.errors import ConfigError, short, suggest
from molcalc.io.schema import Choice, Range, check_fields, from_dict


@dataclass(frozen=True)
class Inner:
    name: str
    weight: float = 1.0


@dataclass(frozen=True)
class Options:
    cutoff: float
    n_layers: int = 3
    periodic: bool = False
    label: str | None = None
    limit: float | None = 2.0
    sizes: tuple[int, ...] = (1, 2)
    window: tuple[float, float] = (0.0, 1.0)
    nested: tuple[tuple[int, ...], ...] = ()
    parts: tuple[Inner, ...] = ()
    inner: Inner | None = None
    either: int | str = 0
    notes: dict[str, str] = field(default_factory=dict)
    free: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.cutoff <= 0:
            raise ValueError(f"cutoff={self.cutoff} Å; expected a positive length")


def options(**values: Any) -> Options:
    return from_dict(Options, {"cutoff": 5.0, **values}, "file.yaml")


def test_defaults_fill_what_is_not_given() -> None:
    assert options() == Options(cutoff=5.0)
    assert options().notes is not options().notes


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"cutoff": 5}, 5.0),
        ({"limit": None}, None),
        ({"limit": 3}, 3.0),
        ({"label": "x"}, "x"),
        ({"periodic": True}, True),
        ({"sizes": [3]}, (3,)),
        ({"sizes": []}, ()),
        ({"window": [1, 2.5]}, (1.0, 2.5)),
        ({"nested": [[1, 2], [3]]}, ((1, 2), (3,))),
        ({"parts": [{"name": "a"}, {"name": "b", "weight": 2}]}, (Inner("a"), Inner("b", 2.0))),
        ({"inner": {"name": "a"}}, Inner("a")),
        ({"either": 3}, 3),
        ({"either": "three"}, "three"),
        ({"notes": {"a": "b"}}, {"a": "b"}),
        ({"free": {"a": [1, {"b": None}]}}, {"a": [1, {"b": None}]}),
    ],
    ids=str,
)
def test_values_are_converted(values: dict[str, Any], expected: Any) -> None:
    value = getattr(options(**values), *values)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"cutoff": "5"}, r"file\.yaml: cutoff: '5' is a str; expected float"),
        ({"cutoff": "1e-3"}, r"cutoff: '1e-3' is a str; expected float"),
        ({"cutoff": True}, r"cutoff: True is a bool; expected float"),
        ({"cutoff": None}, r"cutoff: None is a NoneType; expected float"),
        ({"cutoff": [5.0]}, r"cutoff: \[5\.0\] is a list; expected float"),
        ({"cutoff": math.nan}, r"cutoff: nan is not finite"),
        ({"cutoff": math.inf}, r"cutoff: inf is not finite"),
        ({"cutoff": 10**400}, r"cutoff: 10000.* is not finite"),
        ({"cutoff": 10**5000}, r"cutoff: <int> is not finite"),
        ({"cutoff": -1.0}, r"file\.yaml: cutoff=-1\.0 Å; expected a positive length"),
        ({"n_layers": 3.0}, r"n_layers: 3\.0 is a float; expected int"),
        ({"n_layers": True}, r"n_layers: True is a bool; expected int"),
        ({"periodic": 1}, r"periodic: 1 is a int; expected bool"),
        ({"periodic": "no"}, r"periodic: 'no' is a str; expected bool"),
        ({"label": 1}, r"label: 1 is a int; expected str"),
        ({"sizes": 1}, r"sizes: 1 is a int; expected a list"),
        ({"sizes": "12"}, r"sizes: '12' is a str; expected a list"),
        ({"sizes": {"a": 1}}, r"sizes: .* is a dict; expected a list"),
        ({"sizes": [1, "2"]}, r"sizes\[1\]: '2' is a str; expected int"),
        ({"window": [1.0]}, r"window: .* expected a list of 2"),
        ({"window": [1.0, 2.0, 3.0]}, r"window: .* expected a list of 2"),
        ({"nested": [[1], 2]}, r"nested\[1\]: 2 is a int; expected a list"),
        ({"parts": [{"name": "a"}, {"nam": "b"}]}, r"parts\[1\]: unknown key 'nam' \(did you mean 'name'\?\)"),
        ({"parts": [{}]}, r"parts\[0\]: missing name"),
        ({"inner": 3}, r"inner: expected a mapping of options; got int"),
        ({"either": 1.5}, r"either: 1\.5 is a float; expected int"),
        ({"either": True}, r"either: True is a bool; expected int"),
        ({"notes": {"a": 1}}, r"notes\.a: 1 is a int; expected str"),
        ({"notes": ["a"]}, r"notes: \['a'\] is a list; expected a mapping"),
        (
            {"cuttoff": 5},
            r"file\.yaml: unknown key 'cuttoff' \(did you mean 'cutoff'\?\); valid keys: cutoff, either, free",
        ),
        ({"zzz": 5}, r"unknown key 'zzz'; valid keys: cutoff"),
    ],
    ids=lambda value: short(value) if isinstance(value, dict) else None,
)
def test_wrong_values_are_refused_with_their_place(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        options(**values)


@pytest.mark.parametrize("values", [None, [], "cutoff", 3], ids=repr)
def test_what_is_no_mapping_is_refused(values: Any) -> None:
    with pytest.raises(ConfigError, match="expected a mapping of options; got"):
        from_dict(Options, values)


@pytest.mark.parametrize("key", [None, 1, ("cutoff",)], ids=repr)
def test_keys_that_are_no_names_are_refused(key: Any) -> None:
    with pytest.raises(ConfigError, match="unknown key"):
        from_dict(Options, {key: 1})


def test_missing_options_are_named() -> None:
    with pytest.raises(ConfigError, match=r"^here: missing cutoff$"):
        from_dict(Options, {}, "here")


def test_a_suggestion_is_made_only_for_similar_names() -> None:
    assert suggest("cutof", ["cutoff", "sizes"]) == " (did you mean 'cutoff'?)"
    assert suggest("x", ["cutoff", "sizes"]) == ""


def bomb() -> Any:
    value: Any = "x"
    for _ in range(60):
        value = [value, value]
    return value


@pytest.mark.parametrize(
    "value",
    ["a" * 10**6, ["a" * 1000] * 1000, dict.fromkeys(range(1000), "b" * 100), 10**5000, bomb(), set(range(1000))],
    ids=["text", "list", "mapping", "number", "nested lists", "set"],
)
def test_messages_stay_short_whatever_the_value(value: Any) -> None:
    assert len(short(value)) < 1000
    with pytest.raises(ConfigError) as caught:
        options(n_layers=value if not isinstance(value, int) else [value])
    assert len(str(caught.value)) < 1100


def test_ordinary_values_are_shown_in_full() -> None:
    for value in (1.5, "cutoff", [1, 2], None, True, {"a": 1}):
        assert short(value) == repr(value)


def test_a_dataclass_of_the_right_kind_is_taken_as_it_is() -> None:
    inner = Inner("a", 2.0)
    assert options(inner=inner, parts=[inner]).inner is inner
    with pytest.raises(ConfigError, match="inner: expected a mapping of options; got Options"):
        options(inner=options())


@dataclass(frozen=True)
class Checked:
    mode: Annotated[str, Choice(("atoms", "molecules"))] | None = "atoms"
    size: Annotated[int, Range(1, 9)] | None = 3
    shares: dict[str, Annotated[float, Range(0, 1, above=True, below=True)]] = field(default_factory=dict)
    widths: tuple[Annotated[int, Range(1)], ...] = ()

    def __post_init__(self) -> None:
        check_fields(self)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mode": "atom"}, r"x: mode='atom' \(did you mean 'atoms'\?\); choose one of atoms, molecules"),
        ({"size": 0}, "x: size=0; expected at least 1 and at most 9"),
        ({"size": 10}, "x: size=10; expected at least 1 and at most 9"),
        ({"shares": {"a": 1.0}}, "x: shares.a=1.0; expected above 0 and below 1"),
        ({"widths": [3, 0]}, r"x: widths\[1\]=0; expected at least 1"),
    ],
)
def test_a_dataclass_that_checks_itself_says_which_value_is_wrong(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_dict(Checked, values, "x")
    assert from_dict(Checked, {"mode": None, "size": None}) == Checked(None, None)


def test_a_path_may_stand_for_text() -> None:
    assert from_dict(Options, {"cutoff": 1.0, "label": Path("runs/x")}).label == "runs/x"
