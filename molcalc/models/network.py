"""The contract of a network: what potentials, training and calculators may rely on, whatever its kind.

A new kind is a subclass of :class:`TrainableNetwork`, a subclass of :class:`NetworkConfig`, and an entry of
:data:`molcalc.registry.MODELS`; :func:`molcalc.testing.check_potential` tells whether it keeps the contract.
:class:`ReferenceEnergies` is the base that holds energies of free atoms; :class:`NoNetwork` keeps the contract without
contributing anything.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar, TypeVar

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor, nn

from molcalc.batch import AtomicBatch
from molcalc.errors import ConfigError
from molcalc.io.schema import Range, check_fields
from molcalc.units import LARGEST_Z

Self = TypeVar("Self", bound="Network")
Trainable = TypeVar("Trainable", bound="TrainableNetwork")
"""The class that a method is called on."""


Width = Annotated[int, Range(1, 65536)]
"""Features, hidden units or functions side by side."""
Depth = Annotated[int, Range(1, 100)]
"""Layers, blocks or modules one after another."""
Reach = Annotated[float, Range(0, 100, above=True)]
"""Å; a cutoff."""


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Sizes of a network: the arguments that a model file stores.

    Attributes
    ----------
    elements : trained atomic numbers; anything else is refused.
    max_number : largest atomic number the tables have a row for.
    """

    elements: tuple[int, ...]
    max_number: Annotated[int, Range(1, LARGEST_Z)] = 94

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.elements or min(self.elements) < 1 or max(self.elements) > self.max_number:
            raise ValueError(f"elements={self.elements}; allowed are 1…{self.max_number}")
        if len(set(self.elements)) < len(self.elements):
            raise ValueError(f"elements={self.elements}: one is named twice")

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain values.

        Returns
        -------
        dict by name of the field
        """
        return asdict(self)


class Network(nn.Module, ABC):
    """Function of structures that gives every atom an energy, and what else energy terms and results need.

    It is differentiated twice: everything between positions and energies has to be differentiable, and must not depend
    on whether gradients are recorded. It takes neither device nor dtype: it follows its weights.

    Attributes
    ----------
    float32_parameters : beginnings of the names of parameters (the large matrix products) that may be in single
        precision while all others are in double.
    """

    float32_parameters: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def forward(self, batch: AtomicBatch) -> dict[str, Float[Tensor, "n_atoms ..."]]:
        """Predictions by name.

        Parameters
        ----------
        batch : edges reach at least as far as ``cutoff``; is not changed.

        Returns
        -------
        ``atomic_energies`` (n_atoms,) float64 in eV, and every name in ``predicts``, (n_atoms, …)
        """

    @property
    @abstractmethod
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that it knows."""

    @property
    @abstractmethod
    def cutoff(self) -> float:
        """Range of the edges in Å."""

    @property
    @abstractmethod
    def predicts(self) -> tuple[str, ...]:
        """Names of the predictions beside the atomic energies: "charges", "spin_charges", "dcm_charges", …"""

    @property
    def charge_elements(self) -> tuple[int, ...]:
        """Atomic numbers whose charges are distributed as was learned; those of others are on the atoms."""
        return self.elements

    @property
    def fixed_in_space(self) -> tuple[str, ...]:
        """Properties that do not turn with the structure though they should; energies and charges always do."""
        return ()

    @property
    def rotation_invariant(self) -> bool:
        """Whether every prediction turns with the structure."""
        return not self.fixed_in_space

    @property
    def sees_charge(self) -> bool:
        """Whether atomic energies depend on the total charge, and not on elements and positions alone."""
        return True

    @property
    def extensive(self) -> bool:
        """Whether the energies of molecules out of each other's reach add up."""
        return True

    @property
    def n_fidelities(self) -> int:
        """Levels of theory that it knows; ``batch.fidelity`` is below this number."""
        return 1

    def set_dtype(self: Self, dtype: torch.dtype) -> Self:
        """Choose the arithmetic of ``float32_parameters``; all others are put into float64.

        Returns
        -------
        the network itself
        """
        for name, parameter in self.named_parameters():
            parameter.data = parameter.data.to(dtype if name.startswith(self.float32_parameters) else torch.float64)
        return self


