"""Fidelities: the levels of theory that labels were computed at and that a model predicts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from molcalc.errors import ConfigError, FidelityError, UnsupportedElementError, short, suggest
from molcalc.knowledge import Knowledge
from molcalc.units import LARGEST_Z, symbols_of

UNNAMED = "default"
"""Name of the only fidelity of data that say nothing of it."""


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """One level of theory.

    Attributes
    ----------
    name : what users call it.
    functional : density functional of the labels, in the spelling of the D3 parameter sets; or None.
    dispersion : term that completes the labels ("d3bj:wb97m"), or None.
    dispersion_in_labels : whether the labels already contain dispersion.
    elements : atomic numbers that it was trained on; None for all of the network's, none where it was never trained.
    knowledge : what else its training data covered; None where the file does not say.

    Raises
    ------
    ConfigError
        When it has no name, or elements that do not exist or come twice.
    """

    name: str
    functional: str | None = None
    dispersion: str | None = None
    dispersion_in_labels: bool = False
    elements: tuple[int, ...] | None = None
    knowledge: Knowledge | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise ConfigError("a fidelity without a name: give it one")
        if self.elements is None:
            return
        strange = [z for z in self.elements if not 1 <= z <= LARGEST_Z]
        if strange or len(set(self.elements)) < len(self.elements):
            raise ConfigError(
                f"fidelity {self.name!r} has the elements {short(self.elements)}; expected different atomic numbers "
                f"from 1 to {LARGEST_Z}"
            )

    def unknown_elements(self, numbers: np.ndarray) -> list[int]:
        """Atomic numbers in a structure that this fidelity was not trained on, ascending."""
        present: list[int] = np.unique(numbers).tolist()
        return [] if self.elements is None else [z for z in present if z not in self.elements]


def find_fidelity(names: Sequence[str], name: str | None, model: str) -> int:
    """Index of a fidelity; None is enough where there is only one.

    Returns
    -------
    position in ``names``

    Raises
    ------
    FidelityError
        When the name is unknown, or missing where there are several; lists them.
    """
    if name is None and len(names) == 1:
        return 0
    if name is None:
        raise FidelityError(
            f"{model!r} has several fidelities: choose one with fidelity=NAME: {', '.join(map(repr, names))}"
        )
    if name not in names:
        raise FidelityError(
            f"fidelity={short(name)}{suggest(str(name), names)}: {model!r} has {', '.join(map(repr, names))}"
        )
    return list(names).index(name)


def fidelities_knowing(
    numbers: np.ndarray, fidelities: Sequence[Fidelity], chosen: Iterable[int], model: str
) -> list[int]:
    """Indices of the chosen fidelities that know all elements of a structure.

    Returns
    -------
    indices in ``fidelities``, at least one

    Raises
    ------
    UnsupportedElementError
        When there is none; names the first of them, what it does not know, and the fidelities that know it.
    """
    chosen = list(chosen)
    knowing = [k for k in chosen if not fidelities[k].unknown_elements(numbers)]
    if knowing:
        return knowing
    first = fidelities[chosen[0]]
    z = first.unknown_elements(numbers)[0]
    where = np.flatnonzero(numbers == z).tolist()
    others = [fidelity.name for fidelity in fidelities if not fidelity.unknown_elements(np.array([z]))]
    cure = f"fidelities that know it: {', '.join(map(repr, others))}" if others else "no fidelity of it knows it"
    raise UnsupportedElementError(
        f"element {symbols_of([z])} of atoms {where} was not in the data of fidelity {first.name!r} of {model!r} "
        f"(known: {', '.join(symbols_of([e]).split()[0] for e in first.elements or ())}); {cure}"
    )


def match_fidelities(of_model: Sequence[str], of_data: Sequence[str], fidelity: str | None = None) -> list[int]:
    """For every fidelity of data the index of the one of a model that it is compared with, by name.

    Parameters
    ----------
    fidelity : of the model, for data whose fidelity has no name; None is right for a model that has only one.

    Returns
    -------
    position in ``of_model`` for each name in ``of_data``

    Raises
    ------
    FidelityError
        When the model does not have a fidelity of the data, or it is not clear which one is meant.
    """
    unnamed = tuple(of_data) == (UNNAMED,) and UNNAMED not in of_model
    if fidelity is not None and len(of_data) > 1:
        raise FidelityError(f"fidelity={fidelity!r}, but the data have {', '.join(of_data)}: leave it out")
    if unnamed and fidelity is None and len(of_model) > 1:
        raise FidelityError(f"the model has the fidelities {', '.join(of_model)}: say which one the data are of")
    wanted = [fidelity or of_model[0]] if unnamed or fidelity is not None else list(of_data)
    for name in wanted:
        if name not in of_model:
            raise FidelityError(
                f"unknown fidelity {name!r}{suggest(name, of_model)}; the model has {', '.join(of_model)}"
            )
    return [list(of_model).index(name) for name in wanted]
