"""Every command that writes, on inputs that take it a tenth of a second, and what it promises about them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from ase.io import write

from molcalc.io import checkpoint
from tests.helpers.networks import tiny_checkpoint

NETWORK = ("--set", "arguments.hidden=[[8, 8], [8, 8], [8, 8]]", "--set", "arguments.aim_size=8")
NETWORK += ("--set", "arguments.energy_hidden=[4]")
MODEL = ("--model", "model")
_MD = ("md", "water.xyz", *MODEL, "--dtype", "float64", "--seed", "3", "--interval", "1", "--log", "md.log")
_MDS = (_MD[0], "other.db", *_MD[2:])
_RELAX = ("relax", "water.xyz", *MODEL, "--dtype", "float64", "--trajectory", "steps.traj", "-o", "relaxed.xyz")
_RELAX_ROWS = ("relax", "uncharged.db", *MODEL, "--dtype", "float64", "-o", "o.db")
_COARSE = ("--cube", "1", "--margin", "1", "--density", "1")
_FEW = ("--structures", "1")
_COMPARE = ("compare-models", "data.db", "--skip-training", "model", *_FEW, "--rounds", "1", "--no-memory", "-o", "o")
_GENERATOR = ("train", "ethanol.xyz", "--model", "conformer-vae", "--output", "generator", "--epochs", "1")
_GENERATOR += ("--no-plots", "--quiet", "--seed", "5")
_CONFORMERS = ("conformers", "uncharged.db", *MODEL, "--dtype", "float64", "--fmax", "0.05", "-o", "o.xyz")
_TRAIN = ("train", "data.db", "--model", "aimnet2", "--output", "run", "--no-plots", "--quiet", "--seed", "5", *NETWORK)

HAS_LMDB = find_spec("lmdb") is not None and find_spec("ase_db_backends") is not None
"""Whether ASE can write ``.aselmdb``; the packages for it are no dependency."""
ROUNDING = 1e-8
"""Å, eV, …: between a run in one piece and one in two."""
LOOSE = 0.01
"""Å, eV, …: of structures that are relaxed together. Others beside them change the rounding of forces, which the steps
of an optimizer multiply; the minima are the same within the forces that are to be reached."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command.

    Parameters
    ----------
    words : its arguments.
    targets : names of what it writes, in the folder of its inputs.
    again : arguments that bring it to its end after it was broken off, where they are not the same.
    before : commands that make its inputs.
    in_place : whether targets are inputs that it changes.
    grows : whether targets grow with time, so that a part of them is no damage.
    old : what is put at the place of each target before, a name of the inputs; "" for nothing.
    kept : names of what stays after an error, for the command to go on with.
    within : Å, eV, …: how far a run in two parts may be from one in one piece.
    once : whether it refuses what is there, so that it is not run again after it succeeded.
    broken : how many of its system calls are broken, evenly chosen, where it is slow or repeats them; 0 for all.
    """

    words: tuple[str, ...]
    targets: tuple[str, ...]
    again: tuple[str, ...] | None = None
    before: tuple[tuple[str, ...], ...] = ()
    in_place: bool = False
    grows: bool = False
    old: str = ""
    kept: tuple[str, ...] = ()
    within: float = ROUNDING
    once: bool = False
    broken: int = 0

    @property
    def rerun(self) -> tuple[str, ...]:
        """Arguments that bring it to its end."""
        return self.again or self.words


def _convert(target: str, old: str = "") -> Command:
    words = ("convert", "data.db", target, "--force")
    return Command(words=words, targets=(target,), old=old)


COMMANDS = {
    "convert to .db": _convert("o.db", "other.db"),
    "convert to .json": _convert("o.json"),
    "convert to .h5": _convert("o.h5"),
    "convert to .npz": _convert("o.npz"),
    "convert to .xyz": _convert("o.xyz", "water.xyz"),
    "convert to .traj": _convert("o.traj"),
    **({"convert to .aselmdb": _convert("o.aselmdb")} if HAS_LMDB else {}),
    "convert a model": Command(words=("convert", "model", "o", "--force"), targets=("o",), old="model"),
    "energy": Command(
        words=("energy", "water.xyz", *MODEL, "-o", "o.xyz", "--csv", "o.csv", "--force"), targets=("o.xyz", "o.csv")
    ),
    "energy to .db": Command(words=("energy", "water.xyz", *MODEL, "-o", "o.db", "--force"), targets=("o.db",)),
    "energy to .traj": Command(words=("energy", "water.xyz", *MODEL, "-o", "o.traj", "--force"), targets=("o.traj",)),
    "md": Command(
        words=(*_MD, "--trajectory", "md.traj", "--steps", "4"),
        again=(*_MD, "--trajectory", "md.traj", "--steps", "4", "--restart"),
        targets=("md.traj", "md.log"),
        grows=True,
    ),
    "md restart": Command(
        before=((*_MD, "--trajectory", "md.traj", "--steps", "2"),),
        words=(*_MD, "--trajectory", "md.traj", "--steps", "4", "--restart"),
        targets=("md.traj", "md.log"),
        in_place=True,
        grows=True,
    ),
    "md to .xyz": Command(
        words=(*_MD, "--trajectory", "md.xyz", "--steps", "4", "--force"), targets=("md.xyz", "md.log"), grows=True
    ),
    "relax": Command(words=(*_RELAX, "--force"), targets=("steps.traj", "relaxed.xyz"), grows=True),
    "relax restart": Command(
        before=((*_RELAX, "--steps", "3"), ("convert", "water.xyz", "relaxed.xyz", "--force")),
        words=(*_RELAX, "--restart", "--force"),
        targets=("steps.traj", "relaxed.xyz"),
        in_place=True,
        grows=True,
    ),
    "md of several": Command(
        words=(*_MDS, "--trajectory", "md.traj", "--steps", "2"),
        again=(*_MDS, "--trajectory", "md.traj", "--steps", "2", "--restart"),
        targets=tuple(f"md-{k}.{ending}" for k in range(3) for ending in ("traj", "log")),
        grows=True,
    ),
    "relax several": Command(
        words=("relax", "uncharged.db", *_RELAX[2:], "--force"),
        targets=(*(f"steps-{k}.traj" for k in range(4)), "relaxed.xyz"),
        grows=True,
    ),
    "esp": Command(
        words=("esp", "water.xyz", *MODEL, *_COARSE, "-o", "o", "--html", "o.html", "--force"),
        targets=("o.cube", "o-surface.csv", "o.html"),
        old="water.xyz",
    ),
    "vib": Command(
        words=("vib", "water.xyz", *MODEL, "--modes", "-o", "o", "--csv", "o.csv", "--force"),
        targets=("o-modes.xyz", "o.csv"),
        old="water.xyz",
    ),
    "conformers": Command(
        words=(*_CONFORMERS, "--force"),
        again=(*_CONFORMERS, "--force", "--restart"),
        targets=("o.xyz",),
        old="water.xyz",
        kept=("o.xyz.relaxed.traj",),
        within=LOOSE,
    ),
    "relax to .db": Command(
        words=(*_RELAX_ROWS, "--force"),
        again=(*_RELAX_ROWS, "--restart"),
        targets=("o.db",),
        grows=True,
        within=LOOSE,
        broken=120,
    ),
    "equivariance": Command(
        words=("equivariance", *MODEL, *_FEW, "--data", "water.xyz", "--motions", "1", "--plot", "-o", "o", "--force"),
        targets=("o.png",),
        old="water.xyz",
    ),
    "compare-models": Command(words=_COMPARE, again=(*_COMPARE, "--force"), targets=("o",), grows=True, broken=12),
    "examples": Command(words=("examples", "--copy", "o"), targets=("o",), once=True, broken=60),
    "train a generator": Command(
        words=(*_GENERATOR, "--resume", "auto"), targets=("generator",), grows=True, broken=12
    ),
    "sample": Command(
        before=(_GENERATOR,),
        words=("sample", "generator", "-n", "3", "-o", "o.xyz", "--csv", "o.csv", "--force"),
        targets=("o.xyz", "o.csv"),
        old="water.xyz",
    ),
    "train": Command(words=(*_TRAIN, "--epochs", "1", "--resume", "auto"), targets=("run",), grows=True),
    "resume": Command(
        before=((*_TRAIN, "--epochs", "1"),),
        words=("train", "--output", "run", "--resume", "--epochs", "2", "--no-plots", "--quiet"),
        targets=("run",),
        in_place=True,
        grows=True,
    ),
    "evaluate to .db": Command(words=("evaluate", "data.db", *MODEL, "-o", "p.db", "--force"), targets=("p.db",)),
    "evaluate to .h5": Command(
        words=("evaluate", "data.db", *MODEL, "-o", "p.h5", "--csv", "e.csv", "--force"), targets=("p.h5", "e.csv")
    ),
    "annotate": Command(
        words=("evaluate", "data.db", *MODEL, "--annotate", "mine", "--force"), targets=("data.db",), in_place=True
    ),
    "repair": Command(
        words=("db", "repair", "uncharged.db", "--charge", "0"), targets=("uncharged.db",), in_place=True
    ),
    "split": Command(
        words=("db", "split", "data.db", "--force"),
        targets=("data_train.db", "data_valid.db", "data_test.db"),
        old="other.db",
    ),
    "merge": Command(
        words=("db", "merge", "data.db", "other.db", "-o", "o.db", "--force"), targets=("o.db",), old="other.db"
    ),
    "sae": Command(words=("sae", "data.db", "o.yaml", "--csv", "o.csv", "--force"), targets=("o.yaml", "o.csv")),
    "export to .jpt": Command(words=("export", "model", "-o", "o.jpt", "--force"), targets=("o.jpt", "o.jpt.json")),
    "export to a folder": Command(words=("export", "model", "-o", "o", "--force"), targets=("o",), old="model"),
}
"""Commands by a name for people."""


def labelled(name: str, seed: int) -> Atoms:
    """A distorted molecule with energy and forces."""
    atoms = molecule(name)
    moved = np.random.default_rng(seed).normal(scale=0.05, size=(len(atoms), 3))
    atoms.positions += moved
    atoms.calc = SinglePointCalculator(atoms, energy=2.5 * float((moved**2).sum()) - 2000.0, forces=-5.0 * moved)
    return atoms


def prepare(folder: Path) -> None:
    """Write the inputs of all commands into a new folder."""
    folder.mkdir(parents=True)
    checkpoint.save(folder / "model", tiny_checkpoint())
    write(folder / "water.xyz", labelled("H2O", 1))
    write(folder / "ethanol.xyz", [labelled("CH3CH2OH", seed) for seed in range(6)])
    databases = {"data.db": (("H2O", 7), ("CH4", 5)), "other.db": (("NH3", 3),), "uncharged.db": (("H2O", 4),)}
    for name, parts in databases.items():
        with connect(folder / name) as database:
            for k, (formula, count) in enumerate(parts):
                for seed in range(count):
                    atoms = labelled(formula, 10 * k + seed)
                    database.write(atoms, **({} if name == "uncharged.db" else {"total_charge": 0}))
