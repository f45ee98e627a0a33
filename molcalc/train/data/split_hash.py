"""Parts by a hash: the place of a structure in 0…1 follows from its geometry, and a part is an interval of places."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from molcalc.errors import DatasetError
from molcalc.train.data.dataset import Dataset
from molcalc.train.data.geometry_hash import mix

FEWEST_GROUPS = 3
"""Groups that an element needs before some of them are held out: a model learns nothing from fewer."""
_VALID = np.uint64(0x9E3779B97F4A7C15)
"""Makes places for the validation part that have nothing to do with those for the test."""


@dataclass(frozen=True)
class Fold:
    """One of several equal parts, counted from 1.

    Attributes
    ----------
    k, of : "2/5" is the second of five.
    """

    k: int
    of: int

    @classmethod
    def of_text(cls, text: str) -> Fold:
        """Read "k/K".

        Returns
        -------
        the fold

        Raises
        ------
        DatasetError
        """
        match = re.fullmatch(r"\s*(\d{1,4})\s*/\s*(\d{1,4})\s*", text)
        if match is None or not 1 <= int(match[1]) <= int(match[2]) or int(match[2]) < 2:
            raise DatasetError(f"fold={text!r}; expected k/K with 1 ≤ k ≤ K and K of at least 2, such as 2/5")
        return cls(int(match[1]), int(match[2]))

    def __repr__(self) -> str:
        return f"fold {self.k}/{self.of}"


@dataclass(frozen=True)
class Wish:
    """What is asked for of a part.

    Attributes
    ----------
    wanted : share below 1, number of structures, or a fold.
    target : number of structures that this means; 0 for a fold.
    """

    wanted: float | int | Fold
    target: int = 0


def draw_by_hash(
    dataset: Dataset, groups: np.ndarray, codes: np.ndarray, part: np.ndarray, wishes: Mapping[str, Wish], seed: int
) -> None:
    """Move structures of the training part into the others, in place.

    Parameters
    ----------
    groups : (n,) number of the group of every structure; groups stay together.
    codes : (n,) uint64 that places follow from; a group has the place of its smallest.
    part : (n,) 0, 1, 2 for train, valid, test.
    wishes : for "valid" and "test", as far as they are drawn.
    """
    n_groups = int(groups.max()) + 1
    smallest = np.full(n_groups, np.iinfo(np.uint64).max, dtype=np.uint64)
    np.minimum.at(smallest, groups, codes)
    sizes = np.bincount(groups, minlength=n_groups)
    of_group = np.zeros(n_groups, dtype=np.int64)
    of_group[groups] = part
    drawn = of_group == 0
    owned = elements_of_groups(dataset, groups)
    kept = _rare(owned, n_groups)
    if kept.all():  # few structures altogether; that no element is lost is seen to below
        kept = np.zeros(n_groups, dtype=bool)
    kept |= sizes > len(dataset) / 2
    taken = 0.0
    for name, number, salt in (("test", 2, np.uint64(0)), ("valid", 1, _VALID)):
        if name not in wishes:
            continue
        places = _places(smallest, seed, salt)
        free = np.flatnonzero((of_group == 0) & ~kept)
        wish = wishes[name]
        of_group[free[_chosen(places[free], sizes[free], wish, taken)]] = number
        if isinstance(wish.wanted, float):
            taken = wish.wanted
        _fill(dataset, groups, of_group, places, sizes, kept, number, wish.target)
    keep_elements(of_group, owned, sizes, drawn)
    part[:] = of_group[groups]


def elements_of_groups(dataset: Dataset, groups: np.ndarray) -> np.ndarray:
    """(n, 3) group, fidelity and element: which elements occur where, each of them once."""
    owner = np.repeat(np.arange(len(dataset)), dataset.n_atoms())
    return np.unique(np.column_stack([groups[owner], dataset.fidelity[owner], dataset.numbers]), axis=0)


def keep_elements(of_group: np.ndarray, owned: np.ndarray, sizes: np.ndarray, drawn: np.ndarray) -> None:
    """Bring groups back into the training part until it has every element at every fidelity, in place.

    Parameters
    ----------
    of_group : (n_groups,) part of each.
    owned : as :func:`elements_of_groups` gives it.
    sizes : (n_groups,) structures; the smallest group that helps is taken.
    drawn : (n_groups,) bool, groups that may be brought back: a key did not put them where they are.
    """
    kinds, which = np.unique(owned[:, 1:], axis=0, return_inverse=True)
    for kind in range(len(kinds)):
        members = owned[which.reshape(-1) == kind, 0]
        free = members[drawn[members]]
        if len(free) and not (of_group[members] == 0).any():
            of_group[free[np.argmin(sizes[free])]] = 0


def _rare(owned: np.ndarray, n_groups: int) -> np.ndarray:
    """(n_groups,) bool, groups with an element that few groups have at their fidelity."""
    _, which, counts = np.unique(owned[:, 1:], axis=0, return_inverse=True, return_counts=True)
    rare = np.zeros(n_groups, dtype=bool)
    rare[owned[counts[which.reshape(-1)] < FEWEST_GROUPS, 0]] = True
    return rare


def _places(codes: np.ndarray, seed: int, salt: np.uint64) -> np.ndarray:
    """(n_groups,) numbers in 0…1."""
    spread = mix(codes ^ mix(np.array([seed], dtype=np.uint64) ^ salt))
    return spread / np.float64(2.0**64)


def _chosen(places: np.ndarray, sizes: np.ndarray, wish: Wish, taken: float) -> np.ndarray:
    """Positions of the groups of a part; ``taken`` is the share of all structures that another part has."""
    if isinstance(wish.wanted, Fold):
        inside = (places * wish.wanted.of).astype(np.int64) == wish.wanted.k - 1
        return np.flatnonzero(inside)
    if isinstance(wish.wanted, float):
        return np.flatnonzero(places < wish.wanted / (1.0 - taken))
    order = np.argsort(places)
    ends = np.cumsum(sizes[order])
    return order[: int(np.searchsorted(ends - 0.5 * sizes[order], wish.wanted))]


def _fill(
    dataset: Dataset,
    groups: np.ndarray,
    of_group: np.ndarray,
    places: np.ndarray,
    sizes: np.ndarray,
    kept: np.ndarray,
    number: int,
    target: int,
) -> None:
    """Give a part one group of every fidelity that it lacks and that has enough groups, in place."""
    for fidelity in range(len(dataset.fidelities)):
        members = np.unique(groups[dataset.fidelity == fidelity])
        free = members[(of_group[members] == 0) & ~kept[members]]
        if (of_group[members] == number).any() or len(members) < FEWEST_GROUPS or len(free) < 2:
            continue
        small = free[sizes[free] <= max(target, sizes[free].min())]
        of_group[small[np.argmin(places[small])]] = number
