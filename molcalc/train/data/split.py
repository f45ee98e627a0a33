"""Division of a dataset into training, validation and test parts.

By a hash of the geometry, unless something else is asked for: whether a structure is held out then depends on its
geometry and the seed alone, and neither on other structures nor on the order of rows. Data may grow: nothing that was
trained on before is held out after.
"""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from molcalc.errors import DatasetError, short, suggest
from molcalc.io.schema import LARGEST_SEED
from molcalc.train.data.dataset import Dataset
from molcalc.train.data.geometry_hash import geometry_hashes, mix
from molcalc.train.data.split_blocks import draw_blocks
from molcalc.train.data.split_hash import Fold, Wish, draw_by_hash
from molcalc.train.data.split_random import draw_random

PARTS = {"train": "train", "training": "train", "valid": "valid", "val": "valid", "validation": "valid", "test": "test",
         "testing": "test"}  # fmt: skip
"""Values of a split key and the part they mean."""
SPLIT_METHODS = ("hash", "random", "block")


class Split(NamedTuple):
    """Positions in the dataset, each part in ascending order."""

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray


def split(
    dataset: Dataset,
    *,
    valid: float | int,
    test: float | int,
    seed: int,
    by: str | None = None,
    split_key: str | None = None,
    method: str = "hash",
    fold: str | None = None,
) -> Split:
    """Divide a dataset, the same for the same seed and content.

    Structures of equal geometry stay in one part, whatever their fidelity. Elements that few structures have, and
    groups of more than half of the structures, stay in the training part.

    Parameters
    ----------
    valid, test : share of the structures (float) or their number (int); 0 leaves the part empty. Shares of "hash" are
        expectations, as of a thrown die.
    by : "molecule" keeps structures of the same formula and charge together, the name of a key those with the same
        value.
    split_key : key that says to which part a structure belongs ("train", "valid" or "test"). A part that no
        structure claims is drawn from those of the training part.
    method : "hash"; "random", of exact size, in which every part holds every fidelity and number of atoms as far as
        there are enough groups; or "block", consecutive structures, for frames of trajectories.
    fold : "2/5" holds out the second of five equal parts for the test in place of ``test``: each structure once in
        five runs.

    Returns
    -------
    Positions in the dataset by part.

    Raises
    ------
    DatasetError
        When a part would be empty, a key is missing, or options exclude each other.
    """
    if method not in SPLIT_METHODS:
        raise DatasetError(
            f"method={method!r}{suggest(str(method), SPLIT_METHODS)}; choose one of {', '.join(SPLIT_METHODS)}"
        )
    if isinstance(seed, bool) or not isinstance(seed, Integral) or not 0 <= seed <= LARGEST_SEED:
        raise DatasetError(f"seed={short(seed)}; expected a whole number from 0 to {LARGEST_SEED}")
    if fold is not None and (method == "random" or split_key is not None):
        raise DatasetError(f"fold={fold!r} is for the methods hash and block, without split_key")
    if method == "block" and (by is not None or split_key is not None):
        raise DatasetError("blocks of consecutive structures are not divided by a molecule or key: leave that out")
    n = len(dataset)
    groups = _groups(dataset, by)
    part = np.zeros(n, dtype=np.int64)
    if split_key is not None:
        part = _parts_by_key(dataset, split_key)
        _refuse_divided(dataset, groups, part, split_key)
    asked = {"valid": valid, "test": 0 if fold is not None else test}
    wishes = {
        name: Wish(wanted, _target(wanted, n, name))
        for name, wanted in asked.items()
        if wanted and not (part == Split._fields.index(name)).any()
    }
    if sum(wish.target for wish in wishes.values()) >= n:
        raise DatasetError(f"valid={valid!r} and test={test!r} of {n} structures leave nothing for training")
    if fold is not None:
        wishes["test"] = Wish(Fold.of_text(fold))
    if method == "random":
        rng = np.random.default_rng(seed)
        for name in ("test", "valid"):
            if name in wishes:
                free = np.flatnonzero(part == 0)
                part[free[draw_random(dataset, groups, free, wishes[name].target, by, rng)]] = _number(name)
    elif method == "hash":
        draw_by_hash(dataset, groups, _codes(dataset, by), part, wishes, seed)
    else:
        draw_blocks(dataset, groups, part, wishes, seed)
    for name, wish in wishes.items():
        if not (part == _number(name)).any():
            raise DatasetError(
                f"{name}={wish.wanted!r} of {n} structures in {groups.max() + 1} groups leaves that part empty, as "
                "equal structures and those of a group stay together: give more that differ, a larger share, or a file "
                "of its own"
            )
    found = Split(*(np.flatnonzero(part == number) for number in range(3)))
    if len(found.train) == 0:
        raise DatasetError(f"valid={valid!r} and test={test!r} leave no structure of {n} for training")
    return found


