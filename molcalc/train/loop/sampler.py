"""Systems of every batch of every epoch: a pure function of seed and epoch, so that runs resume exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from molcalc.errors import ConfigError, suggest
from molcalc.train.loop.processes import Processes

MODES = ("molecules", "atoms")
COMPARED_AT_ONCE = 2000
"""Atoms in a batch whose predictions are compared with labels and from which nothing is learned."""


class Sampler:
    """Sampler that cuts shuffled training systems into batches.

    Parameters
    ----------
    n_atoms : (n_train,) atoms of each training system.
    fidelity : (n_train,) index of its level of theory.
    batch_size : molecules, or atoms in mode "atoms", of one batch (of one process).
    mode : "molecules" or "atoms".
    batches_per_epoch : None for one pass over the data.
    weights : probability of each fidelity (any positive scale); None samples every system equally.
    n_processes : batches are ``n_processes`` times larger and dealt out by :func:`share`.
    """

    def __init__(
        self,
        n_atoms: np.ndarray,
        fidelity: np.ndarray,
        *,
        batch_size: int,
        mode: str = "molecules",
        batches_per_epoch: int | None = None,
        weights: Sequence[float] | None = None,
        seed: int = 0,
        n_processes: int = 1,
    ) -> None:
        if mode not in MODES:
            raise ConfigError(f"batch_mode={mode!r}{suggest(str(mode), MODES)}; choose one of {list(MODES)}")
        if batch_size < 1:
            raise ConfigError(f"batch_size={batch_size}; expected at least 1")
        if batches_per_epoch is not None and batches_per_epoch < 1:
            raise ConfigError(f"batches_per_epoch={batches_per_epoch}; expected at least 1, or null for one pass")
        self._n_atoms, self._fidelity = np.asarray(n_atoms), np.asarray(fidelity)
        self._per_batch = batch_size * n_processes
        self._mode, self._seed, self._weights = mode, seed, weights
        if weights is not None:
            self._check_weights(weights)
        average = len(self._n_atoms) if mode == "molecules" else int(self._n_atoms.sum())
        self.batches_per_epoch = batches_per_epoch or max(1, -(-average // self._per_batch))

    def _check_weights(self, weights: Sequence[float]) -> None:
        if not all(weight >= 0 for weight in weights) or not sum(weights) > 0:
            raise ConfigError(f"fidelity weights {list(weights)}; expected numbers of at least 0 with a positive sum")
        for index, weight in enumerate(weights):
            if weight > 0 and not (self._fidelity == index).any():
                raise ConfigError(f"fidelity {index} has weight {weight} but no training data")

    def epoch(self, epoch: int) -> list[np.ndarray]:
        """Batches of one epoch: arrays of indices into the training systems."""
        rng = np.random.default_rng([self._seed, epoch])
        wanted = self.batches_per_epoch
        batches: list[np.ndarray] = []
        while len(batches) < wanted:
            order = rng.permutation(len(self._n_atoms)) if self._weights is None else self._weighted_order(rng)
            batches += self._cut(order, wanted - len(batches))
        return batches[:wanted]

    def _weighted_order(self, rng: np.random.Generator) -> np.ndarray:
        """As many draws as there are systems; within a fidelity, none repeats before all were drawn."""
        assert self._weights is not None
        probabilities = np.asarray(self._weights, dtype=float) / sum(self._weights)
        drawn = rng.choice(len(probabilities), size=len(self._n_atoms), p=probabilities)
        order = np.empty(len(drawn), dtype=np.int64)
        for index in np.unique(drawn):
            members = np.flatnonzero(self._fidelity == index)
            places = np.flatnonzero(drawn == index)
            rounds = -(-len(places) // len(members))
            order[places] = np.concatenate([rng.permutation(members) for _ in range(rounds)])[: len(places)]
        return order

    def _cut(self, order: np.ndarray, missing: int) -> list[np.ndarray]:
        """Near-equal parts, at most ``missing`` of them."""
        if self._mode == "molecules":
            n_parts = -(-len(order) // self._per_batch)
            return np.array_split(order, n_parts)[:missing]
        ends = np.cumsum(self._n_atoms[order])
        n_parts = max(1, -(-int(ends[-1]) // self._per_batch))
        cuts = np.searchsorted(ends, ends[-1] * np.arange(1, n_parts) / n_parts, side="right")
        return [part for part in np.split(order, cuts) if len(part)][:missing]


def share(batch: np.ndarray, rank: int, n_processes: int) -> np.ndarray:
    """The part of a batch that process ``rank`` works on; may be empty."""
    return np.array_split(batch, n_processes)[rank]


def parts_of_share(batch: np.ndarray, processes: Processes, n_parts: int) -> list[np.ndarray]:
    """This process's share of a batch in near-equal parts, none of them empty."""
    own = share(batch, processes.rank, processes.size)
    return [part for part in np.array_split(own, min(n_parts, max(1, len(own)))) if len(part)]


def validation_batches(n_atoms: np.ndarray, atoms_per_batch: int, groups: np.ndarray | None = None) -> list[np.ndarray]:
    """All systems, cut so that no batch has many more atoms than ``atoms_per_batch``.

    Parameters
    ----------
    groups : number of a group for every system; no batch has systems of two. None leaves them in order.

    Returns
    -------
    arrays of indices of systems, one for each batch
    """
    groups = np.zeros(len(n_atoms), dtype=np.int64) if groups is None else groups
    batches: list[np.ndarray] = []
    for group in np.unique(groups):
        systems = np.flatnonzero(groups == group)
        ends = np.cumsum(n_atoms[systems])
        n_parts = max(1, -(-int(ends[-1]) // atoms_per_batch))
        cuts = np.searchsorted(ends, atoms_per_batch * np.arange(1, n_parts))
        batches += [part for part in np.split(systems, cuts) if len(part)]
    return batches


def by_name(weights: Mapping[str, float] | None, fidelities: Sequence[str]) -> list[float] | None:
    """Fidelity weights in the order of the fidelities.

    Returns
    -------
    weights, or None where none are given

    Raises
    ------
    ConfigError
        For an unknown name or a missing one.
    """
    if weights is None:
        return None
    for name in weights:
        if name not in fidelities:
            known = f"{suggest(name, fidelities)}; known: {', '.join(fidelities)}"
            raise ConfigError(f"fidelity_weights: unknown fidelity {name!r}{known}")
    missing = [name for name in fidelities if name not in weights]
    if missing:
        raise ConfigError(f"fidelity_weights: no weight for {', '.join(missing)}; give one for every fidelity")
    return [float(weights[name]) for name in fidelities]
