"""Settings of a ranking of conformers."""

from __future__ import annotations

from dataclasses import dataclass

from molcalc.calculators.thermochemistry import check_conditions
from molcalc.errors import ConfigError, checked_positive, checked_whole
from molcalc.simulate.relaxation_run import RelaxationSettings

ROUGH = 0.05
"""eV/Å to which all structures are relaxed at first: where several have met, one goes on for all of them."""
MOST_STRUCTURES = 1_000_000
"""Of one molecule: RDKit makes room for all of them at once."""
ENANTIOMERS = ("apart", "merge")
"""Mirror images among the conformers of a molecule: each a conformer, or one that counts twice."""


@dataclass(frozen=True, kw_only=True)
class RankingSettings:
    """Settings of a ranking.

    Attributes
    ----------
    n_structures : made of each molecule that is given by its bonds; None takes 50 to 600, by the bonds that turn.
    seed : of these structures.
    fmax, steps, optimizer : of the relaxations, see :class:`~molcalc.simulate.RelaxationSettings`.
    window : eV above the lowest energy within which conformers are kept.
    temperature : K, of weights and Gibbs energies.
    gibbs : whether ranks and weights go by Gibbs energies, at the harmonic approximation.
    pressure : Pa, of Gibbs energies.
    enantiomers : one of :data:`ENANTIOMERS`.
    duplicate_energy, duplicate_rmsd : eV and Å; two structures that differ by less in both are one conformer.

    Raises
    ------
    ConfigError
        When a value is out of range.
    """

    n_structures: int | None = None
    seed: int = 1
    fmax: float = 0.002
    steps: int = 500
    optimizer: str = "auto"
    window: float = 0.26
    temperature: float = 298.15
    gibbs: bool = False
    pressure: float = 101325.0
    enantiomers: str = "apart"
    duplicate_energy: float = 0.005
    duplicate_rmsd: float = 0.125

    def __post_init__(self) -> None:
        for name, lowest in (("n_structures", 1), ("seed", 0)):
            if (value := vars(self)[name]) is not None:
                checked_whole(name, value, lowest)
        if self.n_structures is not None and self.n_structures > MOST_STRUCTURES:
            raise ConfigError(f"n_structures={self.n_structures} is out of any sense; at most {MOST_STRUCTURES:,}")
        for name in ("window", "duplicate_energy", "duplicate_rmsd"):
            checked_positive(name, float(vars(self)[name]))
        check_conditions(self.temperature, self.pressure)
        if self.enantiomers not in ENANTIOMERS:
            raise ConfigError(f"enantiomers={self.enantiomers!r}; choose one of {', '.join(ENANTIOMERS)}")
        self.relaxations()

    def relaxations(self) -> list[RelaxationSettings]:
        """Relaxations of a structure one after the other, to smaller and smaller forces."""
        forces = [ROUGH, self.fmax] if self.fmax < ROUGH else [self.fmax]
        return [RelaxationSettings(fmax=fmax, steps=self.steps, optimizer=self.optimizer) for fmax in forces]
