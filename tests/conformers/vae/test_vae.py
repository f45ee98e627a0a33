"""A generator from the first structure to samples."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.io import write

from molcalc.conformers import ConformerVAE
from molcalc.conformers.vae.run import VAEFitResult
from molcalc.errors import (
    CheckpointMismatchError,
    ConfigError,
    DatasetError,
    InputError,
    NonFiniteResultError,
)
from molcalc.io import checkpoint
from tests.helpers.twisted_frames import rattled, twisted

SMALL: dict[str, Any] = {"latent_dim": 3, "n_features": 8, "n_encoder_layers": 2, "n_decoder_layers": 2}
SHORT: dict[str, Any] = {"epochs": 2, "batch_size": 32, "plots": False, "progress": False}


def generator(**options: Any) -> ConformerVAE:
    return ConformerVAE.for_molecule(twisted(1)[0], **SMALL, **options)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[ConformerVAE, VAEFitResult]:
    """A short training on H2O2."""
    made = generator()
    return made, made.fit(twisted(120), output=tmp_path_factory.mktemp("runs") / "run", **SHORT)


def positions(structures: list[Atoms]) -> np.ndarray:
    return np.array([atoms.positions for atoms in structures])


def test_a_run_reports_errors_and_has_a_history(run: tuple[ConformerVAE, VAEFitResult]) -> None:
    _, result = run
    assert result.metrics["valid"].keys() >= {"pair_rmse", "bond_rmse", "torsion_error", "divergence", "active_units"}
    assert result.history[-1]["step"] == 8
    assert {"train_distances", "train_hand", "train_divergence", "valid_loss"} <= result.history[-1].keys()
    report = (Path(result.output) / "report.md").read_text()
    assert "distances of all pairs" in report
    assert "ConformerVAE.load" in report


def test_a_saved_generator_is_the_same_to_the_last_bit(run: tuple[ConformerVAE, VAEFitResult], tmp_path: Path) -> None:
    made, result = run
    made.save(tmp_path / "copy")
    frames = twisted(4, seed=1)
    for path in (result.output, tmp_path / "copy"):
        loaded = ConformerVAE.load(path, frames[0])
        assert all(np.array_equal(a, b) for a, b in zip(loaded.encode(frames), made.encode(frames)))
        for prior in ("gmm", "normal"):
            assert np.array_equal(
                positions(loaded.sample(5, prior=prior, seed=3)), positions(made.sample(5, prior=prior, seed=3))
            )


def test_generators_and_results_show_what_they_are(run: tuple[ConformerVAE, VAEFitResult], tmp_path: Path) -> None:
    made, result = run
    made.save(tmp_path / "<copy>")
    saved = checkpoint.load(tmp_path / "<copy>")
    assert saved.hash == checkpoint.load(result.output).hash, "the copy does not say where its weights come from"
    assert f"model_hash {saved.hash}" in repr(made)
    assert f"<td>{saved.hash}</td>" in made._repr_html_()
    assert "H2O2" in repr(made)
    assert "trained not yet" in repr(generator())
    assert f"pair_rmse {result.metrics['valid']['pair_rmse']:.3}" in repr(result)
    assert "<td>distances of all pairs" in result._repr_html_()
    assert "nothing held out" in repr(VAEFitResult("", {}, []))


def test_labels_of_a_loaded_molecule_are_kept(run: tuple[ConformerVAE, VAEFitResult]) -> None:
    made, result = run
    loaded, own = ConformerVAE.load(result.output).reference, made.reference
    assert np.array_equal(loaded.positions, own.positions)
    assert loaded.molecule.graph.neighbors == own.molecule.graph.neighbors


def test_samples_are_structures_of_the_molecule_and_follow_from_the_seed(
    run: tuple[ConformerVAE, VAEFitResult],
) -> None:
    made, _ = run
    samples = made.sample(3, seed=1)
    assert [str(atoms.symbols) for atoms in samples] == ["O2H2"] * 3
    assert samples[0].info == {"charge": 0, "multiplicity": 1}
    assert np.array_equal(positions(samples), positions(made.sample(3, seed=1)))
    assert not np.array_equal(positions(samples), positions(made.sample(3, seed=2)))


def test_a_run_that_goes_on_ends_where_one_without_a_break_ends(tmp_path: Path) -> None:
    """The weight of the divergence, which rises with the share of the run, is full from the beginning here."""
    data, options = twisted(20), {**SHORT, "schedule": {"name": "constant"}, "beta_rise": 0.0}
    generator().fit(data, output=tmp_path / "whole", **{**options, "epochs": 2})
    generator().fit(data, output=tmp_path / "parts", **{**options, "epochs": 1})
    generator().fit(data, output=tmp_path / "parts", resume=True, **{**options, "epochs": 2})
    one, two = (checkpoint.load(tmp_path / name / "last").weights for name in ("whole", "parts"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_run_is_not_continued_by_another_network_or_molecule(
    run: tuple[ConformerVAE, VAEFitResult], tmp_path: Path
) -> None:
    _, result = run
    wider = ConformerVAE.for_molecule(twisted(1)[0], **{**SMALL, "latent_dim": 4})
    with pytest.raises(CheckpointMismatchError, match=r"option latent_dim was 3 and is 4 now.*another output"):
        wider.fit(twisted(120), output=result.output, resume=True, **SHORT)
    other = ConformerVAE.for_molecule(molecule("CH3OH"), **SMALL)
    with pytest.raises(CheckpointMismatchError, match="holds a run of H2O2 with other atoms"):
        other.fit(rattled("CH3OH", 20), output=result.output, resume=True, **SHORT)


def test_a_generator_of_another_molecule_is_not_loaded(run: tuple[ConformerVAE, VAEFitResult]) -> None:
    with pytest.raises(CheckpointMismatchError, match="is a generator of H2O2, and not of this molecule"):
        ConformerVAE.load(run[1].output, molecule("CH3OH"))


def test_a_generator_of_the_first_version_makes_what_it_made(tmp_path: Path) -> None:
    archive = Path(__file__).parents[2] / "data" / "generators" / "v1"
    expected = json.loads((archive / "reference.json").read_text())
    loaded = ConformerVAE.load(archive)
    assert loaded.encode(twisted(3, seed=5))[0] == pytest.approx(np.array(expected["means"]), abs=1e-5)
    assert positions(loaded.decode(expected["means"])) == pytest.approx(np.array(expected["positions"]), abs=1e-4)
    assert len(loaded.sample(5)) == 5
    loaded.save(tmp_path / "new")
    assert positions(ConformerVAE.load(tmp_path / "new").sample(5)) == pytest.approx(positions(loaded.sample(5)))


def test_a_generator_of_another_version_is_refused(run: tuple[ConformerVAE, VAEFitResult], tmp_path: Path) -> None:
    model = checkpoint.load(run[1].output)
    kept = {name: value for name, value in model.weights.items() if "modes" not in name}
    arguments = {name: value for name, value in model.config.arguments.items() if name != "version"}
    for path, config, message in (
        (
            "old",
            replace(model.config, arguments=arguments),
            "old: weights do not .* before molcalc 0.2.0 .* trained anew",
        ),
        (
            "new",
            replace(model.config, arguments={**arguments, "version": 99}),
            "new holds .* version 99; .* newer molcalc",
        ),
        ("odd", replace(model.config, arguments={**arguments, "version": True}), "odd holds .* version True"),
    ):
        checkpoint.save(tmp_path / path, checkpoint.Checkpoint(config, kept))
        with pytest.raises(CheckpointMismatchError, match=message):
            ConformerVAE.load(tmp_path / path)


def test_a_potential_is_no_generator(tmp_path: Path) -> None:
    from tests.helpers.networks import tiny_checkpoint

    checkpoint.save(tmp_path / "potential", tiny_checkpoint(charge_channels=1))
    with pytest.raises(CheckpointMismatchError, match="'aimnet2', which is no generator of conformers"):
        ConformerVAE.load(tmp_path / "potential")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"molecule.bonds": torch.tensor([[0, 9]])}, "atoms, positions and bonds of the molecule contradict"),
        ({"molecule.numbers": torch.zeros(4)}, "the molecule has no numbers"),
        ({"prior.means": torch.zeros(1, 7, dtype=torch.float64)}, "does not fit 3 latent dimensions"),
        ({"members.0.least": torch.zeros(2)}, "bad: weight least has shape"),
    ],
    ids=["bonds", "numbers", "prior", "weights"],
)
def test_a_model_that_contradicts_itself_is_refused(
    run: tuple[ConformerVAE, VAEFitResult], tmp_path: Path, change: dict[str, torch.Tensor], message: str
) -> None:
    model = checkpoint.load(run[1].output)
    checkpoint.save(tmp_path / "bad", checkpoint.Checkpoint(model.config, {**model.weights, **change}))
    with pytest.raises(CheckpointMismatchError, match=message):
        ConformerVAE.load(tmp_path / "bad")


@pytest.mark.parametrize(
    ("data", "options", "error", "message"),
    [
        (twisted(1), {}, DatasetError, "1 structure in the data: a generator learns from many"),
        (twisted(10), {"valid": 0.01}, DatasetError, "leaves that part empty"),
        (twisted(10), {"valid": 9}, DatasetError, "of 10 structures 1 is left for training.*hold out fewer"),
        (None, {}, ConfigError, "no structures to train on"),
        ([*twisted(9), molecule("H2O")], {}, InputError, "has 3 atoms; H2O2 has 4"),
        (twisted(10), {"epoch": 3}, ConfigError, "unknown key 'epoch'.*did you mean.*epochs"),
        (twisted(10), {"esp_points": 3}, ConfigError, "esp_points has no meaning"),
        (twisted(10), {"precision": "bf16"}, ConfigError, "positions need at least float32"),
        (twisted(10), {"sigma": -1.0}, ConfigError, "sigma=-1.0; expected above 0"),
    ],
    ids=["single", "few", "one", "none", "other", "unknown", "meaningless", "bf16", "range"],
)
def test_a_training_that_cannot_be_is_refused(
    tmp_path: Path, data: list[Atoms] | None, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        generator().fit(data, output=tmp_path / "run", **{**SHORT, **options})
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_not_finite_names_the_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from molcalc.conformers.vae import training

    def broken(*args: Any) -> dict[str, torch.Tensor]:
        found = real(*args)
        return {name: value * torch.nan for name, value in found.items()}

    real = training.reconstruction_terms
    monkeypatch.setattr(training, "reconstruction_terms", broken)
    with pytest.raises(NonFiniteResultError, match=r"loss nan in step 0 .*batch: .*structure"):
        generator().fit(twisted(20), output=tmp_path / "run", **SHORT)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda made: made.sample(0), "n=0; expected a whole number from 1"),
        (lambda made: made.sample(2, prior="gauss"), "prior='gauss'"),
        (lambda made: made.decode(np.zeros((2, 5))), r"shape \(2, 5\); expected \(n_structures, 3\)"),
        (lambda made: made.decode(np.full((1, 3), np.nan)), "latents are not finite"),
        (lambda made: made.decode([[0, 1, 2], [3]]), "latents are no array"),
        (lambda made: made.decode([[1j, 0, 0]]), "latents are of type complex128"),
        (lambda made: made.decode([[0, 0, 0], [1e37, 0, 0]]), r"latent 1 has numbers up to 1e\+37"),
        (lambda made: made.sample(2, seed=-1), "seed=-1; expected a whole number from 0"),
        (lambda made: made.encode([molecule("H2O")]), "structure 0 has 3 atoms"),
        (lambda made: ConformerVAE.for_molecule("H2O2"), "the reference structure is a str; expected Atoms"),
        (lambda made: generator().sample(1), "has learned nothing yet"),
        (lambda made: ConformerVAE.for_molecule(twisted(1)[0], latent=3), "unknown option 'latent'"),
    ],
    ids=["none", "prior", "latents", "nan", "ragged", "complex", "far", "seed", "other", "text", "untrained", "option"],
)
def test_calls_that_make_no_sense_are_refused(run: tuple[ConformerVAE, VAEFitResult], call: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call(run[0])


def test_files_and_their_parts_are_read_as_in_other_trainings(tmp_path: Path) -> None:
    write(tmp_path / "a.xyz", twisted(30))
    write(tmp_path / "held.xyz", twisted(6, seed=9))
    made = generator()
    result = made.fit(tmp_path / "a.xyz", valid=str(tmp_path / "held.xyz"), output=tmp_path / "run", **SHORT)
    assert "train 30, valid 6, test 0 structures" in (tmp_path / "run" / "report.md").read_text()
    assert result.metrics.keys() == {"valid"}


def share_of_right_hands(made: ConformerVAE) -> float:
    """Share of held-out structures of H2O2 that are reconstructed with the sign of their torsion."""
    held_out = twisted(200, seed=9)
    decoded = made.decode(made.encode(held_out)[0])
    signs = [
        np.sign([np.sin(np.radians(atoms.get_dihedral(2, 0, 1, 3))) for atoms in frames])
        for frames in (held_out, decoded)
    ]
    return float((signs[0] == signs[1]).mean())


def test_the_hand_of_a_structure_is_reconstructed() -> None:
    small = {"n_features": 16, "n_encoder_layers": 2, "n_decoder_layers": 1, "n_radial": 8, "n_restraint_steps": 4}
    made = ConformerVAE.for_molecule(twisted(1)[0], latent_dim=2, **small)
    made.fit(twisted(200), progress=False, epochs=25, validate_every=25, learning_rate=5e-3)
    assert share_of_right_hands(made) >= 0.95


@pytest.mark.slow
@pytest.mark.parametrize(("hand", "right"), [("torsion", True), ("none", False)])
def test_the_hand_is_left_to_chance_only_if_the_loss_does_not_see_it(hand: str, right: bool) -> None:
    """Mirror images cost the same then, and nothing tells them apart."""
    made = ConformerVAE.for_molecule(twisted(1)[0], hand=hand)
    made.fit(twisted(800), progress=False)
    share = share_of_right_hands(made)
    assert share >= 0.95 if right else 0.3 < share < 0.7
