"""Nothing in the package runs what a file says, and damaged files give our own errors only."""

from __future__ import annotations

import ast
import contextlib
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import molcalc
from molcalc.calculators import AIMNet2
from molcalc.errors import MolcalcError
from molcalc.io.checkpoint import CONFIG, WEIGHTS, save
from molcalc.pretrained.sources import read_model
from tests.helpers.model_files import edit_config, first_network, v2_metadata, v2_state, write_hub_directory, write_v2
from tests.helpers.networks import small_checkpoint

ROOT = Path(molcalc.__file__).parent
TORCHSCRIPT = ("pretrained/foreign/torchscript.py", "dispersion/data/make_tables.py")
"""The reader of verified or trusted programs, and a script of the maintainers that reads a published one."""
CLOSED_TABLES = (
    "cli/__init__.py", "engines/engine_structure.py", "first_use.py", "registry.py", "train/data/formats/__init__.py",
)  # fmt: skip
"""Modules that import by a name out of a table or call of their own."""
RUNS_CODE = {
    *("eval", "exec", "compile", "__import__", "breakpoint"),
    *("os.system", "os.popen", "os.execv", "os.execvp", "os.spawnl", "pty.spawn", "runpy.run_path", "runpy.run_module"),
    *(
        "torch.hub.load",
        "torch.ops.load_library",
        "torch.package.PackageImporter",
        "ctypes.CDLL",
        "ctypes.cdll.LoadLibrary",
    ),
    *("yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.unsafe_load_all", "yaml.full_load", "yaml.full_load_all"),
}
PICKLES = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "pandas"}
READS = {"load", "loads", "open", "Unpickler", "read_pickle"}


def full_names(tree: ast.Module) -> dict[str, str]:
    """What the names that a module imports stand for."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update({alias.asname: alias.name for alias in node.names if alias.asname})
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update({alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names})
    return names


def is_text(node: ast.Call) -> bool:
    return bool(node.args) and isinstance(node.args[0], ast.Constant)


def violations(source: str, place: str = "module.py") -> Iterator[str]:
    """Calls that can run what a file says."""
    tree = ast.parse(source)
    names = full_names(tree)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        first, _, rest = ast.unparse(node.func).partition(".")
        name = names.get(first, first) + (f".{rest}" if rest else "")
        options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        module, _, function = name.rpartition(".")
        copies = function == "loads" and node.args and ast.unparse(node.args[0]).startswith("pickle.dumps(")
        loaded_already = name == "ctypes.CDLL" and options.get("mode") == "os.RTLD_NOLOAD"
        if (
            (name in RUNS_CODE and not loaded_already)
            or (name == "torch.load" and options.get("weights_only") != "True")
            or (name == "torch.jit.load" and place not in TORCHSCRIPT)
            or (module in PICKLES and function in READS and not copies)
            or (name == "numpy.load" and options.get("allow_pickle", "False") != "False")
            or (name.startswith("subprocess.") and options.get("shell", "False") != "False")
            or (name == "importlib.import_module" and not is_text(node) and place not in CLOSED_TABLES)
        ):
            yield f"{place}:{node.lineno}: {ast.unparse(node)[:80]}"


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_runs_what_a_file_says(path: Path) -> None:
    assert not list(violations(path.read_text(), path.relative_to(ROOT).as_posix()))


def texts_without_encoding(source: str) -> Iterator[str]:
    """Calls that open text as the locale of the machine says; modes that are no literals are not seen."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func).rpartition(".")[2]
        options = {each.arg for each in node.keywords}
        modes = [n for mode in node.args[1:2] for n in ast.walk(mode) if isinstance(n, ast.Constant)]
        binary = any("b" in str(n.value) for n in modes)
        opens = isinstance(node.func, ast.Name) and name == "open" and not binary
        if (opens or name in ("read_text", "write_text")) and "encoding" not in options:
            yield f"{node.lineno}: {ast.unparse(node)[:80]}"


def test_no_text_is_read_as_the_locale_says() -> None:
    """ruff knows the rule (PLW1514), but not of which type a name is."""
    found = {path.name: list(texts_without_encoding(path.read_text(encoding="utf-8"))) for path in ROOT.rglob("*.py")}
    assert not {name: calls for name, calls in found.items() if calls}
    assert len(list(texts_without_encoding("open(a); path.read_text(); open(a, 'rb'); open(a, encoding='utf-8')"))) == 2


