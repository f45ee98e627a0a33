"""The steps of a relaxation."""

from __future__ import annotations

import math
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase.optimize
import numpy as np
from ase import Atoms
from ase.filters import FrechetCellFilter

from molcalc.cli.interrupts import Interrupted, held
from molcalc.cli.retrace import check_retraced
from molcalc.cli.trajectory import TrajectoryWriter
from molcalc.errors import MolcalcError, NonFiniteResultError

PROGRAM = "molcalc relax"


@dataclass
class Result:
    """How far a relaxation has come."""

    step: int = -1
    energy: float = math.nan
    fmax: float = math.inf
    converged: bool = False
    reason: str = "more --steps, with --trajectory and --restart, go on from here"


def description(args: Namespace) -> dict[str, Any]:
    """What the trajectory says about the run, and must be the same when it is continued."""
    return {"program": PROGRAM, "optimizer": args.optimizer, "cell": args.cell}


def relax(atoms: Atoms, args: Namespace, path: Path | None, recorded: list[Atoms]) -> Result:
    """Take steps until the forces are small or the steps are used up, printing each.

    Parameters
    ----------
    path : trajectory that takes every step, or None.
    recorded : steps in it, which the optimizer retraces before it takes new ones.

    Raises
    ------
    NonFiniteResultError
        When an energy or force is not finite; names the step.
    """
    target = FrechetCellFilter(atoms) if args.cell else atoms
    optimizer = getattr(ase.optimize, args.optimizer)(target, logfile=None)
    last, result = len(recorded) - 1, Result()
    print(f"{'step':>5}  {'energy/eV':>16}  {'fmax/(eV/Å)':>12}")
    with TrajectoryWriter(path, description(args), len(recorded)) as writer:
        try:
            # fmax=0: convergence is judged here, where the retraced steps do not count.
            for _ in optimizer.irun(fmax=0.0, steps=max(args.steps, last)):
                energy, fmax = _progress(atoms, target)
                with held():
                    result.step, result.energy, result.fmax = optimizer.nsteps, energy, fmax
                    if result.step > last:
                        writer.write(atoms)
                if result.step < last:
                    continue
                if result.step == last:
                    check_retraced(atoms, recorded[last], path)
                print(f"{result.step:5d}  {energy:16.6f}  {fmax:12.6f}", flush=True)
                if fmax < args.fmax:
                    result.converged = True
                    break
        except Interrupted as stop:
            where = f"; {path} has every step: --restart continues" if path else ""
            raise Interrupted(stop.signal_number, f"stopped after step {result.step}{where}") from stop
        except MolcalcError as error:
            raise type(error)(f"step {result.step + 1}: {error}") from error
        except RuntimeError as error:
            if "LineSearch" not in str(error):
                raise
            result.reason = "the line search found no lower energy (rounding: try --dtype float64)"
    return result


def _progress(atoms: Atoms, target: Any) -> tuple[float, float]:
    """Energy and largest force, both finite."""
    energy = float(atoms.get_potential_energy())
    fmax = float(np.linalg.norm(target.get_forces(), axis=1).max())
    if not (math.isfinite(energy) and math.isfinite(fmax)):
        raise NonFiniteResultError(f"energy {energy} eV and largest force {fmax} eV/Å are not finite")
    return energy, fmax
