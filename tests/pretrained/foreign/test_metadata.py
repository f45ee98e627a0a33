"""What a foreign file says about itself is checked as data and never acted upon."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from molcalc.errors import CheckpointError, CheckpointMismatchError, UnsafeCheckpointError
from molcalc.pretrained.foreign.metadata import EMBEDDED_CLASSES, MODEL_CLASSES, PART_CLASSES, validate
from tests.helpers.model_files import UNKNOWN_ARCHITECTURES, v2_metadata

HERE = Path("here")
REFUSAL_TIME = 1.0  # s of processor time
REFUSAL_MEMORY = 50 * 2**20  # bytes


def described(change: Callable[[dict[str, Any]], object]) -> str:
    tree = yaml.safe_load(v2_metadata()["model_yaml"])
    change(tree)
    return yaml.safe_dump(tree)


def refuse(error: type[CheckpointError], message: str, **changes: Any) -> None:
    start, memory = time.process_time(), psutil.Process().memory_info().rss
    with pytest.raises(error, match=f"here: {message}") as caught:
        validate(v2_metadata(**changes), HERE)
    assert time.process_time() - start < REFUSAL_TIME
    assert psutil.Process().memory_info().rss - memory < REFUSAL_MEMORY
    assert len(str(caught.value)) < 1000


def test_a_sound_description_is_accepted() -> None:
    validate(v2_metadata(), HERE)


@pytest.mark.parametrize(
    "changes",
    [
        {"supports_charged_systems": False},
        {"family": "aimnet2-wb97m-d3 (2025)"},
        {"needs_dispersion": False, "d3_params": None},
        {"d3_params": {"s8": 0, "a1": -0.1, "a2": 5}},
        {"implemented_species": (1, 6)},
        {"cutoff": None},
        {"unknown key": "is ignored"},
    ],
    ids=str,
)
def test_optional_values_are_accepted(changes: dict[str, Any]) -> None:
    validate(v2_metadata(**changes), HERE)


def test_aliases_are_accepted() -> None:
    """PyYAML writes them for values that occur twice."""
    text = described(lambda tree: tree["kwargs"].update(twice=[tree["kwargs"]["outputs"]["atomic_shift"]] * 2))
    assert "*id001" in text
    validate(v2_metadata(model_yaml=text), HERE)


def without_coulomb(tree: dict[str, Any]) -> None:
    del tree["kwargs"]["outputs"]["srcoulomb"]


def test_a_model_without_coulomb_is_accepted() -> None:
    changes = {"needs_coulomb": False, "coulomb_mode": "none", "has_embedded_lr": False}
    validate(v2_metadata(model_yaml=described(without_coulomb), **changes), HERE)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 1}, "format_version=1; expected 2"),
        ({"format_version": "2"}, "format_version='2'; expected 2"),
        ({"format_version": True}, "format_version=True; expected 2"),
        ({"implemented_species": None}, "implemented_species=None; expected a list of atomic numbers"),
        ({"implemented_species": []}, r"implemented_species=\[\]"),
        ({"implemented_species": [1.0]}, r"implemented_species=\[1\.0\]"),
        ({"implemented_species": [True]}, r"implemented_species=\[True\]"),
        ({"implemented_species": "HCO"}, "implemented_species='HCO'"),
        ({"implemented_species": {1: 2}}, r"implemented_species=\{1: 2\}"),
        ({"implemented_species": [1] * 10**6}, r"implemented_species=\[1, 1, 1, 1, 1, 1, \.\.\.\]"),
        ({"cutoff": -5.0}, r"cutoff=-5\.0; expected a positive length"),
        ({"cutoff": float("nan")}, "cutoff=nan"),
        ({"cutoff": "5"}, "cutoff='5'"),
        ({"cutoff": 10**400}, "cutoff=100000"),
        ({"coulomb_mode": "full_embedded"}, "coulomb_mode='full_embedded'; 'none' and 'sr_embedded' are supported"),
        ({"coulomb_mode": ["none"]}, r"coulomb_mode=\['none'\]"),
        ({"coulomb_mode": "none"}, "needs_coulomb=True contradicts coulomb_mode='none'"),
        ({"needs_coulomb": False}, "needs_coulomb=False contradicts coulomb_mode='sr_embedded'"),
        ({"needs_coulomb": "no"}, "needs_coulomb='no'; expected true or false"),
        ({"needs_dispersion": 1}, "needs_dispersion=1; expected true or false"),
        ({"has_embedded_lr": False}, "has_embedded_lr=False contradicts coulomb_mode"),
        ({"coulomb_sr_rc": None}, "coulomb_sr_rc=None; expected a positive length"),
        ({"coulomb_sr_rc": 0.0}, r"coulomb_sr_rc=0\.0; expected a positive length"),
        ({"coulomb_sr_rc": float("inf")}, "coulomb_sr_rc=inf"),
        ({"coulomb_sr_rc": True}, "coulomb_sr_rc=True"),
        ({"coulomb_sr_rc": 5.5}, r"coulomb_sr_rc=5\.5 is beyond cutoff=5\.0"),
        ({"coulomb_sr_envelope": "cosine"}, "coulomb_sr_envelope='cosine'; 'exp' is supported"),
        ({"coulomb_sr_envelope": None}, "coulomb_sr_envelope=None; 'exp' is supported"),
        ({"has_embedded_d3ts": True}, "an embedded D3TS dispersion is not supported"),
        ({"d3_params": None}, "d3_params=None; s8, a1 and a2 are needed"),
        ({"d3_params": {"s8": 1.0, "a1": 0.4}}, r"d3_params=\{'a1': 0\.4, 's8': 1\.0\}; s8, a1 and a2 are needed"),
        ({"d3_params": {"s8": "1", "a1": 0.4, "a2": 4.8}}, "d3_params=.*as numbers"),
        ({"d3_params": {"s8": float("nan"), "a1": 0.4, "a2": 4.8}}, "d3_params=.*as numbers"),
        ({"d3_params": [1.0, 0.4, 4.8]}, "d3_params=.*are needed"),
        ({"family": "x" * 200}, "family='x.*; expected a short name"),
        ({"family": "\x1b[2J"}, "family=.*; expected a short name"),
        ({"family": "../../etc"}, "family=.*; expected a short name"),
        ({"family": {"a": 1}}, "family=.*; expected a short name"),
        ({"model_yaml": None}, "model_yaml is missing"),
        ({"model_yaml": b"class: x"}, "model_yaml is missing"),
        ({"model_yaml": described(without_coulomb)}, "coulomb_mode='sr_embedded' contradicts the SRCoulomb part"),
        (
            {"needs_coulomb": False, "coulomb_mode": "none", "has_embedded_lr": False},
            "coulomb_mode='none' contradicts the SRCoulomb part",
        ),
    ],
    ids=lambda value: None if isinstance(value, str) else ", ".join(f"{k}={str(v)[:20]!r}" for k, v in value.items()),
)
def test_contradictions_are_refused(changes: dict[str, Any], message: str) -> None:
    refuse(CheckpointMismatchError, message, **changes)


@pytest.mark.parametrize("name", sorted(EMBEDDED_CLASSES))
def test_energy_terms_inside_the_network_are_refused(name: str) -> None:
    text = described(lambda tree: tree["kwargs"]["outputs"].update(extra={"class": name}))
    refuse(CheckpointMismatchError, "model_yaml embeds .*which is not supported", model_yaml=text)


@pytest.mark.parametrize("kind", UNKNOWN_ARCHITECTURES, ids=lambda kind: repr(kind[:40]))
def test_classes_outside_the_list_are_refused(kind: str) -> None:
    assert kind not in MODEL_CLASSES | PART_CLASSES

    def as_model(tree: dict[str, Any]) -> None:
        tree["class"] = kind

    def as_part(tree: dict[str, Any]) -> None:
        tree["kwargs"]["outputs"]["energy_mlp"]["class"] = kind

    def as_activation(tree: dict[str, Any]) -> None:
        tree["kwargs"]["outputs"]["energy_mlp"]["kwargs"]["mlp"]["activation_fn"] = kind

    for change in (as_model, as_part, as_activation):
        with pytest.raises(CheckpointError, match="unknown architecture|longer than") as caught:
            validate(v2_metadata(model_yaml=described(change)), HERE)
        assert len(str(caught.value)) < 400


BOMB = "\n".join(["a0: &a0 [x, x]", *(f"a{k}: &a{k} [*a{k - 1}, *a{k - 1}]" for k in range(1, 60))])
BOMB += "\nclass: aimnet.models.AIMNet2"
MODEL = "class: aimnet.models.AIMNet2\nkwargs:\n"


def touching(kind: str, canary: Path) -> str:
    return f"class: !!python/{kind}\n- [touch, {canary}]\n"


ATTACKS: dict[str, tuple[str, str]] = {
    "python object": ("class: !!python/object/apply:os.system ['true']", "tags or merged mappings"),
    "python name": ("class: !!python/name:os.system", "tags or merged mappings"),
    "python module": ("class: !!python/module:os", "tags or merged mappings"),
    "python object below": (MODEL + "  a: !!python/object/new:os.system ['true']", "tags or merged mappings"),
    "own tag": (MODEL + "  a: !include /etc/passwd", "tags or merged mappings"),
    "binary": (MODEL + "  a: !!binary aGVsbG8=", "tags or merged mappings"),
    "alias bomb": (BOMB, "too large"),
    "list that holds itself": (MODEL + "  a: &a [*a]", "too large"),
    "merge bomb": (BOMB.replace("x, x", "{}, {}").replace("[", "{<<: [").replace("]", "]}"), "tags or merged mappings"),
    "merge": ("a: &a {class: os.system}\n<<: *a", "tags or merged mappings"),
    "deep lists": (MODEL + "  a: " + "[" * 10_000, "nested too deeply"),
    "deep mappings": (MODEL + "  a: " + "{a: " * 10_000, "nested too deeply"),
    "deep blocks": ("\n".join(" " * k + "a:" for k in range(400)), "nested too deeply"),
    "many values": (MODEL + "  a: [" + "1, " * 20_000 + "]", "too large"),
    "ptfile": (MODEL + "  ptfile: weights", r"model_yaml has \['ptfile'\]"),
    "fn": (MODEL + "  deep:\n  - fn: x", r"model_yaml has \['fn'\]"),
    "trainer": ("trainer: x\n" + MODEL + "  a: 1", r"model_yaml has \['trainer'\]"),
    "evaluator": ("evaluator: x\n" + MODEL + "  a: 1", r"model_yaml has \['evaluator'\]"),
    "template": (MODEL + "  a: '{{ x }}'", "another file or template: '{{ x }}'"),
    "template block": (MODEL + "  a: '{% import os %}'", "another file or template"),
    "template key": (MODEL + "  '{{ x }}': 1", "another file or template"),
    "included file": (MODEL + "  a: other.yaml", "another file or template: 'other.yaml'"),
    "included file 2": (MODEL + "  a: other.yml", "another file or template"),
    "absolute path": (MODEL + "  a: /etc/passwd", "another file or template: '/etc/passwd'"),
    "relative path": (MODEL + "  a: ../x", "another file or template"),
    "home": (MODEL + "  a: ~root", "another file or template"),
    "address": (MODEL + "  a: 'http://x'", "another file or template"),
    "windows path": (MODEL + "  a: 'C:\\x'", "another file or template"),
    "list as class": ("class: [os.system]", "unknown architecture"),
    "mapping as class": ("class: {a: os.system}", "unknown architecture"),
    "list as part": (MODEL + "  a: {class: [x]}", "unknown architecture"),
    "no class": ("kwargs: {}", "unknown architecture None"),
    "list": ("- class: aimnet.models.AIMNet2", "unknown architecture"),
    "text": ("hello", "unknown architecture 'hello'"),
    "empty": ("", "unknown architecture None"),
}
BROKEN: dict[str, str] = {
    "unclosed list": "class: [",
    "tab": "class:\n\t- x",
    "two documents": "class: x\n---\nclass: y",
    "control character": "class: \x01",
    "impossible date": MODEL + "  a: 2024-99-99",
    "impossible number": MODEL + "  a: 0b_",
    "100 MB": "a" * 10**8,
    "lists for keys": MODEL + "  ? [a]\n  : b",
}


@pytest.mark.parametrize("name", ATTACKS)
def test_descriptions_that_reach_out_are_refused(name: str) -> None:
    text, message = ATTACKS[name]
    refuse(UnsafeCheckpointError, f".*{message}", model_yaml=text)


@pytest.mark.parametrize("name", BROKEN)
def test_descriptions_that_cannot_be_read_are_refused(name: str) -> None:
    refuse(CheckpointMismatchError, "model_yaml (cannot be read|is missing or longer)", model_yaml=BROKEN[name])


@pytest.mark.parametrize(
    "kind", ["object/apply:os.system", "object/apply:subprocess.call", "object/new:subprocess.Popen"]
)
def test_no_canary_sings(tmp_path: Path, kind: str) -> None:
    canary = tmp_path / "canary"
    with pytest.raises(UnsafeCheckpointError):
        validate(v2_metadata(model_yaml=touching(kind, canary)), HERE)
    assert not canary.exists()
