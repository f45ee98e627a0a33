"""What may change when a run goes on, and what may not.

A run remembers its data and every option that alters its course. What differs when it goes on is either refused with
the reason, or written into its history and its ``training.yaml``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from molcalc.errors import CheckpointMismatchError
from molcalc.train.data.comparison import Comparison
from molcalc.train.data.parts import Parts, SplitConfig
from molcalc.train.loop.processes import Processes
from molcalc.train.report.recording import ReportConfig
from molcalc.train.start.start_config import StartConfig

WITHOUT_EFFECT = {"threads", "device", "checkpoint_minutes", "dist_timeout", "keep_top", "use_recommended_hparams"}
WITHOUT_EFFECT |= {key.name for key in fields(ReportConfig)}
"""Options that do not alter the course of a run."""
KEPT_BY_ALL: dict[str, str] = {
    "seed": "its weights and its batches follow from it",
    **{key.name: "a run keeps its parts, so that nothing it learned is held out later" for key in fields(SplitConfig)},
}
"""Options that every run keeps, and why."""


@dataclass(frozen=True)
class Kept:
    """What a kind of run keeps when it goes on.

    Attributes
    ----------
    options : by name the reason why they stay.
    cure : what to do for others; ``{folder}`` is that of the run.
    of_scores : options beside :data:`OF_SCORES` that decide the score of a model.
    """

    options: Mapping[str, str]
    cure: str
    of_scores: frozenset[str] = frozenset()


FIXED = Kept(
    {
        **KEPT_BY_ALL,
        **{key.name: "the network and the meaning of its labels follow from it" for key in fields(StartConfig)},
    },
    "undo the change, or start a new run with init={folder!r}",
)
"""What a run of a potential keeps."""
OF_BATCHES = {"data", "split", "number of processes", "batch_size", "batch_mode", "batches_per_epoch",
              "fidelity_weights"}  # fmt: skip
"""What decides which systems make which batch: the epoch that was interrupted begins anew when one of them changes."""
OF_SCORES = {"data", "validation data", "split", "loss", *(key.name for key in fields(Comparison))}
"""What decides the score of a model: the best one is judged again when one of them changes."""
RECOMMENDED = {"learning_rate", "weight_decay", "optimizer_options"}
"""Options whose recommended values are written down when a run begins."""
OPTION = "option "
OFF = ("null", "false", "0.0")
"""Values of an option that does nothing."""


@dataclass(frozen=True)
class Change:
    """Change of something between the beginning of a run and its continuation.

    Attributes
    ----------
    name : "data", "number of processes", or the dotted name of an option.
    before, now : values as JSON; "null" where there was none.
    """

    name: str
    before: str
    now: str

    def __str__(self) -> str:
        return f"{self.name} {self.before} → {self.now}"

    @property
    def option(self) -> str:
        """The option that it belongs to, or the name."""
        return self.name.partition(".")[0]


def identity_of(options: Mapping[str, Any], parts: Parts, processes: Processes) -> dict[str, str]:
    """Data and options that decide the course of a run, by name.

    Parameters
    ----------
    options : all of the run by key, as plain values.

    Returns
    -------
    values as text
    """
    sizes = [len(part) for part in (parts.train, parts.valid, parts.test)]
    identity = {
        "data": parts.train.hash,
        "validation data": parts.valid.hash,
        "split": parts.split_hash,
        "systems in train, valid, test": ", ".join(map(str, sizes)),
        "number of processes": str(processes.size),
    }
    alter = {name: value for name, value in options.items() if name not in WITHOUT_EFFECT}
    return {**identity, **{OPTION + name: value for name, value in flattened(alter).items()}}


def flattened(options: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Options as JSON by dotted name."""
    found: dict[str, str] = {}
    for key, value in options.items():
        if isinstance(value, Mapping):
            found.update(flattened(value, f"{prefix}{key}."))
        else:
            found[f"{prefix}{key}"] = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return found


def changes_of(before: Mapping[str, str], now: Mapping[str, str], folder: Path, kept: Kept) -> list[Change]:
    """What has changed since a run was last saved.

    Parameters
    ----------
    before, now : of :func:`identity_of`.
    folder : of the run, named in errors.
    kept : what a run of its kind keeps.

    Returns
    -------
    changes that are allowed

    Raises
    ------
    CheckpointMismatchError
        When something changed that a run keeps; says why, and what to do.
    """
    found = []
    for name in dict.fromkeys([*now, *before]):
        added, is_option = name not in before, name.startswith(OPTION)
        if (added or name not in now) and not (is_option and "." in name):
            continue  # an option that another version did not have
        old, new = before.get(name, "null"), now.get(name, "null")
        if _same(old, new, is_option) or (added and new in OFF):
            continue
        change = Change(name.removeprefix(OPTION), old, new)
        if change.option in RECOMMENDED and old == "null":
            continue  # an earlier version left the recommended value open
        if is_option and change.option in kept.options:
            raise CheckpointMismatchError(
                f"cannot resume {folder}: option {change.name} was {old} and is {new} now, but "
                f"{kept.options[change.option]}; {kept.cure.format(folder=str(folder))}"
            )
        found.append(change)
    return found


def _same(old: str, new: str, is_option: bool) -> bool:
    """Whether two values are equal, 10 and 10.0 included: an earlier version wrote whole numbers so."""
    return old == new or (is_option and json.loads(old) == json.loads(new))


def told_of(changes: Sequence[Change]) -> list[str]:
    """Changes as they are written down; other data are one change, whatever parts of them are others.

    Returns
    -------
    one text for each
    """
    follow = {"validation data", "split"} if touches(changes, {"data"}) else set()
    return [str(change) for change in changes if change.name not in follow]


def touches(changes: Iterable[Change], names: set[str]) -> bool:
    """Whether something of ``names`` is among the changes."""
    return any(change.option in names for change in changes)
