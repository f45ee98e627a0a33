"""Terms of the loss: averages over what is present, nothing from what is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from molcalc.batch import AtomicBatch
from molcalc.errors import ConfigError
from molcalc.properties import LABELS
from molcalc.train.data import open_dataset
from molcalc.train.loop.losses import TERMS, Loss, LossConfig, recorded_loss

ALL = {"energy": 2.0, "forces": 3.0, "dipole": 0.5, "charges": 1.5, "esp": 7.0}


@pytest.fixture
def batch(labelled_db: Path, tmp_path: Path) -> AtomicBatch:
    return open_dataset(labelled_db, cache=tmp_path).batch(np.arange(6), cutoff=5.0)


def predictions(batch: AtomicBatch) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        name: (label.nan_to_num() + torch.randn(label.shape, generator=generator).double()).requires_grad_()
        for name, label in batch.labels.items()
    }


def with_every_label(batch: AtomicBatch) -> AtomicBatch:
    """Random labels of every kind."""
    generator = torch.Generator().manual_seed(1)
    n_points = len(batch.labels["esp"])
    rows = {"system": batch.n_systems, "atom": batch.n_atoms, "point": n_points}
    labels = {
        name: torch.randn(rows[label.kind], *label.shape, generator=generator).double()
        for name, label in LABELS.items()
    }
    return AtomicBatch(**{**vars(batch), "labels": labels})


def every_prediction(batch: AtomicBatch) -> dict[str, torch.Tensor]:
    """Predictions that any term asks for."""
    found = predictions(batch)
    generator = torch.Generator().manual_seed(2)
    for name, shape in (("charge_dipole", (batch.n_systems, 3)), ("dcm_charges", (batch.n_atoms, 2))):
        found[name] = torch.randn(shape, generator=generator).double().requires_grad_()
    return found


def masked(batch: AtomicBatch) -> AtomicBatch:
    """Without the energy of system 1, forces of system 2, the dipole of 0 and half the points of 3."""
    labels = {name: label.clone() for name, label in batch.labels.items()}
    labels["energy"][1] = torch.nan
    labels["forces"][batch.system_idx == 2] = torch.nan
    labels["dipole"][0] = torch.nan
    labels["esp"][60:70] = torch.nan
    return AtomicBatch(**{**vars(batch), "labels": labels})


def test_the_loss_equals_its_definition(batch: AtomicBatch) -> None:
    results = predictions(batch)
    loss = Loss(LossConfig(weights=ALL))
    total, parts = loss(results, batch, loss.counts(batch))
    expected = 0.0
    for name, weight in ALL.items():
        error = (results[name] - batch.labels[name]).square()
        expected += weight * float(error.mean().detach())
    assert float(total.detach()) == pytest.approx(expected, rel=1e-12)
    weights = torch.tensor([2.0, 3.0, 0.5, 1.5, 7.0], dtype=torch.float64)
    assert float((parts * weights).sum()) == pytest.approx(expected, rel=1e-12)


def test_masked_labels_get_no_gradient_and_do_not_count(batch: AtomicBatch) -> None:
    partial = masked(batch)
    results = predictions(batch)
    loss = Loss(LossConfig(weights=ALL))
    counts = loss.counts(partial)
    total, parts = loss(results, partial, counts)
    total.backward()
    assert float(results["energy"].grad[1]) == 0.0
    assert not results["forces"].grad[batch.system_idx == 2].any()
    assert not results["dipole"].grad[0].any()
    assert not results["esp"].grad[60:70].any()
    assert all(bool(torch.isfinite(value.grad).all()) for name, value in results.items() if value.grad is not None)
    kept = [0, 2, 3, 4, 5]
    energy = (results["energy"] - batch.labels["energy"]).detach()[kept].square().mean()
    assert float(parts[0]) == pytest.approx(float(energy), rel=1e-12)


def test_every_molecule_has_the_same_share_of_the_esp_loss(batch: AtomicBatch) -> None:
    partial = masked(batch)
    results = predictions(batch)
    loss = Loss(LossConfig(weights={"esp": 1.0}))
    _, parts = loss(results, partial, loss.counts(partial))
    error = (results["esp"] - partial.labels["esp"]).detach().square().reshape(6, 20)
    assert float(parts[0]) == pytest.approx(float(error.nanmean(dim=1).mean()), rel=1e-12)


def test_parts_of_a_batch_add_up_to_the_whole(labelled_db: Path, tmp_path: Path) -> None:
    """Accumulated or distributed, with unequal numbers of labels: the same loss and gradient."""
    data = open_dataset(labelled_db, cache=tmp_path)
    loss = Loss(LossConfig(weights=ALL))
    whole = data.batch(np.arange(9), cutoff=5.0)
    pieces = [data.batch(part, cutoff=5.0) for part in (np.arange(2), np.arange(2, 9))]
    scale = torch.tensor(1.1, dtype=torch.float64, requires_grad=True)

    def scaled(batch: AtomicBatch) -> dict[str, torch.Tensor]:
        return {name: label * scale for name, label in batch.labels.items()}

    expected, _ = loss(scaled(whole), whole, loss.counts(whole))
    counts = sum(loss.counts(piece) for piece in pieces)
    found = sum(loss(scaled(piece), piece, counts)[0] for piece in pieces)
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-12)


@pytest.mark.parametrize(("metric", "value"), [("mse", 0.25), ("mae", 0.5), ("huber", 0.1 * (0.5 - 0.05))])
def test_metrics_of_a_known_error(batch: AtomicBatch, metric: str, value: float) -> None:
    loss = Loss(LossConfig(weights={"energy": 1.0}, metric=metric))
    _, parts = loss({"energy": batch.labels["energy"] + 0.5}, batch, loss.counts(batch))
    assert float(parts[0]) == pytest.approx(value, rel=1e-9)


def test_energy_per_atom_divides_by_the_number_of_atoms(batch: AtomicBatch) -> None:
    loss = Loss(LossConfig(weights={"energy": 1.0}, metric="mae", energy_per_atom=True))
    error = batch.atoms_per_system().double()
    _, parts = loss({"energy": batch.labels["energy"] + error}, batch, loss.counts(batch))
    assert float(parts[0]) == pytest.approx(1.0, rel=1e-9)


def test_a_batch_without_any_label_of_a_term_gives_zero(batch: AtomicBatch) -> None:
    labels = {**batch.labels, "dipole": torch.full_like(batch.labels["dipole"], torch.nan)}
    empty = AtomicBatch(**{**vars(batch), "labels": labels})
    loss = Loss(LossConfig(weights={"dipole": 1.0}))
    total, _ = loss(predictions(batch), empty, loss.counts(empty))
    assert float(total.detach()) == 0.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": {"enrgy": 1.0}}, "'enrgy'.*did you mean 'energy'"),
        ({"weights": {"energy": -1.0}}, "weights.energy=-1.0; expected at least 0"),
        ({"metric": "l2"}, "metric=.l2."),
        ({"metrics": {"forces": "mad"}}, "'mad'.*did you mean 'mae'"),
        ({"huber_delta": 0.0}, "huber_delta=0.0"),
    ],
)
def test_impossible_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LossConfig(**options)


def test_a_loss_without_weights_is_an_error() -> None:
    with pytest.raises(ConfigError, match="every loss weight is 0"):
        Loss(LossConfig(weights={"energy": 0.0}))


@pytest.mark.parametrize("metric", ["mse", "mae", "huber"])
@pytest.mark.parametrize("name", TERMS)
def test_every_term_has_a_finite_gradient_where_labels_are_missing(batch: AtomicBatch, name: str, metric: str) -> None:
    """The first system has no label, and gets no gradient from it."""
    complete = with_every_label(batch)
    first = {"system": torch.arange(6) == 0, "atom": batch.system_idx == 0, "point": batch.esp_system_idx == 0}
    labels = {key: label.clone() for key, label in complete.labels.items()}
    for key, label in labels.items():
        label[first[LABELS[key].kind]] = torch.nan
    partial = AtomicBatch(**{**vars(batch), "labels": labels})
    results = every_prediction(complete)
    loss = Loss(LossConfig(weights={name: 2.0}, metric=metric))
    total, parts = loss(results, partial, loss.counts(partial))
    total.backward()
    (term,) = loss.terms
    used = [value.grad for value in results.values() if value.grad is not None]
    assert used
    assert all(bool(torch.isfinite(gradient).all()) for gradient in used)
    assert float(total.detach()) == pytest.approx(2.0 * float(parts[0]))
    assert float(parts[0]) > 0
    if term.labels:
        (gradient,) = used
        assert not gradient[first[LABELS[term.labels[0]].kind]].any()
        assert bool(gradient.any())


@pytest.mark.parametrize("name", [name for name in TERMS if TERMS[name](name, LossConfig()).labels])
def test_every_term_without_labels_counts_nothing_and_is_zero(batch: AtomicBatch, name: str) -> None:
    complete = with_every_label(batch)
    labels = {key: torch.full_like(label, torch.nan) for key, label in complete.labels.items()}
    empty = AtomicBatch(**{**vars(batch), "labels": labels})
    loss = Loss(LossConfig(weights={name: 1.0}))
    assert float(loss.counts(empty)) == 0.0
    total, _ = loss(every_prediction(complete), empty, loss.counts(empty))
    assert float(total.detach()) == 0.0


def test_every_label_has_a_term() -> None:
    assert list(TERMS)[: len(LABELS)] == list(LABELS)


def test_both_dipoles_are_compared_with_the_same_label(batch: AtomicBatch) -> None:
    loss = Loss(LossConfig(weights={"dipole": 1.0, "charge_dipole": 3.0}))
    dipole = batch.labels["dipole"]
    _, parts = loss({"dipole": dipole + 0.1, "charge_dipole": dipole - 0.2}, batch, loss.counts(batch))
    assert loss.labels == {"dipole"}
    torch.testing.assert_close(parts, torch.tensor([0.01, 0.04]).double())


@pytest.mark.parametrize("metric", ["mse", "mae"])
@pytest.mark.parametrize("name", sorted(TERMS))
def test_a_row_of_weight_two_counts_like_two_rows_and_one_of_weight_zero_not_at_all(
    name: str, metric: str, batch: AtomicBatch
) -> None:
    term = TERMS[name](name, LossConfig(weights={name: 1.0}, metric=metric))
    batch = with_every_label(batch)
    results = every_prediction(batch)

    def average(weights: list[float]) -> float:
        weighted = AtomicBatch(**{**vars(batch), "labels": {**batch.labels, "weight": torch.tensor(weights).double()}})
        return float((term.total(results, weighted) / term.count(weighted)).detach())

    def total(weights: list[float]) -> float:
        weighted = AtomicBatch(**{**vars(batch), "labels": {**batch.labels, "weight": torch.tensor(weights).double()}})
        return float(term.total(results, weighted).detach())

    single = [total([float(j == k) for j in range(6)]) for k in range(6)]
    assert total([1.0] * 6) == pytest.approx(float(term.total(results, batch).detach()))
    assert total([2, 0, 1, 0, 0, 0]) == pytest.approx(2 * single[0] + single[2])
    assert average([3.0] * 6) == pytest.approx(average([1.0] * 6))


def test_a_run_that_says_nothing_of_the_dipole_of_charges_goes_on_without_it() -> None:
    assert recorded_loss({"loss": {"metric": "mse", "weights": {"dipole": 2.0}}})["loss"] == {
        "metric": "mse",
        "weights": {"dipole": 2.0, "charge_dipole": 0.0},
    }
    assert recorded_loss({"loss": {"weights": {"charge_dipole": 3.0}}})["loss"]["weights"] == {"charge_dipole": 3.0}
    assert recorded_loss({"seed": 1}) == {}
