"""Division of a dataset into training, validation and test parts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from molcalc.errors import DatasetError
from molcalc.train.data.dataset import Dataset
from molcalc.train.data.geometry_hash import geometry_hashes

PARTS = {"train": "train", "training": "train", "valid": "valid", "val": "valid", "validation": "valid", "test": "test",
         "testing": "test"}  # fmt: skip
"""Values of a split key and the part they mean."""


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
) -> Split:
    """Divide a dataset at random, the same for the same seed and content.

    Structures of equal geometry stay in one part, whatever their fidelity. Every part holds every fidelity and number
    of atoms, as far as there are enough groups of them.

    Parameters
    ----------
    valid, test : share of the structures (float) or their number (int); 0 leaves the part empty.
    by : "molecule" keeps structures of the same formula and charge together, the name of a key those with the same
        value.
    split_key : key that says to which part a structure belongs ("train", "valid" or "test"). A part that no
        structure claims is drawn from those of the training part.

    Returns
    -------
    Positions in the dataset by part.

    Raises
    ------
    DatasetError
        When a part would be empty, or a key is missing.
    """
    n = len(dataset)
    groups = _groups(dataset, by)
    part = np.zeros(n, dtype=np.int64)
    if split_key is not None:
        part = _parts_by_key(dataset, split_key)
        _refuse_divided(dataset, groups, part, split_key)
    rng = np.random.default_rng(seed)
    for number, name, wanted in ((2, "test", test), (1, "valid", valid)):
        if (part == number).any():
            continue
        target = _target(wanted, n, name)
        if target:
            free = np.flatnonzero(part == 0)
            part[free[_draw(dataset, groups, free, target, by, rng)]] = number
        if target and not (part == number).any():
            raise DatasetError(
                f"{name}={wanted!r} of {n} structures in {groups.max() + 1} groups leaves that part empty"
            )
    found = Split(*(np.flatnonzero(part == number) for number in range(3)))
    if len(found.train) == 0:
        raise DatasetError(f"valid={valid!r} and test={test!r} leave no structure of {n} for training")
    return found


def _target(wanted: float | int, n: int, name: str) -> int:
    """Number of structures asked for."""
    if isinstance(wanted, bool) or not np.isfinite(wanted) or wanted < 0:
        raise DatasetError(f"{name}={wanted!r} is neither a share between 0 and 1 nor a number of structures")
    if isinstance(wanted, int):
        count = wanted
    elif wanted < 1:
        count = round(wanted * n)
        if wanted > 0 and count == 0:
            raise DatasetError(f"{name}={wanted!r} of {n} structures leaves that part empty")
    else:
        raise DatasetError(
            f"{name}={wanted!r} is not a share between 0 and 1; give an integer for a number of structures"
        )
    if count >= n:
        raise DatasetError(f"{name}={wanted!r} of {n} structures leaves nothing for training")
    return count


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
    from molcalc.train.data.geometry_hash import mix

    per_atom = mix(dataset.numbers.astype(np.uint64) << np.uint64(20))
    sums = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(per_atom, dtype=np.uint64)])
    formula = sums[dataset.offsets[1:]] - sums[dataset.offsets[:-1]]
    charge = np.round(dataset.total_charge).astype(np.int64).view(np.uint64)
    return mix(formula ^ mix(charge))


def _draw(
    dataset: Dataset, groups: np.ndarray, free: np.ndarray, target: int, by: str | None, rng: np.random.Generator
) -> np.ndarray:
    """Positions in ``free`` of about ``target`` structures in whole groups, in equal shares of every stratum."""
    members, group = np.unique(groups[free], return_inverse=True)
    size = np.bincount(group)
    order = rng.permutation(len(members))
    chosen = _choose(order, size, _strata(dataset, free, group, len(members), by), target, rng)
    if not chosen.any():  # every stratum is a single group
        chosen = _choose(order, size, np.zeros(len(members), dtype=np.int64), target, rng)
    return np.flatnonzero(chosen[group])


def _choose(
    order: np.ndarray, size: np.ndarray, stratum: np.ndarray, target: int, rng: np.random.Generator
) -> np.ndarray:
    """(n_groups,) bool, groups that hold about ``target`` structures together."""
    wanted = _apportion(target, np.bincount(stratum, weights=size), np.bincount(stratum) >= len(Split._fields))
    chosen = np.zeros(len(size), dtype=bool)
    left_over = 0.0
    for kind in rng.permutation(len(wanted)).tolist():
        own = order[stratum[order] == kind]
        picked = own[_pick(size[own], wanted[kind] + left_over, bool(wanted[kind]))]
        chosen[picked] = True
        left_over += wanted[kind] - size[picked].sum()
    return chosen


def _apportion(target: int, rows: np.ndarray, eligible: np.ndarray) -> np.ndarray:
    """Whole numbers proportional to ``rows`` that sum to ``target``; one for those eligible, where it can be."""
    quota = target * rows / rows.sum()
    wanted = np.floor(quota).astype(np.int64)
    rest = target - int(wanted.sum())
    wanted[np.argsort(wanted - quota, kind="stable")[:rest]] += 1
    for k in np.flatnonzero(eligible & (wanted == 0)):
        richest = int(np.argmax(wanted))
        if wanted[richest] > 1:
            wanted[richest] -= 1
            wanted[k] = 1
    return wanted


def _pick(sizes: np.ndarray, wanted: float, at_least_one: bool) -> np.ndarray:
    """Which groups to take, in the order given, for a number of structures close to ``wanted``; never all groups."""
    if len(sizes) < 2:
        return np.zeros(0, dtype=np.int64)
    count = int(np.searchsorted(np.cumsum(sizes) - 0.5 * sizes, wanted))
    if count == 0 and at_least_one:
        return np.argmin(sizes, keepdims=True)
    return np.arange(min(count, len(sizes) - 1))


def _strata(dataset: Dataset, free: np.ndarray, group: np.ndarray, n_groups: int, by: str | None) -> np.ndarray:
    """(n_groups,) int64, equal for groups of the same fidelities and, unless whole molecules are drawn, size."""
    fidelity = dataset.fidelity[free]
    has = np.zeros((n_groups, len(dataset.fidelities)), dtype=bool)
    has[group, fidelity] = True
    columns = [has]
    if by is None:
        sizes = np.zeros(n_groups, dtype=np.int64)
        sizes[group] = dataset.n_atoms()[free]
        columns.append(sizes[:, None])
    _, stratum = np.unique(np.concatenate(columns, axis=1), axis=0, return_inverse=True)
    return stratum.reshape(-1)


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
