"""A generator of conformers of one molecule: trained on structures of it, it proposes others."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, Literal

import numpy as np
import torch
from ase import Atoms
from numpy.typing import ArrayLike

from molcalc.conformers.vae.config import vae_config
from molcalc.conformers.vae.losses import ObjectiveConfig
from molcalc.conformers.vae.model_files import GeneratorParts, generator_checkpoint, load_generator, save_generator
from molcalc.conformers.vae.network import VAENetwork, VAENetworkConfig
from molcalc.conformers.vae.reference import ReferenceStructure
from molcalc.conformers.vae.run import VAEFitResult, fit_generator
from molcalc.conformers.vae.training import decoded, encoded
from molcalc.errors import CheckpointMismatchError, ConfigError, InputError, short, suggest
from molcalc.io.schema import LARGEST_SEED
from molcalc.notebook_tables import facts_table
from molcalc.surroundings import own_settings
from molcalc.train.data.opening import Data

PRIORS = ("gmm", "normal")
MOST_SAMPLES = 10**7


class ConformerVAE:
    """Variational autoencoder of the conformers of one molecule.

    It proposes structures for calculators to relax. What it proposes is like what it was trained on; it is no Boltzmann
    sample, and has no weights to make it one.

    >>> generator = ConformerVAE.for_molecule(atoms, latent_dim=16, loss="pairwise")
    >>> generator.fit("trajectory.db", output="runs/generator")
    >>> proposed = generator.sample(200, seed=0)

    Made by :meth:`for_molecule` or :meth:`load`.

    Attributes
    ----------
    reference : molecule, its bonds, and the structure that labels are taken from.
    """

    def __init__(self, parts: GeneratorParts) -> None:
        self._parts = parts

    def _shown(self) -> dict[str, str]:
        """What somebody who looks at a generator wants to know of it, after the molecule."""
        parts, molecule = self._parts, self.reference.molecule
        state = {"model_hash": generator_checkpoint(parts).hash} if self.trained else {"trained": "not yet"}
        return {
            "atoms": str(len(molecule.numbers)),
            "charge": str(molecule.charge),
            "multiplicity": str(molecule.multiplicity),
            "latent_dim": str(parts.network_config.latent_dim),
            "loss": parts.objective.loss,
            "hand": parts.objective.hand,
            **state,
        }

    def __repr__(self) -> str:
        told = ", ".join(f"{name} {value}" for name, value in self._shown().items())
        return f"<ConformerVAE {self.reference.molecule.name}: {told}>"

    def _repr_html_(self) -> str:
        return facts_table("ConformerVAE", {"molecule": self.reference.molecule.name, **self._shown()})

    @classmethod
    def for_molecule(cls, atoms: Atoms, **options: Any) -> ConformerVAE:
        """A generator that has learned nothing yet.

        Parameters
        ----------
        atoms : structure whose order of atoms, bonds and labels all others have to have.
        options : of :class:`~molcalc.conformers.vae.network.VAENetworkConfig` and
            :class:`~molcalc.conformers.vae.losses.ObjectiveConfig`, such as ``latent_dim``, ``loss``, ``hand``.

        Returns
        -------
        generator, to be trained by :meth:`fit`

        Raises
        ------
        InputError
            When the structure is periodic or not finite, or is of several molecules or of one atom.
        ConfigError
            For an unknown option or a value out of range.
        """
        allowed = (*VAENetworkConfig.__dataclass_fields__, *ObjectiveConfig.__dataclass_fields__)
        for name in options:
            if name not in allowed:
                raise ConfigError(
                    f"unknown option {name!r}{suggest(name, allowed)}; of a generator there are {', '.join(allowed)}, "
                    "and fit() takes those of training"
                )
        config = vae_config(options)
        return cls(GeneratorParts(ReferenceStructure.of(atoms), config.network, config.objective))

    @property
    def reference(self) -> ReferenceStructure:
        """Molecule that it is for."""
        return self._parts.reference

    @property
    def trained(self) -> bool:
        """Whether it has learned something."""
        return self._parts.network is not None

    @own_settings()
    def fit(
        self,
        data: Data | None = None,
        *,
        output: str | os.PathLike[str] | None = None,
        valid: float | Data | None = None,
        test: float | Data | None = None,
        resume: bool | Literal["auto"] = False,
        progress: bool = True,
        **options: Any,
    ) -> VAEFitResult:
        """Train on structures of the molecule, from new weights; afterwards this generator is the best model.

        Parameters
        ----------
        data : an ASE database, a trajectory, any file of structures or a list of them, as ``molcalc train`` takes
            them (``run.db@split=train``, ``run.traj@::10``), or a list of Atoms. No label is needed.
        output : folder of the run, which is the model; without it nothing is kept on disk.
        valid, test : share or number of structures held out (0.1 and none unless given), or files of their own. The
            end of every trajectory is held out, unless ``split`` says otherwise.
        resume : go on with the run in ``output``; "auto" begins it where there is none.
        progress : show a bar on stderr.
        options : of :class:`~molcalc.conformers.vae.config.VAEConfig`, each in its part or without it, such as
            ``epochs``, ``sigma``, ``beta``, ``seed``; they win over those of :meth:`for_molecule`.

        Returns
        -------
        folder, errors of held-out structures, and history

        Raises
        ------
        ConfigError
            For an unknown option or a value out of range.
        InputError, DatasetError
            When a frame is not of this molecule, is periodic or not finite, or there are too few; names it.
        CheckpointError
            When ``output`` holds another run, or one of another molecule, is in use, or cannot be resumed.
        NonFiniteResultError
            When a loss is not finite: names the batch; the last good state is kept.
        KeyboardInterrupt
            When interrupted: the state was saved, ``resume=True`` goes on.
        """
        own = {**asdict(self._parts.network_config), **asdict(self._parts.objective)}
        unseen = {"plots": False} if output is None else {}  # pictures that nobody could look at
        held_out = {name: value for name, value in (("valid", valid), ("test", test)) if value is not None}
        with tempfile.TemporaryDirectory() as nowhere:
            result, parts = fit_generator(
                self.reference,
                {"data": data, **held_out},
                {**unseen, **options},
                own,
                output=os.path.join(nowhere, "run") if output is None else output,
                resume=resume,
                progress=progress,
            )
        self._parts = parts
        return result if output is not None else replace(result, output="")

    def encode(self, structures: Sequence[Atoms]) -> tuple[np.ndarray, np.ndarray]:
        """Where structures are in the latent space.

        Parameters
        ----------
        structures : of the molecule; labels of groups such as CH3 may be in any cyclic order.

        Returns
        -------
        means : (n_structures, n_latent).
        log_variances : (n_structures, n_latent).

        Raises
        ------
        InputError
            When a structure is not of the molecule; names it.
        ConfigError
            When nothing has been learned yet.
        """
        network = self._network()
        positions = torch.from_numpy(self.reference.frames_of(structures)).to(network.least)
        if not len(positions):
            empty = np.empty((0, network.config.latent_dim))
            return empty, empty.copy()
        means, log_variances = encoded(network, positions)
        return means.double().numpy(), log_variances.double().numpy()

    def decode(self, latents: ArrayLike) -> list[Atoms]:
        """Structures of points in the latent space.

        Parameters
        ----------
        latents : (n_structures, n_latent).

        Returns
        -------
        structures with charge and multiplicity in their ``info``

        Raises
        ------
        InputError
            When the points are no numbers, have another number of dimensions, are not finite, or so far from those of
            any structure that the network overflows.
        ConfigError
            When nothing has been learned yet.
        """
        network = self._network()
        n_latent = network.config.latent_dim
        try:
            points = np.asarray(latents)
        except ValueError as error:
            raise InputError(f"latents are no array; expected (n_structures, {n_latent})") from error
        if points.dtype.kind not in "iuf":
            raise InputError(f"latents are of type {points.dtype}; expected real numbers, (n_structures, {n_latent})")
        points = points.astype(np.float64)
        if points.ndim != 2 or points.shape[1] != n_latent:
            raise InputError(f"latents have the shape {points.shape}; expected (n_structures, {n_latent})")
        if not np.isfinite(points).all():
            raise InputError("latents are not finite")
        if not len(points):
            return []
        positions = decoded(network, torch.from_numpy(points).to(network.least)).double().numpy()
        wrong = ~np.isfinite(positions).all((1, 2))
        if wrong.any():
            k = int(wrong.argmax())
            raise InputError(
                f"latent {k} has numbers up to {np.abs(points[k]).max():.3g}, of which the decoder makes no structure; "
                "those of training structures are of the order of 1"
            )
        return [self.reference.molecule.structure(each) for each in positions]

    def sample(self, n: int, *, prior: str = "gmm", seed: int = 0) -> list[Atoms]:
        """New structures, to be relaxed.

        Parameters
        ----------
        n : number of structures.
        prior : "gmm", a mixture of narrow normal distributions, one about each training structure, in which groups of
            structures keep their shares; or "normal", which goes beyond these, and finds more that is wrong.
        seed : of the points.

        Returns
        -------
        structures with charge and multiplicity in their ``info``

        Raises
        ------
        ConfigError
            For an unknown prior, a number or seed out of range, or when nothing has been learned yet.
        """
        for name, value, least, most in (("n", n, 1, MOST_SAMPLES), ("seed", seed, 0, LARGEST_SEED)):
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or not least <= value <= most:
                raise ConfigError(f"{name}={short(value)}; expected a whole number from {least} to {most}")
        if prior not in PRIORS:
            raise ConfigError(f"prior={short(prior)}{suggest(str(prior), PRIORS)}; choose one of {', '.join(PRIORS)}")
        network, rng = self._network(), np.random.default_rng(seed)
        if prior == "normal":
            return self.decode(rng.standard_normal((n, network.config.latent_dim)))
        if self._parts.mixture is None:
            raise ConfigError(
                "this model was saved before its training ended, and has no mixture yet: resume the run, or sample "
                "with prior='normal'"
            )
        return self.decode(self._parts.mixture.sample(n, rng))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model into a folder.

        Raises
        ------
        ConfigError
            When nothing has been learned yet.
        CheckpointError, ResourceError
            When a weight is not finite, or the folder cannot be written: what was there stays.
        """
        self._network()
        save_generator(path, self._parts)

    @classmethod
    def load(cls, path: str | os.PathLike[str], atoms: Atoms | None = None) -> ConformerVAE:
        """Read a generator that :meth:`save` or a run has written; nothing in it is executed.

        Parameters
        ----------
        atoms : structure of the molecule that it is meant for; one of another is refused.

        Returns
        -------
        the generator

        Raises
        ------
        FileNotFoundError, CheckpointError
            When there is no model, it is damaged, or is no generator, or of another molecule.
        """
        found = cls(load_generator(path))
        if atoms is not None:
            try:
                found.reference.frames_of([atoms])
            except InputError as error:
                raise CheckpointMismatchError(
                    f"{path} is a generator of {found.reference.molecule.formula}, and not of this molecule: {error}"
                ) from error
        return found

    def _network(self) -> VAENetwork:
        if self._parts.network is None:
            raise ConfigError("this generator has learned nothing yet: call fit(), or load a trained one")
        return self._parts.network