@pytest.mark.parametrize(
    "source",
    [
        "import torch; torch.load(f)",
        "import torch; torch.load(f, weights_only=False)",
        "import torch; torch.load(f, weights_only=flag)",
        "import torch as t; t.load(f)",
        "from torch import load; load(f)",
        "from torch import load as read; read(f, map_location='cpu')",
        "import torch; torch.jit.load(f)",
        "from torch import jit; jit.load(f)",
        "import torch; torch.hub.load('a', 'b')",
        "import pickle; pickle.load(f)",
        "import pickle as p; p.loads(data)",
        "from pickle import Unpickler; Unpickler(f).load()",
        "import joblib; joblib.load(f)",
        "import shelve; shelve.open(f)",
        "eval(text)",
        "exec(text)",
        "__import__(name)",
        "import importlib; importlib.import_module(name)",
        "from importlib import import_module; import_module(name)",
        "import yaml; yaml.load(text, Loader=yaml.SafeLoader)",
        "import yaml; yaml.unsafe_load(text)",
        "from yaml import full_load; full_load(text)",
        "import numpy as np; np.load(f, allow_pickle=True)",
        "import numpy; numpy.load(f, allow_pickle=flag)",
        "import os; os.system(text)",
        "import subprocess; subprocess.run(text, shell=True)",
    ],
)
def test_the_search_finds(source: str) -> None:
    assert list(violations(source))


@pytest.mark.parametrize(
    "source",
    [
        "import torch; torch.load(f, map_location='cpu', weights_only=True)",
        "import pickle; pickle.loads(pickle.dumps(calc))",
        "import yaml; yaml.safe_load(text)",
        "import numpy as np; np.load(f); np.load(f, allow_pickle=False)",
        "model.eval(); json.load(f); self.load(path); re.compile(pattern)",
        "import subprocess; subprocess.run(['a'])",
        "import importlib; importlib.import_module('numba')",
    ],
)
def test_the_search_leaves_alone(source: str) -> None:
    assert not list(violations(source))


# -- fuzzing

# 1500 random examples of each test were run without a finding; these are repeatable.
FUZZ = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
EDITS = st.tuples(
    st.floats(0, 1, exclude_max=True),
    st.integers(0, 8),
    st.binary(max_size=8) | st.sampled_from([b"\0" * 8, b"\xff" * 8]),
)
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats()
    | st.text(max_size=10)
    | st.sampled_from(["/etc/passwd", "os.system", "{{ x }}", "10", "simple", "aimnet2", 10**400]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def edited(data: bytes, edits: list[tuple[float, int, bytes]]) -> bytes:
    """Bytes with some of them replaced, inserted or removed."""
    for place, removed, inserted in edits:
        start = int(place * len(data))
        data = data[:start] + inserted + data[start + removed :]
    return data


@contextlib.contextmanager
def only_own_errors() -> Iterator[None]:
    with contextlib.suppress(MolcalcError, FileNotFoundError):
        yield


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(tmp_path / "m", small_checkpoint(n_members=2))
    return tmp_path / "m"


@pytest.mark.parametrize("sealed", [False, True], ids=["checksums as they were", "checksums renewed"])
@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_damaged_model_directories_give_own_errors(folder: Path, name: str, sealed: bool) -> None:
    original = {path: path.read_bytes() for path in folder.iterdir()}

    @FUZZ
    @given(edits=st.lists(EDITS, min_size=1, max_size=3))
    def check(edits: list[tuple[float, int, bytes]]) -> None:
        for path, data in original.items():
            path.write_bytes(data)
        (folder / name).write_bytes(edited(original[folder / name], edits))
        if sealed:
            with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError, FileNotFoundError):
                edit_config(folder, lambda values: None)
        with only_own_errors():
            AIMNet2(folder)

    check()


def paths(values: Any) -> Iterator[tuple[Any, ...]]:
    """Places in a configuration."""
    if isinstance(values, dict):
        for key, value in values.items():
            yield (key,)
            yield from ((key, *path) for path in paths(value))
    elif isinstance(values, list):
        for k, value in enumerate(values):
            yield from ((k, *path) for path in paths(value))
            yield (k,)


