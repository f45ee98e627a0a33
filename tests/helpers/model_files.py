"""Small model files of every kind, sound ones and ones made to do harm.

The networks are those of :func:`tests.helpers.networks.small_checkpoint`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor, nn

from molcalc.io import checkpoint
from molcalc.io.checkpoint import Checkpoint, ModelConfig
from molcalc.io.files import sha256
from molcalc.models.aimnet2 import AIMNet2Network
from molcalc.registry import build_members
from tests.helpers.networks import COULOMB_RANGE, D3, SMALLER_AIMNET2, SMALLER_ELEMENTS

STATE = "training_state.pt"
UNKNOWN_ARCHITECTURES = [
    *("os.system", "os.popen", "os.execv", "posix.system", "nt.system", "subprocess.Popen", "subprocess.run"),
    *("builtins.eval", "builtins.exec", "builtins.compile", "builtins.open", "__builtin__.eval", "eval", "exec"),
    *(
        "torch.load",
        "torch.hub.load",
        "torch.jit.load",
        "torch.save",
        "torch.nn.Linear",
        "torch.utils.cpp_extension.load",
    ),
    *("pickle.loads", "_pickle.loads", "marshal.loads", "shelve.open", "numpy.load", "yaml.unsafe_load"),
    *("importlib.import_module", "runpy.run_path", "shutil.rmtree", "pathlib.Path", "socket.socket", "ctypes.CDLL"),
    *("webbrowser.open", "urllib.request.urlopen", "multiprocessing.Process", "molcalc.models.aimnet2.AIMNet2Network"),
    *("AIMNet2", "aimnet2 ", "../aimnet2", "aimnet2\n", "", "a" * 10_000),
]


def edit_config(folder: Path, change: Callable[[dict[str, Any]], object], *, seal: bool = True) -> None:
    """Change a saved configuration in place; ``seal`` renews all checksums, as an attacker would."""
    path = folder / checkpoint.CONFIG
    values = json.loads(path.read_text())
    change(values)
    if seal:
        values["sha256"] = {name: sha256((folder / name).read_bytes()) for name in values["sha256"]}
        values = sealed(values)
    path.write_text(json.dumps(values))


def sealed(values: dict[str, Any]) -> dict[str, Any]:
    """A configuration with the checksum that belongs to it."""
    bare = {key: value for key, value in values.items() if key != "config_sha256"}
    return {**bare, "config_sha256": sha256(json.dumps(bare, sort_keys=True, ensure_ascii=False).encode())}


def replace_weights(folder: Path, data: bytes) -> None:
    """Exchange the weights of a saved model and renew the checksums."""
    (folder / checkpoint.WEIGHTS).write_bytes(data)
    edit_config(folder, lambda values: None)


def numbered(k: int, size: int = 500) -> Checkpoint:
    """A checkpoint that can be recognized by its number; the container does not look at names."""
    config = ModelConfig(kind="aimnet2", arguments={"elements": [1]}, provenance={"source": str(k)})
    return Checkpoint(config, {"a": torch.full((size,), float(k)), "b": torch.tensor(k)})


def save_numbered(folder: Path, k: int) -> None:
    """Save checkpoint ``k`` with a training state."""
    checkpoint.save(folder, numbered(k), {STATE: f"state {k}".encode()})


def number_in(folder: Path) -> int:
    """Number of the checkpoint in a folder, after a check that all its files belong together."""
    model, contents = checkpoint.load_with(folder, (STATE,))
    k = int(model.weights["b"])
    assert torch.equal(model.weights["a"], numbered(k).weights["a"])
    assert model.config.provenance == {"source": str(k)}
    assert contents[STATE] == f"state {k}".encode()
    return k


def flip(path: Path, position: int, bit: int = 0) -> None:
    """Invert one bit of a file."""
    data = bytearray(path.read_bytes())
    data[position] ^= 1 << bit
    path.write_bytes(data)


def v2_state(network: AIMNet2Network) -> dict[str, Tensor]:
    """Weights of a network under the names of the AIMNet2 authors, rows of untrained elements NaN."""
    c = network.config
    names = {"embedding": "afv.weight", "conv_features": "conv_a.agh", "conv_charges": "conv_q.agh"}
    state = {}
    for name, value in network.state_dict().items():
        name = names.get(name, name).replace("passes.", "mlps.").replace("energy_heads.0.", "outputs.energy_mlp.mlp.")
        state[name] = value.clone()
    state["afv.weight"] = state["afv.weight"][0]
    state["outputs.atomic_shift.shifts.weight"] = state.pop("shifts")[0, :, None]
    untrained = [z for z in range(c.max_number + 1) if z not in c.elements]
    for name in ("afv.weight", "outputs.atomic_shift.shifts.weight"):
        state[name][untrained] = float("nan")
    shells = network.shells
    for kind in "sv":
        state[f"aev.rc_{kind}"] = torch.tensor(c.cutoff)
        state[f"aev.eta_{kind}"] = torch.tensor(shells.eta)
        state[f"aev.shifts_{kind}"] = shells.start + shells.spacing * torch.arange(c.n_radial)
    state["outputs.srcoulomb.rc"] = torch.tensor(COULOMB_RANGE)
    return state


def multifidelity_state(network: AIMNet2Network) -> dict[str, Tensor]:
    """Weights of a network under the names that trainers of several fidelities write, random where nothing is trained.

    Element Z of fidelity f has number Z + 200·f; the first fidelity's heads stand there a second time.
    """
    c, shells = network.config, network.shells
    centers = shells.start + shells.spacing * torch.arange(c.n_radial)
    radial = {"rc": torch.tensor(c.cutoff), "eta": torch.tensor(shells.eta), "shifts": centers}
    state = {f"aev.{name}_{kind}": value for name, value in radial.items() for kind in "sv"}
    state["conv_a.agh"], state["conv_q.agh"] = network.conv_features.detach(), network.conv_charges.detach()
    rows = (c.n_fidelities - 1) * 200 + 129
    state["afv.weight"] = torch.randn(rows, network.embedding.shape[2])
    shifts = torch.zeros(rows, 1)
    for f in range(c.n_fidelities):
        block = slice(200 * f, 200 * f + c.max_number + 1)
        state["afv.weight"][block] = network.embedding[f].detach().float()
        shifts[block, 0] = network.shifts[f].detach().float()
    for name, value in network.state_dict().items():
        if name.startswith("passes."):
            state[name.replace("passes.", "mlps.")] = value
        elif name.startswith("energy_heads."):
            _, fidelity, rest = name.split(".", 2)
            state[f"fidelity_readouts.{fidelity}.energy_mlp.mlp.{rest}"] = value
    for f in range(c.n_fidelities):
        state[f"fidelity_readouts.{f}.atomic_shift.shifts.weight"] = shifts
    for name in [name for name in state if name.startswith("fidelity_readouts.0.")]:
        state[name.replace("fidelity_readouts.0.", "outputs.")] = state[name]
    state["shared_readouts.lrcoulomb.rc"] = state["shared_readout.lrcoulomb.rc"] = torch.tensor(COULOMB_RANGE)
    return {name: value.clone() for name, value in state.items()}


def v2_metadata(**changes: Any) -> dict[str, Any]:
    """What a v2 file says beside its weights."""
    description = {
        "class": "aimnet.models.AIMNet2",
        "kwargs": {
            "hidden": [list(widths) for widths in SMALLER_AIMNET2["hidden"]],
            "outputs": {
                "energy_mlp": {
                    "class": "aimnet.modules.Output",
                    "kwargs": {
                        "n_in": SMALLER_AIMNET2["aim_size"],
                        "n_out": 1,
                        "mlp": {"activation_fn": "torch.nn.GELU", "last_linear": True},
                    },
                },
                "atomic_shift": {"class": "aimnet.modules.AtomicShift", "kwargs": {"key_in": "energy"}},
                "atomic_sum": {"class": "aimnet.modules.AtomicSum"},
                "srcoulomb": {"class": "aimnet.modules.SRCoulomb", "kwargs": {"rc": COULOMB_RANGE}},
            },
        },
    }
    return {
        "format_version": 2,
        "model_yaml": yaml.safe_dump(description),
        "cutoff": 5.0,
        "needs_coulomb": True,
        "needs_dispersion": True,
        "coulomb_mode": "sr_embedded",
        "coulomb_sr_rc": COULOMB_RANGE,
        "coulomb_sr_envelope": "exp",
        "d3_params": dict(D3),
        "has_embedded_lr": True,
        "has_embedded_d3ts": False,
        "implemented_species": list(SMALLER_ELEMENTS),
        **changes,
    }


def first_network(model: Checkpoint) -> AIMNet2Network:
    """First member of a checkpoint."""
    network = build_members(model)[0]
    assert isinstance(network, AIMNet2Network)
    return network


def write_v2(path: Path, model: Checkpoint, state: Mapping[str, Any] | None = None, **changes: Any) -> Path:
    """Write a v2 ``.pt`` file; ``state`` and ``changes`` replace entries, None removes them."""
    weights = {**v2_state(first_network(model)), **(state or {})}
    weights = {name: value for name, value in weights.items() if value is not None}
    values = {key: value for key, value in v2_metadata(**changes).items() if value is not None}
    torch.save({**values, "state_dict": weights}, path)
    return path


def write_hub_directory(folder: Path, model: Checkpoint, **changes: Any) -> Path:
    """Write a Hugging Face style directory of all members; None removes an entry of the configuration."""
    folder.mkdir()
    members = build_members(model)
    routing = {"config_schema_version": 1, "family_name": "small", "ensemble_size": len(members)}
    values = {key: value for key, value in {**v2_metadata(), **routing, **changes}.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(values))
    for k, member in enumerate(members):
        assert isinstance(member, AIMNet2Network)
        save_file({name: v.contiguous() for name, v in v2_state(member).items()}, folder / f"ensemble_{k}.safetensors")
    return folder


class Holder(nn.Module):
    """A scriptable module that only holds parameters and submodules."""

    def forward(self) -> None:
        return None


def write_torchscript(path: Path, model: Checkpoint, *, d3: Mapping[str, float] | None = None) -> Path:
    """Write an ensemble as a TorchScript program with the names of the published files."""
    root = Holder()
    for k, member in enumerate(build_members(model)):
        assert isinstance(member, AIMNet2Network)
        state = v2_state(member)
        state["outputs.lrcoulomb.rc"] = state.pop("outputs.srcoulomb.rc")
        for name, value in state.items():
            *path_to, last = f"models.{k}.module.{name}".split(".")
            _submodule(root, path_to).register_parameter(last, nn.Parameter(value))
        if d3 is not None:
            term = _submodule(root, ["models", str(k), "module", "outputs", "d3bj"])
            for key, number in d3.items():
                setattr(term, key, number)
    torch.jit.save(torch.jit.script(root), str(path))
    return path


def _submodule(root: nn.Module, names: list[str]) -> nn.Module:
    for name in names:
        if not hasattr(root, name):
            root.add_module(name, Holder())
        root = getattr(root, name)
    return root


class Intruder(nn.Module):
    """A TorchScript program that writes a file while it is read."""

    def __init__(self, canary: str) -> None:
        super().__init__()
        self.canary = canary
        self.weight = nn.Parameter(torch.ones(2))

    def forward(self) -> Tensor:
        return self.weight

    @torch.jit.export
    def __getstate__(self) -> tuple[str, Tensor, bool]:
        return self.canary, self.weight, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, Tensor, bool]) -> None:
        self.canary = state[0]
        self.weight = state[1]
        self.training = state[2]
        torch.save(self.weight, self.canary)


class Touch:
    """A Python object that creates a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)