def _number(part: str) -> int:
    """Number of a part in arrays."""
    return Split._fields.index(part)


def _target(wanted: float | int, n: int, name: str) -> int:
    """Number of structures asked for."""
    if isinstance(wanted, bool) or not isinstance(wanted, Real) or not 0 <= wanted < math.inf:
        raise DatasetError(f"{name}={short(wanted)} is neither a share between 0 and 1 nor a number of structures")
    if isinstance(wanted, int):
        count = wanted
    elif wanted < 1:
        count = round(wanted * n)
        if wanted > 0 and count == 0:
            raise DatasetError(
                f"{name}={wanted!r} of {n} structures leaves that part empty: give more structures, a larger share, or "
                "a number, such as 1"
            )
    else:
        raise DatasetError(
            f"{name}={wanted!r} is not a share between 0 and 1; give an integer for a number of structures"
        )
    if count >= n:
        raise DatasetError(f"{name}={short(wanted)} of {n} structures leaves nothing for training")
    return count


def _codes(dataset: Dataset, by: str | None) -> np.ndarray:
    """(n,) uint64, what the part of a structure follows from."""
    if by is None:
        return geometry_hashes(dataset)
    return molecule_codes(dataset) if by == "molecule" else mix(dataset.key_codes(by).view(np.uint64))


def _groups(dataset: Dataset, by: str | None) -> np.ndarray:
    """(n,) int64 group of each structure: equal geometries, and equal molecules or keys, share one."""
    links = [geometry_hashes(dataset)]
    if by == "molecule":
        links.append(molecule_codes(dataset))
    elif by is not None:
        codes = dataset.key_codes(by)
        if (codes == 0).any():
            first = dataset.row_name(int(np.flatnonzero(codes == 0)[0]))
            raise DatasetError(f"{first} has no key {by!r}, which the split goes by")
        links.append(codes.view(np.uint64))
    n = len(dataset)
    rows, columns, offset = [], [], n
    for codes in links:
        _, inverse = np.unique(codes, return_inverse=True)
        rows.append(np.arange(n))
        columns.append(offset + inverse)
        offset += int(inverse.max()) + 1
    i, j = np.concatenate(rows), np.concatenate(columns)
    graph = coo_matrix((np.ones(len(i), dtype=np.int8), (i, j)), shape=(offset, offset))
    _, component = connected_components(graph, directed=False)
    _, groups = np.unique(component[:n], return_inverse=True)
    return groups


def molecule_codes(dataset: Dataset) -> np.ndarray:
    """(n,) uint64, equal for structures of the same formula and charge."""
    per_atom = mix(dataset.numbers.astype(np.uint64) << np.uint64(20))
    sums = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(per_atom, dtype=np.uint64)])
    formula = sums[dataset.offsets[1:]] - sums[dataset.offsets[:-1]]
    charge = np.round(dataset.total_charge).astype(np.int64).view(np.uint64)
    return mix(formula ^ mix(charge))


def _parts_by_key(dataset: Dataset, key: str) -> np.ndarray:
    codes, texts = dataset.key_codes(key), dataset.key_texts(key) or {}
    part = np.full(len(dataset), -1)
    for code in np.unique(codes):
        text = texts.get(int(code))
        if code == 0:
            raise DatasetError(f"{dataset.row_name(int(np.flatnonzero(codes == 0)[0]))} has no key {key!r}")
        if text is None or text.lower() not in PARTS:
            raise DatasetError(f"key {key!r} has the value {text!r}; it must be one of {', '.join(PARTS)}")
        part[codes == code] = list(Split._fields).index(PARTS[text.lower()])
    return part


def _refuse_divided(dataset: Dataset, groups: np.ndarray, part: np.ndarray, key: str) -> None:
    """A geometry in two parts makes the errors of the test look better than they are."""
    order = np.lexsort((part, groups))
    same = (groups[order][1:] == groups[order][:-1]) & (part[order][1:] != part[order][:-1])
    if same.any():
        k = int(np.flatnonzero(same)[0])
        first, second = dataset.row_name(int(order[k])), dataset.row_name(int(order[k + 1]))
        raise DatasetError(
            f"key {key!r} puts the same geometry into two parts ({first} and {second}; {int(same.sum())} such cases): "
            "remove the duplicates"
        )