def put(values: Any, path: tuple[Any, ...], value: Any) -> None:
    for key in path[:-1]:
        values = values[key]
    values[path[-1]] = value


def test_wrong_values_in_configurations_give_own_errors(folder: Path) -> None:
    original = (folder / CONFIG).read_text()
    places = [path for path in paths(json.loads(original)) if path[0] not in ("sha256", "config_sha256")]

    @FUZZ
    @given(place=st.sampled_from(places), value=PLAIN)
    def check(place: tuple[Any, ...], value: Any) -> None:
        (folder / CONFIG).write_text(original)
        edit_config(folder, lambda values: put(values, place, value))
        with only_own_errors():
            AIMNet2(folder)

    check()


def test_damaged_v2_files_give_own_errors(tmp_path: Path) -> None:
    original = write_v2(tmp_path / "original.pt", small_checkpoint()).read_bytes()

    @FUZZ
    @given(edits=st.lists(EDITS, min_size=1, max_size=3))
    def check(edits: list[tuple[float, int, bytes]]) -> None:
        (tmp_path / "x.pt").write_bytes(edited(original, edits))
        with only_own_errors():
            AIMNet2(tmp_path / "x.pt")

    check()


def test_damaged_contents_of_v2_files_give_own_errors(tmp_path: Path) -> None:
    """The archive is sound, what is inside is not."""
    with zipfile.ZipFile(write_v2(tmp_path / "original.pt", small_checkpoint())) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}

    @FUZZ
    @given(edits=st.lists(EDITS, min_size=1, max_size=2))
    def check(edits: list[tuple[float, int, bytes]]) -> None:
        with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
            for name, data in records.items():
                archive.writestr(name, edited(data, edits) if name.endswith("data.pkl") else data)
        with only_own_errors():
            AIMNet2(tmp_path / "x.pt")

    check()


def test_wrong_values_in_v2_metadata_give_own_errors(tmp_path: Path) -> None:
    state = v2_state(first_network(small_checkpoint()))

    @FUZZ
    @given(key=st.sampled_from([*v2_metadata(), "family", "supports_charged_systems"]), value=PLAIN)
    def check(key: str, value: Any) -> None:
        torch.save({**v2_metadata(), key: value, "state_dict": state}, tmp_path / "x.pt")
        with only_own_errors():
            AIMNet2(tmp_path / "x.pt")

    check()


def test_odd_arrays_in_v2_files_give_own_errors(tmp_path: Path) -> None:
    state = v2_state(first_network(small_checkpoint()))
    changes: list[Callable[[torch.Tensor], torch.Tensor]] = [
        lambda v: v[..., :-1] if v.ndim else v,
        lambda v: v[None],
        lambda v: v.flatten(),
        lambda v: v.reshape(-1)[0],
        lambda v: v.reshape(-1)[:0],
        lambda v: v.long(),
        lambda v: v.half(),
        lambda v: v * torch.nan,
        lambda v: -v,
        lambda v: v * 1e30,
        lambda v: v.expand(3, *v.shape),
    ]

    @FUZZ
    @given(name=st.sampled_from(sorted(state)), other=st.sampled_from(sorted(state)), change=st.sampled_from(changes))
    def check(name: str, other: str, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
        torch.save({**v2_metadata(), "state_dict": {**state, name: change(state[other])}}, tmp_path / "x.pt")
        with only_own_errors():
            AIMNet2(tmp_path / "x.pt")

    check()


@pytest.mark.parametrize("name", ["config.json", "ensemble_1.safetensors"])
def test_damaged_hub_directories_give_own_errors(tmp_path: Path, name: str) -> None:
    folder = write_hub_directory(tmp_path / "hub", small_checkpoint(n_members=2))
    original = (folder / name).read_bytes()

    @FUZZ
    @given(edits=st.lists(EDITS, min_size=1, max_size=3))
    def check(edits: list[tuple[float, int, bytes]]) -> None:
        (folder / name).write_bytes(edited(original, edits))
        with only_own_errors():
            read_model(folder)

    check()
