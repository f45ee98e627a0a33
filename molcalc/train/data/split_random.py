"""Random parts of an exact size, in equal shares of every fidelity and number of atoms."""

from __future__ import annotations

import numpy as np

from molcalc.train.data.dataset import Dataset

N_PARTS = 3


def draw_random(
    dataset: Dataset, groups: np.ndarray, free: np.ndarray, target: int, by: str | None, rng: np.random.Generator
) -> np.ndarray:
    """Positions in ``free`` of about ``target`` structures in whole groups, in equal shares of every stratum.

    Parameters
    ----------
    groups : (n,) number of the group of every structure.
    free : positions of structures that may be drawn.
    by : what groups are made by; None also shares out numbers of atoms.

    Returns
    -------
    positions in ``free``
    """
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
    wanted = _apportion(target, np.bincount(stratum, weights=size), np.bincount(stratum) >= N_PARTS)
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
