"""Relaxation of many structures: atoms, and cells where asked for, move to the nearest minima of the energy.

All structures take their steps side by side, each with an optimizer of its own, and are evaluated in one batch. Those
that have arrived make room for others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ase import Atoms

from molcalc.errors import InputError, MolcalcError, RelaxationWarning, warn_user
from molcalc.io.targets import check_distinct, check_file
from molcalc.prediction.batching import check_images
from molcalc.progress import progress_bar
from molcalc.simulate.distribution import AnyExecutor, all_done
from molcalc.simulate.relaxation_run import Relaxation, RelaxationObserver, RelaxationSettings, RelaxationWork
from molcalc.simulate.results_database import STREAMED, filling
from molcalc.simulate.trajectory import PathLike, check_trajectories, file_of_each
from molcalc.simulate.work import Item

if TYPE_CHECKING:
    from molcalc.calculators.base import MolCalculator

EndObserver = Callable[[int, Relaxation | MolcalcError], object]


def relax(
    images: Atoms | Sequence[Atoms],
    calc: MolCalculator,
    fmax: float = 0.05,
    steps: int = 500,
    optimizer: str = "auto",
    cell: bool = False,
    trajectory: PathLike | Sequence[PathLike | None] | None = None,
    database: PathLike | None = None,
    restart: bool = False,
    force: bool = False,
    executor: AnyExecutor = None,
    progress: bool = True,
) -> list[Atoms]:
    """Relaxed structures, in the order of the input.

    Charge, multiplicity and constraints are those of each structure.

    Parameters
    ----------
    images : one structure or several; they stay as they are.
    calc : calculator of molcalc.
    fmax : largest force on an atom of a relaxed structure, eV/Å; with ``cell`` also of the cell's degrees of freedom.
    steps : at most, for each structure.
    optimizer : "auto" begins with a model of the second derivatives; "bfgs", "lbfgs", "fire" and "bfgslinesearch" take
        the steps of ASE's (the last one structure after the other).
    cell : relax the cells as well.
    trajectory : file for all steps; of several structures one each.
    database : ASE database (.db) that fills with the relaxed structures as they end.
    restart : continue trajectories and database where they exist: what is in the database is not computed again.
    force : replace files that exist.
    executor : number of processes on this machine, an executor of :mod:`concurrent.futures`, or a client of Dask, that
        share the structures; None relaxes them here.
    progress : show a bar, on a terminal.

    Returns
    -------
    Copies with their results (``get_potential_energy()``, ``get_forces()``) and ``info["converged"]``. A structure that
    cannot be relaxed comes back as it was, with the reason in ``info["error"]``; a warning counts these.

    Raises
    ------
    InputError
        When there are no structures, none of them can be relaxed, or a trajectory exists.
    ConfigError
        For a setting out of range.
    """
    settings = RelaxationSettings(fmax=fmax, steps=steps, optimizer=optimizer, cell=cell)
    systems = [images] if isinstance(images, Atoms) else list(images)
    with progress_bar(total=len(systems), desc="relax", unit="structure", visible=progress) as bar:
        outcomes = relax_all(
            systems, calc, settings, trajectory=trajectory, database=database, restart=restart, force=force,
            executor=executor, ended=lambda *_: bar.update(),
        )  # fmt: skip
    failed = {k: outcome for k, outcome in enumerate(outcomes) if isinstance(outcome, MolcalcError)}
    if failed:
        first, reason = next(iter(failed.items()))
        if len(failed) == len(systems):
            raise type(reason)(f"structure {first}: {reason}" if len(systems) > 1 else str(reason)) from reason
        warn_user(
            f"{len(failed)} of {len(systems)} structures were not relaxed; structure {first}: {reason}",
            RelaxationWarning,
        )
    return [_marked(atoms, outcome) for atoms, outcome in zip(systems, outcomes)]


def _marked(atoms: Atoms, outcome: Relaxation | MolcalcError) -> Atoms:
    if isinstance(outcome, MolcalcError):
        given = atoms.copy()
        given.info.update(converged=False, error=str(outcome))
        return given
    outcome.atoms.info["converged"] = outcome.converged
    return outcome.atoms


def relax_all(
    images: Atoms | Sequence[Atoms],
    calculator: MolCalculator,
    settings: RelaxationSettings | None = None,
    *,
    trajectory: PathLike | Sequence[PathLike | None] | None = None,
    database: PathLike | None = None,
    restart: bool = False,
    force: bool = False,
    executor: AnyExecutor = None,
    observer: RelaxationObserver | None = None,
    ended: EndObserver | None = None,
) -> list[Relaxation | MolcalcError]:
    """Outcomes of relaxing structures, in the order of the input, for programs that want to know more of them.

    Parameters
    ----------
    images : one structure or several; they stay as they are.
    settings : defaults where None.
    trajectory : file that takes every step; of several structures one each.
    database : ASE database (.db) that fills with the relaxed structures as they end, see
        :mod:`molcalc.simulate.results_database`.
    restart : continue trajectories that exist; the steps are those of a relaxation in one piece. What is in the
        database is not computed again.
    force : replace files that exist.
    executor : number of processes, an executor of :mod:`concurrent.futures` or a client of Dask; None for none.
    observer : called at every new step, also at the first and at the one that a restart begins with.
    ended : called with the number of a structure that has ended, and how it did.

    Returns
    -------
    One outcome for each structure; the error in place of one that cannot be relaxed.

    Raises
    ------
    InputError
        When there is no structure, or a trajectory cannot be used.
    ConfigError
        When a trajectory was made with another model or other settings.
    """
    settings = settings or RelaxationSettings()
    systems = [images] if isinstance(images, Atoms) else check_images(images)
    if not systems:
        raise InputError("no structure to relax: the list is empty")
    paths = file_of_each(trajectory, len(systems), "trajectory")
    check_trajectories(paths)
    file = None if database is None else Path(database)
    if file is not None and file.suffix.lower() != STREAMED:
        raise InputError(f"{file}: a database that grows ends in {STREAMED}")
    check_distinct([file, *paths])
    for path in [file, *paths]:
        if path is not None and not (restart and path.exists()):
            check_file(path, force=force)
    items = [Item(k, atoms, path) for k, (atoms, path) in enumerate(zip(systems, paths))]
    work = RelaxationWork(calculator=calculator, settings=settings, restart=restart, force=force)
    if file is None:
        return all_done(work, items, executor, observer, ended)
    description, resolve = _description(work), work.calculator.resolve
    with filling(file, description, systems, resolve=resolve, steps=settings.steps, restart=restart) as kept:
        outcomes: dict[int, Relaxation | MolcalcError] = {**kept.known}

        def end(system: int, outcome: Relaxation | MolcalcError) -> None:
            outcomes[system] = outcome
            if isinstance(outcome, Relaxation):
                kept.add(system, outcome)
            if ended is not None:
                ended(system, outcome)

        for system, known in kept.known.items():
            if ended is not None:
                ended(system, known)
        all_done(work, [item for item in items if item.system not in kept.known], executor, observer, end)
    return [outcomes[k] for k in range(len(systems))]


def _description(work: RelaxationWork) -> dict[str, Any]:
    """What must be the same when a database of results is continued."""
    settings = {name: value for name, value in asdict(work.settings).items() if name != "steps"}
    return {**settings, **work.calculator.predictor.provenance()}
