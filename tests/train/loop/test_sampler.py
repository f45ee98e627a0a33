"""Batches of every epoch."""

from __future__ import annotations

import numpy as np
import pytest

from molcalc.errors import ConfigError
from molcalc.train.loop.sampler import Sampler, by_name, share, validation_batches

SIZES = np.array([3, 5, 2, 9, 4, 7, 3, 6, 8, 2] * 10)
ONE = np.zeros(100, dtype=int)


def test_an_epoch_has_every_system_once() -> None:
    sampler = Sampler(SIZES, ONE, batch_size=8)
    batches = sampler.epoch(0)
    assert len(batches) == sampler.batches_per_epoch == 13
    assert sorted(np.concatenate(batches)) == list(range(100))
    assert max(map(len, batches)) <= 8


def test_epochs_differ_and_are_repeatable() -> None:
    sampler, again = Sampler(SIZES, ONE, batch_size=8, seed=4), Sampler(SIZES, ONE, batch_size=8, seed=4)
    assert not np.array_equal(np.concatenate(sampler.epoch(0)), np.concatenate(sampler.epoch(1)))
    assert all(np.array_equal(a, b) for a, b in zip(sampler.epoch(7), again.epoch(7)))


def test_batches_by_atoms_have_nearly_equal_numbers_of_atoms() -> None:
    batches = Sampler(SIZES, ONE, batch_size=50, mode="atoms").epoch(0)
    assert sorted(np.concatenate(batches)) == list(range(100))
    atoms = [SIZES[batch].sum() for batch in batches]
    assert max(atoms) <= 50 + SIZES.max()
    assert min(atoms) >= 50 - 3 * SIZES.max()


def test_batches_per_epoch_repeats_or_truncates() -> None:
    assert len(Sampler(SIZES, ONE, batch_size=50, batches_per_epoch=7).epoch(0)) == 7
    assert len(Sampler(SIZES, ONE, batch_size=1, batches_per_epoch=7).epoch(0)) == 7


def test_fidelity_weights_are_probabilities() -> None:
    """Weights 10 : 1 give 10 : 1 samples, whatever the numbers of systems."""
    fidelity = np.array([0] * 20 + [1] * 80)
    sampler = Sampler(SIZES, fidelity, batch_size=10, weights=[10.0, 1.0])
    drawn = np.concatenate([np.concatenate(sampler.epoch(k)) for k in range(100)])
    ratio = (fidelity[drawn] == 0).sum() / (fidelity[drawn] == 1).sum()
    assert ratio == pytest.approx(10.0, rel=0.1)
    counts = np.bincount(np.concatenate(sampler.epoch(0)), minlength=100)[:20]
    assert counts.max() - counts.min() <= 1  # none repeats before all were drawn


@pytest.mark.parametrize("mode", ["molecules", "atoms"])
@pytest.mark.parametrize("n_first", [1, 50, 99])
@pytest.mark.parametrize("weights", [(10.0, 1.0), (1.0, 10.0), (0.05, 0.005), (1.0, 1.0), (1.0, 0.0)], ids=str)
def test_samples_are_drawn_as_often_as_weights_say(weights: tuple[float, float], n_first: int, mode: str) -> None:
    """Every draw is independent: the number of the first fidelity is binomial, and 5 σ is one run in two million."""
    fidelity = (np.arange(100) >= n_first).astype(int)
    sampler = Sampler(SIZES, fidelity, batch_size=50, mode=mode, weights=weights, seed=1)
    drawn = fidelity[np.concatenate([np.concatenate(sampler.epoch(k)) for k in range(200)])]
    share_of_first = weights[0] / sum(weights)
    deviation = np.sqrt(len(drawn) * share_of_first * (1 - share_of_first))
    assert len(drawn) > 10_000
    assert abs((drawn == 0).sum() - len(drawn) * share_of_first) <= 5 * deviation


def test_shares_of_all_processes_make_the_batch() -> None:
    batch = np.arange(17)
    assert np.array_equal(np.concatenate([share(batch, k, 3) for k in range(3)]), batch)


def test_two_processes_see_the_batches_of_one_with_the_double_size() -> None:
    two, one = Sampler(SIZES, ONE, batch_size=4, n_processes=2), Sampler(SIZES, ONE, batch_size=8)
    assert all(np.array_equal(a, b) for a, b in zip(two.epoch(3), one.epoch(3)))


def test_validation_sees_every_system_of_every_size_in_order() -> None:
    batches = validation_batches(SIZES, 60)
    assert np.array_equal(np.concatenate(batches), np.arange(100))
    assert max(SIZES[batch].sum() for batch in batches) < 60 + SIZES.max()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size=0"),
        ({"batch_size": 1, "mode": "atom"}, "'atom'.*did you mean 'atoms'"),
        ({"batch_size": 1, "batches_per_epoch": 0}, "batches_per_epoch=0"),
        ({"batch_size": 1, "weights": [0.0]}, "positive sum"),
        ({"batch_size": 1, "weights": [-1.0, 2.0]}, "at least 0"),
        ({"batch_size": 1, "weights": [1.0, 2.0]}, "fidelity 1 has weight 2.0 but no training data"),
    ],
)
def test_impossible_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Sampler(SIZES, ONE, **options)


def test_weights_by_name_must_name_every_fidelity() -> None:
    assert by_name({"low": 1, "high": 4}, ("high", "low")) == [4.0, 1.0]
    with pytest.raises(ConfigError, match="unknown fidelity 'hi'"):
        by_name({"hi": 1}, ("high", "low"))
    with pytest.raises(ConfigError, match="no weight for low"):
        by_name({"high": 1}, ("high", "low"))


def test_validation_batches_do_not_mix_groups() -> None:
    groups = np.arange(len(SIZES)) % 3
    batches = validation_batches(SIZES, 60, groups)
    assert sorted(np.concatenate(batches)) == list(range(len(SIZES)))
    assert all(len(set(groups[batch])) == 1 for batch in batches)
