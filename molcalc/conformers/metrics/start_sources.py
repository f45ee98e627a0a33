"""Sources of structures that a search for minima starts from, and what they cost in calls for forces."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from molcalc.conformers.metrics.any_calculator import move_each
from molcalc.conformers.metrics.exchanges import Exchanges
from molcalc.conformers.molecules import Ensemble, Molecule, molecule_of
from molcalc.conformers.rdkit_molecules import embed
from molcalc.conformers.sdf import with_bond_orders
from molcalc.errors import InputError, checked_positive
from molcalc.simulate.ensembles import DynamicsSettings


class StartSource(ABC):
    """Source of structures of one molecule, as many as are asked for.

    Attributes
    ----------
    name : in tables.
    """

    name: str

    @abstractmethod
    def draw(self, n: int) -> tuple[list[Atoms], int]:
        """The next structures, at most ``n``, and the calls for forces that they have cost."""


class Generated(StartSource):
    """Structures of a generator, which calls for no forces.

    Parameters
    ----------
    sample : gives as many new structures as it is asked for, at every call others.
    """

    def __init__(self, sample: Callable[[int], Sequence[Atoms]], name: str = "generator") -> None:
        self.name, self._sample = name, sample

    def draw(self, n: int) -> tuple[list[Atoms], int]:
        return list(self._sample(n)), 0


class FarApart(StartSource):
    """Structures of another source, those first that are farthest from all before.

    Of what costs no calls for forces many are drawn, and those that are much alike are left to the end.

    Parameters
    ----------
    source : of the structures.
    structure : a relaxed one, in which bonds and stereochemistry are seen.
    pool : structures that are drawn at once.
    """

    def __init__(self, source: StartSource, structure: Atoms, pool: int = 1000) -> None:
        if pool < 1:
            raise InputError(f"pool={pool}; expected a whole number from 1 on")
        self.name, self._source, self._pool = f"{source.name}, far apart", source, pool
        molecule = molecule_of(structure, "the structure of the molecule")
        self._exchanges = Exchanges.of(molecule, structure.positions)
        self._given = np.empty((0, len(self._exchanges.atoms), 3))

    def draw(self, n: int) -> tuple[list[Atoms], int]:
        drawn, cost = self._source.draw(self._pool)
        if not drawn:
            return [], cost
        shapes = self._exchanges.compared(np.array([atoms.positions for atoms in drawn]))
        nearest = self._exchanges.distances(self._given, shapes).min(axis=0, initial=np.inf)
        chosen: list[int] = []
        while len(chosen) < min(n, len(drawn)):
            chosen.append(int(nearest.argmax()))
            nearest = np.minimum(nearest, self._exchanges.distances(shapes[chosen[-1:]], shapes)[0])
        self._given = np.concatenate([self._given, shapes[chosen]])
        return [drawn[k] for k in chosen], cost


class Jittered(StartSource):
    """Frames of a trajectory, drawn at random, every atom moved by Gaussian noise.

    Parameters
    ----------
    noise : Å, standard deviation of each coordinate.
    """

    def __init__(
        self, frames: Sequence[Atoms], noise: float = 0.1, seed: int = 0, name: str = "jittered frames"
    ) -> None:
        self.name, self._frames, self._noise = name, checked_frames(frames), checked_positive("noise", noise)
        self._rng = np.random.default_rng(seed)

    def draw(self, n: int) -> tuple[list[Atoms], int]:
        drawn = [self._frames[k].copy() for k in self._rng.integers(len(self._frames), size=n)]
        for atoms in drawn:
            atoms.positions += self._noise * self._rng.standard_normal(atoms.positions.shape)
        return drawn, 0


class Embedded(StartSource):
    """Structures that RDKit makes of the bonds (ETKDG), without any relaxation.

    Parameters
    ----------
    structure : a relaxed one, in which bonds, their orders and stereochemistry are seen.

    Raises
    ------
    ConfigError
        When RDKit is not installed.
    InputError
        When no bond orders fit.
    """

    def __init__(self, structure: Atoms, seed: int = 0, name: str = "ETKDG") -> None:
        self.name, self._rng = name, np.random.default_rng(seed)
        self._molecule = _with_template(structure)

    def draw(self, n: int) -> tuple[list[Atoms], int]:
        return embed(self._molecule, n, int(self._rng.integers(2**31)), relaxed=False), 0


class Restarted(StartSource):
    """Structures after short molecular dynamics from frames drawn at random, with new velocities.

    Parameters
    ----------
    temperature : K.
    steps : of 1 fs, each of which costs a call for forces.
    """

    def __init__(
        self,
        frames: Sequence[Atoms],
        calculator: Calculator,
        *,
        temperature: float = 600.0,
        steps: int = 200,
        seed: int = 0,
        name: str = "MD restarts",
    ) -> None:
        self.name, self._frames, self._calculator, self._steps = name, checked_frames(frames), calculator, steps
        self._rng = np.random.default_rng(seed)
        self._settings = DynamicsSettings(temperature=temperature, timestep=1.0, friction=0.01, seed=seed)

    def draw(self, n: int) -> tuple[list[Atoms], int]:
        starts = [self._frames[k] for k in self._rng.integers(len(self._frames), size=n)]
        settings = replace(self._settings, seed=int(self._rng.integers(2**31)))
        moved = move_each(starts, self._calculator, settings, self._steps)
        return [atoms for atoms in moved if atoms is not None], n * (self._steps + 1)


def checked_frames(frames: Sequence[Atoms]) -> list[Atoms]:
    """Frames as a list.

    Returns
    -------
    the same frames

    Raises
    ------
    InputError
        When there are none.
    """
    if not len(frames):
        raise InputError("no frames to start from: the list is empty")
    return list(frames)


def _with_template(structure: Atoms) -> Molecule:
    """Molecule of a structure with bond orders, whose template of RDKit has the stereochemistry of the structure."""
    molecule = molecule_of(structure, "the structure of the molecule")
    ordered = with_bond_orders(Ensemble(molecule=molecule)).molecule
    from rdkit import Chem

    template = Chem.Mol(ordered.template)
    places = Chem.Conformer(template.GetNumAtoms())
    places.SetPositions(np.asarray(structure.positions, dtype=float))
    places.Set3D(True)
    template.AddConformer(places, assignId=True)
    Chem.AssignStereochemistryFrom3D(template)
    template.RemoveAllConformers()
    return replace(ordered, template=template)
