"""A small file of every format that is read, and the command that reads it."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from ase import Atoms
from ase.io import write

from tests.faults.commands import HAS_LMDB, MODEL, labelled
from tests.faults.preloaded import Preloaded
from tests.helpers.model_files import multifidelity_state, write_hub_directory, write_v2
from tests.helpers.networks import small_checkpoint, tiny_multifidelity


@dataclass(frozen=True, kw_only=True)
class Format:
    """One format.

    Parameters
    ----------
    name : of the file or folder that is changed.
    make : writes it into a folder.
    read_by : commands that read it, each in turn.
    """

    name: str
    make: Callable[[Preloaded, Path], None]
    read_by: tuple[tuple[str, ...], ...]


def _converted(ending: str) -> Format:
    name = f"i.{ending}"
    reads = (("db", "report", name), ("sae", name, "-"), ("energy", name, *MODEL))
    return Format(
        name=name,
        make=lambda server, folder: _run(server, folder, "convert", "data.db", name),
        read_by=reads[:2] if ending in ("h5", "npz") else reads,
    )


def _structure(name: str, **options: str) -> Format:
    def make(server: Preloaded, folder: Path) -> None:
        write(folder / name, labelled("CH3OH", 2) if "vasp" not in name else _crystal(), **options)

    periodic = ("--coulomb", "dsf") if "vasp" in name else ()
    return Format(name=name, make=make, read_by=(("energy", name, *MODEL, *periodic),))


def _written(name: str, text: str, *read_by: tuple[str, ...]) -> Format:
    return Format(name=name, make=lambda server, folder: _write(folder / name, text), read_by=read_by)


def _run(server: Preloaded, folder: Path, *words: str) -> None:
    finished = server.one(words, folder)
    assert finished.status == 0, finished


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _compressed(server: Preloaded, folder: Path) -> None:
    _run(server, folder, "convert", "data.db", "i.xyz")
    (folder / "i.xyz.gz").write_bytes(gzip.compress((folder / "i.xyz").read_bytes(), mtime=0))


def _crystal() -> Atoms:
    atoms = labelled("CH4", 1)
    atoms.calc = None
    atoms.set_cell([9, 9, 9])
    atoms.pbc = True
    return atoms


_MD = ("md", "water.xyz", *MODEL, "--seed", "3", "--interval", "1", "--trajectory", "i.traj", "--steps")
_TRAINED = ("train", "data.db", "--output", "run", "--no-plots", "--quiet", "--epochs", "1")
MOLFILE = """water
  by hand

  3  2  0  0  0  0            999 V2000
    0.0000    0.0000    0.1200 O   0  0  0  0  0  0
    0.0000    0.7600   -0.4800 H   0  0  0  0  0  0
    0.0000   -0.7600   -0.4800 H   0  0  0  0  0  0
  1  2  1  0
  1  3  1  0
M  CHG  1   1   1
M  END
> <charge>
1

$$$$
"""
MOL2 = """@<TRIPOS>MOLECULE
water
 3 2 0 0 0
SMALL
USER_CHARGES

@<TRIPOS>ATOM
 1 O1 0.0000 0.0000 0.1200 O.3 1 WAT -0.8
 2 H1 0.0000 0.7600 -0.4800 H 1 WAT 0.4
 3 H2 0.0000 -0.7600 -0.4800 H 1 WAT 0.4
@<TRIPOS>BOND
 1 1 2 1
 2 1 3 1
"""
GAUSSIAN = "%mem=1GB\n# pbe0/def2svp\n\nwater\n\n0 1\nO 0.0 0.0 0.12\nH 0.0 0.76 -0.48\nH 0.0 -0.76 -0.48\n\n"
CONFIGURATION = """model: aimnet2
batch_mode: molecules
loop: {batch_size: 4, patience: 5}
loss: {weights: {energy: 1.0, forces: 10}}
optimizer: adamw
learning_rate: 0.001
arguments: {hidden: [[8, 8], [8, 8], [8, 8]], aim_size: 8, energy_hidden: [4]}
coulomb: null
seed: 4
"""
LMDB = ("aselmdb",) if HAS_LMDB else ()
FORMATS = {
    **{f".{ending}": _converted(ending) for ending in ("db", "json", "h5", "npz", "xyz", "traj", *LMDB)},
    "compressed XYZ": Format(
        name="i.xyz.gz",
        make=_compressed,
        read_by=(("db", "report", "i.xyz.gz"), ("energy", "i.xyz.gz", *MODEL)),
    ),
    "extended XYZ of structures": _structure("s.xyz", format="extxyz"),
    "POSCAR": _structure("s.vasp", format="vasp"),
    "CIF": _structure("s.cif", format="cif"),
    "PDB": _structure("s.pdb", format="proteindatabank"),
    "gen": _structure("s.gen", format="gen"),
    "molfile": _written("s.sdf", MOLFILE, ("energy", "s.sdf", *MODEL)),
    "mol2": _written("s.mol2", MOL2, ("energy", "s.mol2", *MODEL)),
    "Gaussian input": _written("s.com", GAUSSIAN, ("energy", "s.com", *MODEL)),
    "trajectory of a run": Format(
        name="i.traj",
        make=lambda server, folder: _run(server, folder, *_MD, "3"),
        read_by=((*_MD, "4", "--restart"), ("relax", "i.traj", *MODEL, "--steps", "1", "-o", "o.xyz", "--force")),
    ),
    "configuration of training": _written("c.yaml", CONFIGURATION, (*_TRAINED, "--config", "c.yaml")),
    "self-atomic energies": _written(
        "i.yaml",
        "1: -13.6\n6: -1035.25\n7: -1484.3\n8: -2041.5\n",
        ("convert", "three.pt", "o", "--force", "--sae", "0=i.yaml"),
    ),
    "configuration of a model": Format(
        name="model/config.json",
        make=lambda server, folder: None,
        read_by=(("energy", "water.xyz", *MODEL), ("info", "model")),
    ),
    "weights of a model": Format(
        name="model/weights.safetensors", make=lambda server, folder: None, read_by=(("energy", "water.xyz", *MODEL),)
    ),
    ".pt": Format(
        name="v2.pt",
        make=lambda server, folder: None,
        read_by=(("energy", "water.xyz", "--model", "v2.pt"), ("convert", "v2.pt", "o", "--force")),
    ),
    "configuration of a Hugging Face directory": Format(
        name="hub/config.json",
        make=lambda server, folder: None,
        read_by=(("energy", "water.xyz", "--model", "hub"), ("info", "hub")),
    ),
    ".jpt": Format(
        name="o.jpt",
        make=lambda server, folder: _run(server, folder, "export", "model", "-o", "o.jpt"),
        read_by=(("info", "o.jpt"), ("energy", "water.xyz", "--model", "o.jpt", "--trusted")),
    ),
    "description of a program": Format(
        name="o.jpt.json",
        make=lambda server, folder: _run(server, folder, "export", "model", "-o", "o.jpt"),
        read_by=(("info", "o.jpt"),),
    ),
}
"""Formats by a name for people."""


def add_models_of_others(folder: Path) -> None:
    """Write model files of other programs beside the inputs of commands."""
    torch.manual_seed(0)
    write_v2(folder / "v2.pt", small_checkpoint())
    torch.save(multifidelity_state(tiny_multifidelity().float()), folder / "three.pt")
    write_hub_directory(folder / "hub", small_checkpoint(n_members=2))
