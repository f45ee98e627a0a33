"""Options of the start of a run: a new network or given weights, and what the labels of each fidelity are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

from molcalc.assembly.terms import REPULSIONS, TRAINED_COULOMB, trained_coulomb
from molcalc.dispersion.parameters import as_stored, nearly_functionals
from molcalc.errors import ConfigError, short, suggest
from molcalc.fidelity import Fidelity
from molcalc.io.schema import Choice, Range, check_fields, from_dict
from molcalc.registry import DEFAULT_MODEL

COULOMB_ENERGIES = ("auto", *TRAINED_COULOMB)
"""Coulomb energies that a model may be trained with."""
OF_LABELS = ("functional", "dispersion", "dispersion_in_labels")
"""Options of a fidelity that say what its labels are."""
OF_TRAINING = ("subtract_dispersion", "base", "like")
"""Options of a fidelity that say how it is trained."""


@dataclass(frozen=True, kw_only=True)
class TrainedFidelity:
    """One fidelity of the data: what its labels are, and how they are learned.

    In options both stand side by side: ``pbe0: {functional: pbe0, base: gfn2}``.

    Attributes
    ----------
    labels : what the labels are; ``functional``, a note in the spelling of the D3 parameter sets, or another method,
        ``dispersion`` the term that completes the labels in the calculator ("d3bj:pbe0"), or None, and
        ``dispersion_in_labels`` whether they contain dispersion already.
    subtract_dispersion : take ``dispersion`` out of labels that contain it, train on the rest, and let the calculator
        add it again.
    base : another fidelity of the data, to which this one learns the difference (Δ-learning).
    like : fidelity of ``init`` that this one starts from; None takes the one of the same name, or the first.
    declared : which of the options about labels were given; a fidelity that goes on from ``init`` has the others from
        there.
    """

    labels: Fidelity
    subtract_dispersion: bool = False
    base: str | None = None
    like: str | None = None
    declared: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.subtract_dispersion and (self.labels.dispersion is None or not self.labels.dispersion_in_labels):
            raise ValueError(
                "subtract_dispersion needs dispersion_in_labels=True and the dispersion that they contain "
                "(dispersion='d3bj:pbe0')"
            )

    @classmethod
    def from_options(cls, name: str, options: Mapping[str, Any], where: str) -> TrainedFidelity:
        """Read the options of one fidelity.

        Parameters
        ----------
        name : of the fidelity.
        where : named in errors.

        Returns
        -------
        the fidelity, checked.

        Raises
        ------
        ConfigError
            For an unknown key (with the nearest valid one), or a value of the wrong type.
        """
        if not isinstance(options, Mapping):
            raise ConfigError(f"{where}: {short(options)} is a {type(options).__name__}; expected a mapping")
        known = (*OF_LABELS, *OF_TRAINING)
        for key in options:
            if key not in known:
                raise ConfigError(
                    f"{where}: unknown key {short(key)}{suggest(str(key), known)}; valid keys: {', '.join(known)}"
                )
        labels = {key: value for key, value in options.items() if key in OF_LABELS}
        if isinstance(labels.get("dispersion"), str):
            try:
                labels["dispersion"] = as_stored(labels["dispersion"])
            except ConfigError as error:
                raise ConfigError(f"{where}: {error}") from error
        functional = labels.get("functional")
        if isinstance(functional, str) and (near := nearly_functionals(functional)):
            raise ConfigError(
                f"{where}: functional {functional!r} is in no table of D3 or D4, and near {', '.join(near)}: correct "
                "it, or leave it out (the name of the fidelity says what the labels are)"
            )
        training = {key: value for key, value in options.items() if key in OF_TRAINING}
        found = from_dict(Fidelity, {**labels, "name": name}, where)
        return from_dict(cls, {**training, "labels": found, "declared": tuple(labels)}, where)

    def to_options(self) -> dict[str, Any]:
        """Plain values that :meth:`from_options` reads back."""
        values = {**asdict(self), **asdict(self.labels)}
        return {key: values[key] for key in (*self.declared, *OF_TRAINING)}


@dataclass(frozen=True, kw_only=True)
class StartConfig:
    """Options of the start: a new network or given weights, and the labels of each fidelity.

    Attributes
    ----------
    model : "aimnet2", "aimnet2-dcm", "aimnet2-noneq-dcm", "physnet-dcm" or "noneq-dcm".
    arguments : fields of the network's own configuration that differ from its defaults.
    preset : named size of the network, where it has several.
    init : published name, model file or directory to start from; None starts from random weights.
    init_member : which network of an ensemble to start from.
    keep_fidelities : keep the fidelities of ``init`` that the data do not have. What all share changes with training,
        unless it is frozen (``groups``).
    coulomb : Coulomb energy of the model: "auto" (AIMNet2 "simple", models of distributed charges None; that of
        ``init``), "simple" (beyond bonds), "physnet" (also between bonded atoms), "distributed" (of the charges around
        the atoms), or None. Periodic structures need another sum: "dsf" (molecules and any periodicity), "ewald" or
        "pme" (three periodic directions) for "simple", "shifted" for "physnet". The model remembers it.
    coulomb_options : of that sum: ``cutoff`` (Å) and ``alpha`` (1/Å) of "dsf", ``accuracy``, ``alpha``,
        ``real_cutoff`` and ``reciprocal_cutoff`` of "ewald", ``accuracy`` and ``real_cutoff`` of "pme", ``cutoff`` of
        "shifted".
    repulsion : "zbl" or None, repulsion of nuclei at distances shorter than bonds.
    reference_energies : self-atomic energies, which are added to what the network predicts: "fit" to the training data,
        "isolated" for the energies of neutral single atoms in the data, a file of ``molcalc sae``, energies in eV by
        element ({"H": -13.6, …}), or any of these by fidelity ({"pbe0": …}). Fidelities that go on from ``init`` keep
        theirs.
    fidelities : by name, what labels are and how they are learned. Data without a name are "default".
    """

    model: str = DEFAULT_MODEL
    arguments: dict[str, Any] = field(default_factory=dict)
    preset: str = "default"
    init: str | None = None
    init_member: Annotated[int, Range(0)] = 0
    keep_fidelities: bool = False
    coulomb: Annotated[str, Choice(COULOMB_ENERGIES)] | None = "auto"
    coulomb_options: dict[str, float] = field(default_factory=dict)
    repulsion: Annotated[str, Choice(REPULSIONS)] | None = None
    reference_energies: str | dict[str, Any] = "fit"
    fidelities: dict[str, TrainedFidelity] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_fields(self)
        if self.coulomb in (None, "auto"):
            if self.coulomb_options:
                raise ConfigError(f"coulomb_options={self.coulomb_options}: say of which sum, such as coulomb='dsf'")
        else:
            trained_coulomb(self.coulomb, self.coulomb_options)

    def trained_fidelity(self, name: str) -> TrainedFidelity:
        """Options of a fidelity; nothing but its name where a user says nothing of it."""
        return self.fidelities.get(name, TrainedFidelity(labels=Fidelity(name=name)))
