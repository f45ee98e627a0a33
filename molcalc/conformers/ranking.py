"""Ranking of conformers: structures of molecules are relaxed together, and what is left of them is put in order."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from ase import Atoms

from molcalc.conformers.kept import KeptRelaxations
from molcalc.conformers.minima import MinimaOfMolecule
from molcalc.conformers.molecules import Ensemble
from molcalc.conformers.ranked import RankedConformers, RankedMolecule
from molcalc.conformers.rdkit_molecules import embed
from molcalc.conformers.settings import RankingSettings
from molcalc.conformers.sources import SourceReader
from molcalc.errors import ConfigError, InputError, MolcalcError, RelaxationWarning, suggest, warn_user
from molcalc.prediction.batching import check_structure
from molcalc.progress import progress_bar
from molcalc.simulate.relaxation import relax_all
from molcalc.simulate.relaxation_run import Relaxation, RelaxationSettings

if TYPE_CHECKING:
    from molcalc.calculators.base import MolCalculator

Result = TypeVar("Result")
DEFAULT_RANKING = RankingSettings()


def rank_conformers(
    source: Any,
    calc: MolCalculator,
    *,
    kept: str | os.PathLike[str] | None = None,
    restart: bool = False,
    force: bool = False,
    progress: bool = True,
    **settings: Any,
) -> RankedConformers:
    """Conformers of molecules, relaxed, without duplicates, in the order of their energies.

    A molecule is given by its bonds, from which structures are made (extra ``conformers``), or by structures. Several
    are ranked apart.

    Parameters
    ----------
    source : SMILES; a file of SMILES (.smi), an SDF or any file of structures; a Mol of RDKit; a structure; or a list
        of any of these.
    calc : calculator of molcalc.
    kept : file (.traj) that takes every relaxed structure as it ends.
    restart : go on with it, if it is there.
    force : replace it otherwise.
    progress : show a bar, on a terminal.
    settings : fields of :class:`~molcalc.conformers.settings.RankingSettings`, by name.

    Returns
    -------
    molecules with their conformers, what was dropped and why, and molecules that failed, which a warning counts.

    Raises
    ------
    InputError
        When there is no molecule, or none has a conformer.
    ConfigError
        For a setting that is unknown or out of range, and where a package is missing.
    """
    unknown = sorted(settings.keys() - RankingSettings.__dataclass_fields__.keys())
    if unknown:
        known = list(RankingSettings.__dataclass_fields__)
        raise ConfigError(f"unknown setting {unknown[0]!r}{suggest(unknown[0], known)}; there are {', '.join(known)}")
    chosen = RankingSettings(**settings)
    reader = SourceReader()
    reader.add(source)
    failures: list[MolcalcError] = list(reader.failures)
    ensembles = reader.ensembles()
    if not ensembles:
        raise failures[0] if failures else InputError("no molecule to rank: the list is empty")
    n_total = len(ensembles) + len(failures)
    with progress_bar(desc="relax", unit="structure", visible=progress) as bar:
        outcomes = rank_all(
            ensembles, calc, chosen, kept=None if kept is None else Path(kept), restart=restart, force=force,
            observer=RankingObserver(bar),
        )  # fmt: skip
    failures += [outcome for outcome in outcomes if isinstance(outcome, MolcalcError)]
    molecules = tuple(outcome for outcome in outcomes if isinstance(outcome, RankedMolecule))
    if not molecules:
        raise failures[0]
    if failures:
        warn_user(f"{len(failures)} of {n_total} sources have no conformers: {failures[0]}", RelaxationWarning)
    return RankedConformers(molecules, tuple(failures))


class RankingObserver:
    """Counts structures as they are relaxed, on a bar of tqdm.

    Attributes
    ----------
    n_structures, n_done : relaxations until now, and how many of them have ended.
    """

    def __init__(self, bar: Any) -> None:
        self._bar = bar
        self.n_structures = self.n_done = 0

    def begins(self, n_structures: int, n_known: int) -> None:
        """Structures are there to be relaxed, and some of them are so already."""
        self.n_structures += n_structures
        self.n_done += n_known
        self._bar.total = self.n_structures
        self._bar.update(n_known)

    def ended(self, *_: object) -> None:
        """One structure has been relaxed, or cannot be."""
        self.n_done += 1
        self._bar.update()


def rank_all(
    ensembles: Sequence[Ensemble],
    calculator: MolCalculator,
    settings: RankingSettings = DEFAULT_RANKING,
    *,
    kept: Path | None = None,
    restart: bool = False,
    force: bool = False,
    observer: RankingObserver,
) -> list[RankedMolecule | MolcalcError]:
    """Ranked molecules in the order of the input, for programs that want to know more of them.

    Parameters
    ----------
    kept : file (.traj) that takes every relaxed structure as it ends.
    restart : go on with it, if it is there.
    force : replace it otherwise.
    observer : told of structures as they end.

    Returns
    -------
    One molecule with its conformers for each ensemble; the error in place of one that has none.

    Raises
    ------
    InputError, ConfigError
        When the file of relaxed structures cannot be used.
    """
    store = KeptRelaxations(kept, calculator, settings.relaxations()[-1], restart=restart, force=force)
    outcomes = [_attempt(partial(_started, ensemble, calculator, settings)) for ensemble in ensembles]
    started = [each for each in outcomes if isinstance(each, MinimaOfMolecule)]
    with store.open():
        for relaxation in settings.relaxations():
            structures = [atoms for each in started for atoms in each.structures]
            relaxed = iter(_relaxed(structures, calculator, relaxation, store, observer))
            for each in started:
                each.take(list(islice(relaxed, len(each.structures))), relaxation.fmax)
    return [
        _attempt(partial(each.ranked, calculator)) if isinstance(each, MinimaOfMolecule) else each for each in outcomes
    ]


def _attempt(work: Callable[[], Result]) -> Result | MolcalcError:
    """What some work gives, or the error in which it ends."""
    try:
        return work()
    except MolcalcError as error:
        return error


def _started(ensemble: Ensemble, calculator: MolCalculator, settings: RankingSettings) -> MinimaOfMolecule:
    """Structures to relax, of a molecule that the model knows."""
    molecule = ensemble.molecule
    potential = calculator.predictor.potential
    try:
        for atoms in ensemble.structures or [molecule.structure(np.zeros((len(molecule.numbers), 3)))]:
            check_structure(atoms, potential.elements, calculator.model, potential.supports_periodic)
            calculator.resolve(atoms)
    except InputError as error:
        raise type(error)(f"{molecule.label}: {error}") from error
    starts = ensemble.structures or embed(molecule, settings.n_structures, settings.seed)
    return MinimaOfMolecule(molecule, starts, settings)


def _relaxed(
    structures: Sequence[Atoms],
    calculator: MolCalculator,
    relaxation: RelaxationSettings,
    store: KeptRelaxations,
    observer: RankingObserver,
) -> list[Relaxation | MolcalcError]:
    """How each structure was relaxed, now or in an earlier part of the run."""
    outcomes: dict[int, Relaxation | MolcalcError] = dict(store.found(structures, relaxation.fmax))
    left = [k for k in range(len(structures)) if k not in outcomes]
    observer.begins(len(structures), len(outcomes))

    def ended(system: int, outcome: Relaxation | MolcalcError) -> None:
        if isinstance(outcome, Relaxation):
            store.add(structures[left[system]], relaxation.fmax, outcome)
        observer.ended()

    if left:
        found = relax_all([structures[k] for k in left], calculator, relaxation, ended=ended)
        outcomes.update(zip(left, found))
    return [outcomes[k] for k in range(len(structures))]
