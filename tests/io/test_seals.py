"""Sealed descriptions."""

from __future__ import annotations

import json

import pytest

from molcalc.io.seals import SEAL, sealed, unsealed

VALUES = {"b": 1.5, "a": ["å", None, True], "c": {"d": 1e-300}}


def test_a_seal_holds_through_json_and_in_any_order() -> None:
    text = json.dumps(sealed(VALUES))
    assert unsealed(json.loads(text)) == VALUES
    assert unsealed(dict(reversed(json.loads(text).items()))) == VALUES


@pytest.mark.parametrize("change", [{"b": 1.25}, {"e": 0}, {SEAL: "0" * 64}, {SEAL: None}])
def test_anything_else_breaks_it(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="damaged or edited"):
        unsealed({**sealed(VALUES), **change})
