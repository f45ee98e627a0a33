"""States of training that an older version wrote, brought up to date."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from molcalc.errors import CheckpointMismatchError

STATE_VERSION = 4
"""Of the state of training that is written."""
OLDEST_STATE = 3
"""Of the states that are read."""


def upgraded(state: Mapping[str, Any], names: Sequence[Sequence[str]], kinds: Sequence[str]) -> dict[str, Any]:
    """A state of training in the present version.

    Parameters
    ----------
    state : of version 3 or 4.
    names : parameters of each optimizer, in its own order; kinds : class of each.

    Returns
    -------
    state of version 4

    Raises
    ------
    CheckpointMismatchError
        When parameters of version 3, which have no names, cannot be told apart.
    """
    if state["version"] == STATE_VERSION:
        return dict(state)
    return _from_version_3(state, names, kinds)


def _from_version_3(state: Mapping[str, Any], names: Sequence[Sequence[str]], kinds: Sequence[str]) -> dict[str, Any]:
    """Version 3 knew parameters by position, options as one text each, and no changes."""
    counts = [sum(len(group["params"]) for group in saved["param_groups"]) for saved in state["optimizer"]]
    if counts != [len(own) for own in names]:
        raise CheckpointMismatchError(
            f"this run was written by an earlier version with {counts} trained parameters, and has "
            f"{[len(own) for own in names]} now: resume it once with the options it was begun with"
        )
    optimizer = {
        kind: {own[k]: values for k, values in saved["state"].items()}
        for kind, own, saved in zip(kinds, names, state["optimizer"])
    }
    averages = dict(zip([name for own in names for name in own], state["average"]["averages"]))
    identity: dict[str, str] = {}
    for name, text in state["identity"].items():
        if name != "network":
            identity.update(_leaves(name, text) if name.startswith("option ") else {name: text})
    return {
        **state,
        "version": STATE_VERSION,
        "optimizer": optimizer,
        "average": {"steps": state["average"]["steps"], "averages": averages},
        "identity": identity,
        "running": {"terms": [], "steps": 0, "loss": 0.0, "sums": None},
        "changes": [],
    }


def _leaves(name: str, text: str) -> dict[str, str]:
    """An option by the dotted names of what is in it."""
    value = json.loads(text)
    if not isinstance(value, dict):
        return {name: json.dumps(value, sort_keys=True, ensure_ascii=False)}
    found: dict[str, str] = {}
    for key, inner in value.items():
        found.update(_leaves(f"{name}.{key}", json.dumps(inner)))
    return found
