"""Data of a run in three parts: to train on, to choose the best model by, and to report on."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from molcalc.errors import DatasetError
from molcalc.io.files import sha256
from molcalc.io.schema import LARGEST_SEED, Choice, Positive, Range, ShareOrNumber, check_fields
from molcalc.train.data.comparison import Comparison, check_points
from molcalc.train.data.contradictions import check_charges, check_signs, warn_of_doubts
from molcalc.train.data.dataset import Dataset
from molcalc.train.data.geometry_hash import geometry_hashes
from molcalc.train.data.kept_parts import KeptParts
from molcalc.train.data.label_reader import elements_of
from molcalc.train.data.opening import Data, check_any_label, open_dataset
from molcalc.train.data.selection import within_limits
from molcalc.train.data.single_precision import warn_of_doubtful_precision
from molcalc.train.data.split import SPLIT_METHODS, Split, split
from molcalc.train.data.split_hash import Fold
from molcalc.train.data.suspicions import check_units
from molcalc.train.data.trajectories import resembling_frames
from molcalc.units import symbols_of

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """Division of the data: shares, keys and files that are held out.

    Attributes
    ----------
    valid, test : share (a float below 1) or number of systems (an int) held out.
    split_method : "hash" (of the geometry: growing data keep their parts), "random" (parts of exact size), or "block"
        (consecutive frames of trajectories); ``split: block`` is short for it.
    split_seed : of the division, whatever the seed of the weights is.
    fold : "2/5" holds out the second of five equal parts for the test, in place of ``test``.
    max_force : eV/Å; structures with a larger force on an atom are left out of all parts. None takes all.
    max_energy : eV above the lowest energy of the same composition, charge and fidelity; structures with more are left
        out of all parts. None takes all.
    split_by : "molecule" or a database key: systems that share it stay together.
    split_key : database key that names each row's part ("train", "valid", "test").
    allow_overlap : train although held-out files have geometries of the training part, with a warning.
    """

    valid: ShareOrNumber = 0.1
    test: ShareOrNumber = 0.1
    split_method: Annotated[str, Choice(SPLIT_METHODS)] = "hash"
    split_seed: Annotated[int, Range(0, LARGEST_SEED)] = 0
    fold: str | None = None
    max_force: Positive | None = None
    max_energy: Positive | None = None
    split_by: str | None = None
    split_key: str | None = None
    allow_overlap: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        if self.fold is not None:
            try:
                Fold.of_text(self.fold)
            except DatasetError as error:
                raise ValueError(str(error)) from error
        for name, value in (("valid", self.valid), ("test", self.test)):
            if isinstance(value, float) and value >= 1:
                whole = f" ({name}={value:.0f})" if value.is_integer() else ""
                raise ValueError(
                    f"{name}={value}; expected a share below 1 ({name}=0.1), or a whole number of systems, without a "
                    f"point{whole}"
                )


@dataclass(frozen=True)
class Parts:
    """Systems to train on, to choose the best model by, and to report on (may be empty)."""

    train: Dataset
    valid: Dataset
    test: Dataset

    @property
    def held_out(self) -> dict[str, Dataset]:
        """Parts that are not trained on, by name."""
        return {"valid": self.valid, "test": self.test}

    @property
    def split_hash(self) -> str:
        """16 hexadecimal digits, different for another division of the same data."""
        return sha256(b"".join(part.selection + b"|" for part in (self.train, self.valid, self.test)))[:16]


def recorded_division(options: Mapping[str, Any]) -> dict[str, Any]:
    """How a run that goes on was divided, if it says nothing of a method: at random, by the seed of its weights.

    Numbers of systems are whole, as whatever an earlier version wrote.

    Parameters
    ----------
    options : that the run wrote, by key.

    Returns
    -------
    options of :class:`SplitConfig`; none for a run that names its method
    """
    method = {} if "split_method" in options else {"split_method": "random", "split_seed": options.get("seed", 0)}
    numbers = {name: int(options[name]) for name in ("valid", "test") if _is_whole(options.get(name))}
    return {**method, **numbers}


def _is_whole(value: Any) -> bool:
    """Whether it is a number of systems as earlier versions wrote them: 10.0."""
    return isinstance(value, float) and value >= 1 and value.is_integer()


def warn_of_leaks(parts: Parts, before: KeptParts | None) -> None:
    """Log how many held-out structures the given weights were trained on already.

    Parameters
    ----------
    before : parts of the run that the weights come from; None where it does not say.
    """
    if before is None:
        return
    trained = before.geometries[before.parts == Split._fields.index("train")]
    for name, part in (("validation", parts.valid), ("test", parts.test)):
        known = np.flatnonzero(np.isin(geometry_hashes(part), trained))
        if len(known):
            log.warning(
                "%d of %d systems of the %s part are in the training data of init (first %s): errors on them look too "
                "small. Split both runs by a hash, with one split_seed and equal shares",
                len(known), len(part), name, part.row_name(int(known[0])),
            )  # fmt: skip


def open_parts(
    data: Data,
    config: SplitConfig,
    *,
    valid: Data | None = None,
    test: Data | None = None,
    units: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    skip_bad: bool = False,
    kept: KeptParts | None = None,
) -> Parts:
    """Open the data and split off what has no file of its own.

    Parameters
    ----------
    valid, test : files of held-out systems; None takes the share or number that ``config`` says.
    units, labels, skip_bad : as :func:`molcalc.train.data.opening.open_dataset` takes them.
    kept : parts of a run that goes on, which its rows stay in.

    Returns
    -------
    data sets of training, validation and test

    Raises
    ------
    DatasetError
        When files cannot be used, labels look as if they were in another unit, a part is empty, an element occurs in
        validation or test only, or held-out files share geometries with the training part.
    """
    if config.fold is not None and test is not None:
        raise DatasetError(f"fold={config.fold!r} holds out a part of the data for the test: leave test= out")
    whole = open_dataset(data, units=units, labels=labels, skip_bad=skip_bad)
    check_any_label(whole)
    whole = within_limits(whole, config.max_force, config.max_energy)
    check_units(whole)
    opened = {
        name: _open_like(files, whole, config, units, labels, skip_bad)
        for name, files in (("valid", valid), ("test", test))
        if files is not None
    }
    return divided(whole, config, valid=opened.get("valid"), test=opened.get("test"), kept=kept)


def divided(
    whole: Dataset,
    config: SplitConfig,
    *,
    valid: Dataset | None = None,
    test: Dataset | None = None,
    kept: KeptParts | None = None,
) -> Parts:
    """Split off what has no data of its own.

    Parameters
    ----------
    valid, test : held-out systems; None takes the share or number that ``config`` says.
    kept : parts of a run that goes on, which its rows stay in.

    Returns
    -------
    data sets of training, validation and test

    Raises
    ------
    DatasetError
        When a part is empty, an element occurs in validation or test only, or held-out data share geometries with the
        training part.
    """
    chosen = split(
        whole,
        valid=0 if valid is not None else config.valid,
        test=0 if test is not None else config.test,
        seed=config.split_seed,
        by=config.split_by,
        split_key=config.split_key,
        method=config.split_method,
        fold=config.fold,
    )
    by_chance = config.split_method != "block" and config.split_key is None and config.split_by is None
    if by_chance and (valid is None or test is None) and (frames := resembling_frames(whole)) is not None:
        log.warning("%s", frames)
    if kept is not None:
        chosen = kept.applied(whole, chosen)
    train = whole.subset(chosen.train)
    parts = Parts(
        train,
        whole.subset(chosen.valid) if valid is None else valid,
        whole.subset(chosen.test) if test is None else test,
    )
    if not len(parts.valid):
        raise DatasetError("nothing to validate on: give valid > 0, or a file of its own")
    for name, part in (("validation", parts.valid), ("test", parts.test)):
        _check_elements(train, name, part)
        _check_overlap(train, name, part, config.allow_overlap)
    for name, files, part in (("validation", valid, parts.valid), ("test", test, parts.test)):
        if files is not None:
            _tell_repeated(name, part)
    if valid is not None or test is not None:
        _tell_shared(parts)
    return parts


def check_parts(parts: Parts, potential: Comparison | None) -> None:
    """Refuse labels that contradict each other, and points that cannot be learned from.

    Parameters
    ----------
    potential : which points of the electrostatic potential are learned; None when it is not.

    Raises
    ------
    DatasetError
        Names the first rows.
    """
    if not parts.train.weight.any():
        raise DatasetError("the weight of every training structure is 0, and nothing would be learned (key weight)")
    for part in (parts.train, parts.valid, parts.test):
        check_charges(part)
    check_signs(parts.train)
    warn_of_doubts(parts.train)
    warn_of_doubtful_precision(parts.train)
    if potential is not None:
        check_points(parts.train, potential)


def check_spins(parts: Parts, predicts: Collection[str]) -> None:
    """Refuse, for a network that does not see spin, systems that only their spin tells from others.

    Parameters
    ----------
    predicts : what the network predicts beside energies.

    Raises
    ------
    DatasetError
        Names the first system with more unpaired electrons than it must have.
    """
    if "spin_charges" in predicts:
        return
    for name, part in (("training", parts.train), ("validation", parts.valid), ("test", parts.test)):
        multiplicity = part.multiplicity
        high = np.flatnonzero(multiplicity > 2)
        if len(high):
            raise DatasetError(
                f"{len(high)} of {len(part)} systems of the {name} part have more unpaired electrons than they must "
                f"(first {part.row_name(int(high[0]))}: multiplicity {multiplicity[high[0]]}), and this model does not "
                "see spin: train an AIMNet2 with arguments={'charge_channels': 2}, or leave these systems out"
            )
        if odd := int((multiplicity == 2).sum()):
            log.warning(
                "%d of %d systems of the %s part have an odd number of electrons, and this model does not see the "
                "unpaired one; an AIMNet2 with arguments={'charge_channels': 2} does", odd, len(part), name,
            )  # fmt: skip


def _check_overlap(train: Dataset, name: str, part: Dataset, allowed: bool) -> None:
    """Refuse geometries that a part shares with the training part at the same fidelity; only files of their own can."""
    shared = np.zeros(len(part), dtype=bool)
    for k, fidelity in enumerate(part.fidelities):
        own = part.fidelity == k
        there = train.fidelity == train.fidelities.index(fidelity)
        shared |= own & np.isin(geometry_hashes(part), geometry_hashes(train)[there])
    both = np.flatnonzero(shared)
    if not len(both):
        return
    message = (
        f"{len(both)} of {len(part)} systems of the {name} part are in the training part as well (first "
        f"{part.row_name(int(both[0]))}): errors on it will look too small"
    )
    if not allowed:
        raise DatasetError(f"{message}; leave them out, or say allow_overlap=True")
    log.warning("%s", message)


def _tell_repeated(name: str, part: Dataset) -> None:
    """Log geometries that a part has more than once at one fidelity, which several files for it may bring."""
    systems = np.stack([geometry_hashes(part), part.fidelity.astype(np.uint64)], axis=1)
    _, first = np.unique(systems, axis=0, return_index=True)
    again = np.setdiff1d(np.arange(len(part)), first)
    if len(again):
        log.warning(
            "%d of %d systems of the %s part are in it before (first %s) and count more than once: leave them out",
            len(again), len(part), name, part.row_name(int(again[0])),
        )  # fmt: skip


def _tell_shared(parts: Parts) -> None:
    """Log systems of the test part by which the best model is chosen, too."""
    both = np.flatnonzero(np.isin(geometry_hashes(parts.test), geometry_hashes(parts.valid)))
    if len(both):
        log.warning(
            "%d of %d systems of the test part are in the validation part as well (first %s): the model is chosen by "
            "them, and errors on the test part look too small; hold out others",
            len(both), len(parts.test), parts.test.row_name(int(both[0])),
        )  # fmt: skip


def _check_elements(train: Dataset, name: str, part: Dataset) -> None:
    """Refuse a part with elements that the training part lacks at the same fidelity."""
    for k, fidelity in enumerate(part.fidelities):
        strange = set(elements_of(part, k)) - set(elements_of(train, train.fidelities.index(fidelity)))
        if strange:
            at = f" at fidelity {fidelity!r}" if len(train.fidelities) > 1 else ""
            raise DatasetError(
                f"the {name} part has {symbols_of(strange)}{at}, which the training part lacks: split by another seed, "
                "or leave these systems out"
            )


def _open_like(
    data: Data,
    train: Dataset,
    config: SplitConfig,
    units: Mapping[str, str] | None,
    labels: Mapping[str, str] | None,
    skip_bad: bool,
) -> Dataset:
    part = open_dataset(data, units=units, labels=labels, skip_bad=skip_bad)
    part = within_limits(part, config.max_force, config.max_energy)
    check_units(part)
    if not set(part.fidelities) <= set(train.fidelities):
        raise DatasetError(
            f"fidelities {list(part.fidelities)} in the held-out data, {list(train.fidelities)} in the training data; "
            "give both as a dict of the same names"
        )
    return part