class TrainableNetwork(Network):
    """Network with weights, made from a configuration that model files store.

    Parameters
    ----------
    config : sizes; weights are not initialized.

    Attributes
    ----------
    float64_parameters : names of parameters that stay in double precision while the others are trained in single.
    beside_energy : beginnings of the names of parameters that atomic energies do not depend on.
    """

    float64_parameters: ClassVar[tuple[str, ...]] = ()
    beside_energy: ClassVar[tuple[str, ...]] = ()
    config: NetworkConfig

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that it was trained on."""
        return self.config.elements

    @property
    @abstractmethod
    def dtype(self) -> torch.dtype:
        """Arithmetic of the large matrix products."""

    @abstractmethod
    def initialize(self: Trainable) -> Trainable:
        """Draw fresh weights (seed torch before) and set all reference energies to zero.

        Returns
        -------
        the network itself
        """

    @abstractmethod
    def set_reference_energies(self, energies: Mapping[int, float], fidelity: int = 0) -> None:
        """Set the energies in eV of free atoms by atomic number; those of other elements stay.

        Raises
        ------
        ConfigError
            For an atomic number without a row.
        """

    @abstractmethod
    def reference_energies(self, batch: AtomicBatch) -> Float64[Tensor, " n_atoms"]:
        """Energies of the free atoms.

        Returns
        -------
        (n_atoms,) float64, eV
        """

    def set_training_dtype(self: Trainable, dtype: torch.dtype) -> Trainable:
        """Put all weights but ``float64_parameters`` into one arithmetic.

        Returns
        -------
        the network itself
        """
        for name, parameter in self.named_parameters():
            if name not in self.float64_parameters:
                parameter.data = parameter.data.to(dtype)
        return self


class ReferenceEnergies(TrainableNetwork):
    """Base of networks, with one reference energy for every fidelity and element.

    Parameters
    ----------
    max_number : largest atomic number the table has a place for.
    n_fidelities : levels of theory.

    Attributes
    ----------
    shifts : (n_fidelities, max_number + 1) float64, eV, by atomic number; not initialized.
    """

    float64_parameters: ClassVar[tuple[str, ...]] = ("shifts",)

    def __init__(self, max_number: int, n_fidelities: int = 1) -> None:
        super().__init__()
        self.shifts = nn.Parameter(torch.empty(n_fidelities, max_number + 1, dtype=torch.float64))

    @property
    def n_fidelities(self) -> int:
        """Levels of theory that the network knows."""
        return self.shifts.shape[0]

    def set_reference_energies(self, energies: Mapping[int, float], fidelity: int = 0) -> None:
        """Set the energies in eV of free atoms by atomic number; those of other elements stay.

        Raises
        ------
        ConfigError
            For an atomic number that the network has no place for.
        """
        n_numbers = self.shifts.shape[1]
        for number, energy in energies.items():
            if not 1 <= number < n_numbers:
                raise ConfigError(f"reference energy of Z={number}; allowed are 1…{n_numbers - 1}")
            self.shifts.data[fidelity, number] = energy

    def reference_energies(self, batch: AtomicBatch) -> Float64[Tensor, " n_atoms"]:
        """(n_atoms,) float64 energies of the free atoms in eV."""
        return self.shifts.flatten().index_select(0, rows_of_atoms(batch, batch.fidelity, *self.shifts.shape))


def rows_of_atoms(
    batch: AtomicBatch, fidelity: Int[Tensor, " n_systems"], n_fidelities: int, n_numbers: int
) -> Int[Tensor, " n_atoms"]:
    """Row of each atom in a table of fidelities times atomic numbers.

    Parameters
    ----------
    fidelity : (n_systems,) int64, first index of the table.
    n_fidelities, n_numbers : size of the table.

    Returns
    -------
    (n_atoms,) int64
    """
    if n_fidelities == 1:  # spares small structures three operations
        return batch.numbers
    return fidelity.index_select(0, batch.system_idx) * n_numbers + batch.numbers


class NoNetwork(Network):
    """Network of a potential of energy terms alone, which contributes nothing.

    Parameters
    ----------
    elements : atomic numbers that the terms know.
    """

    cutoff = 3.0  # Å; edges are used to find atoms that are too close
    predicts = ()

    def __init__(self, elements: Sequence[int]) -> None:
        super().__init__()
        self._elements = tuple(elements)
        self.zero = nn.Parameter(torch.zeros((), dtype=torch.float64), requires_grad=False)

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that the terms know."""
        return self._elements

    def forward(self, batch: AtomicBatch) -> dict[str, Float[Tensor, "n_atoms ..."]]:
        """Return atomic energies of zero."""
        return {"atomic_energies": self.zero.expand(batch.n_atoms)}
