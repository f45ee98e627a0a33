"""Parts of consecutive structures: a trajectory is cut in few places, so that few frames have neighbors elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from molcalc.train.data.dataset import Dataset
from molcalc.train.data.geometry_hash import geometry_hashes
from molcalc.train.data.split_hash import Fold, Wish, draw_by_hash, elements_of_groups, keep_elements
from molcalc.train.data.trajectories import runs_of


def draw_blocks(dataset: Dataset, groups: np.ndarray, part: np.ndarray, wishes: Mapping[str, Wish], seed: int) -> None:
    """Hold out the end of every trajectory for the test, and what comes before that for validation, in place.

    A trajectory too short to be cut is one block, drawn whole. Structures whose geometry occurs in two parts stay in
    the training part.

    Parameters
    ----------
    groups : (n,) number of the group of equal geometries.
    part : (n,) 0 for all, and then 0, 1, 2 for train, valid, test.
    wishes : for "valid" and "test"; numbers of structures count as the share that they are.
    seed : of the draw of short trajectories.
    """
    runs = runs_of(dataset)
    shares = {name: _share(wish, len(dataset)) for name, wish in wishes.items()}
    short = np.zeros(len(dataset), dtype=bool)
    for members in np.split(np.arange(len(dataset)), np.flatnonzero(np.diff(runs)) + 1):
        lengths = {name: round(share * len(members)) for name, share in shares.items()}
        if not all(lengths.values()) or sum(lengths.values()) >= len(members):
            short[members] = True
            continue
        n_test, n_valid = lengths.get("test", 0), lengths.get("valid", 0)
        fold = wishes["test"].wanted if "test" in wishes else None
        begin = len(members) - n_test
        if isinstance(fold, Fold):
            begin = (fold.k - 1) * len(members) // fold.of
            n_test = fold.k * len(members) // fold.of - begin
        part[members[begin : begin + n_test]] = 2
        part[members[(begin - n_valid + np.arange(n_valid)) % len(members)]] = 1
    if short.any():
        chosen = np.flatnonzero(short)
        whole = dataset.subset(chosen)
        _, blocks = np.unique(runs[chosen], return_inverse=True)
        first = np.searchsorted(blocks, np.arange(blocks[-1] + 1))
        drawn = np.zeros(len(chosen), dtype=np.int64)
        draw_by_hash(whole, blocks, geometry_hashes(whole)[first][blocks], drawn, _rescaled(wishes, shares), seed)
        part[chosen] = drawn
    of_group = np.full(int(groups.max()) + 1, 2)
    np.minimum.at(of_group, groups, part)
    sizes = np.bincount(groups)
    keep_elements(of_group, elements_of_groups(dataset, groups), sizes, np.ones(len(sizes), dtype=bool))
    part[:] = of_group[groups]


def _share(wish: Wish, n: int) -> float:
    if isinstance(wish.wanted, Fold):
        return 1.0 / wish.wanted.of
    return float(wish.wanted) if wish.wanted < 1 else wish.wanted / n


def _rescaled(wishes: Mapping[str, Wish], shares: Mapping[str, float]) -> dict[str, Wish]:
    """The same wishes, as shares of the short trajectories."""
    return {
        name: wish if isinstance(wish.wanted, Fold) else Wish(shares[name], wish.target)
        for name, wish in wishes.items()
    }
