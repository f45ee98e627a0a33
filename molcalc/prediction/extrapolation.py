"""Judgement of structures against what a model was trained on, and of how far the networks of an ensemble agree.

What is found is told once for each molecule and reason, or refused, or passed over, as the user wants it. One thing is
always refused: a charge that the data do not have, of a model whose energies do not depend on the charge at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from molcalc.batch import AtomicBatch
from molcalc.errors import ChargeError, ConfigError, ExtrapolationError, ExtrapolationWarning, suggest, warn_user
from molcalc.fidelity import Fidelity
from molcalc.knowledge import SPREAD, Knowledge, formula_of, too_wide
from molcalc.potential import Potential
from molcalc.state import State
from molcalc.units import SYMBOLS, hill_formula, symbols_of

ON_EXTRAPOLATION = ("warn", "raise", "ignore")
"""What may be done about a structure that is unlike the training data."""
FEW_STEPS = 4
"""Steps from neighbor to neighbor that are tried before all fragments are found."""


def checked_choice(choice: str) -> str:
    """One of :data:`ON_EXTRAPOLATION`.

    Returns
    -------
    the choice

    Raises
    ------
    ConfigError
        For anything else.
    """
    if choice not in ON_EXTRAPOLATION:
        near = suggest(str(choice), ON_EXTRAPOLATION)
        raise ConfigError(f"on_extrapolation={choice!r}{near}; choose one of {', '.join(ON_EXTRAPOLATION)}")
    return choice


def judge_of(choice: str, model: str, fidelities: Sequence[Fidelity], potential: Potential) -> Extrapolation:
    """Judge of the structures that a potential is asked about.

    Parameters
    ----------
    choice : one of :data:`ON_EXTRAPOLATION`.
    model : its name, for messages.
    fidelities : with what is known of their data.

    Returns
    -------
    Extrapolation
    """
    sees_spin = "spin_charges" in potential.predicts
    return Extrapolation(
        choice, model, fidelities, charge_elements=potential.charge_elements, sees_charge=potential.sees_charge,
        sees_spin=sees_spin,
    )  # fmt: skip


class Extrapolation:
    """Judge of the structures that a model is asked about.

    Parameters
    ----------
    choice : one of :data:`ON_EXTRAPOLATION`.
    model : its name, for messages.
    fidelities : with what is known of their data.
    charge_elements : atomic numbers whose distributed charges were learned.
    sees_charge, sees_spin : whether the energy depends on total charge and multiplicity.
    """

    def __init__(
        self,
        choice: str,
        model: str,
        fidelities: Sequence[Fidelity],
        *,
        charge_elements: Sequence[int],
        sees_charge: bool,
        sees_spin: bool,
    ) -> None:
        self._choice, self._model, self._fidelities = checked_choice(choice), model, tuple(fidelities)
        self._sees_charge, self._sees_spin = sees_charge, sees_spin
        self._charge_elements = frozenset(charge_elements)
        self._passed: set[tuple[bytes, State]] = set()
        self._told: set[tuple[str, bytes, int, int]] = set()
        self._limits: dict[int, np.ndarray] = {}

    def check_state(self, numbers: np.ndarray, state: State) -> None:
        """Judge composition, charge and multiplicity; a state that was judged before costs nothing.

        Parameters
        ----------
        numbers : (n_atoms,) atomic numbers.

        Raises
        ------
        ChargeError
            When the model does not see charge, and this one was not in its data.
        ExtrapolationError
            When the user wants errors, and the data had nothing of the kind.
        """
        key = (numbers.tobytes(), state)
        if not self._fidelities or key in self._passed:
            return
        if strange := set(numbers.tolist()) - self._charge_elements:
            self._tell("charges", numbers, state, lambda name: (
                f"{name}: the charges around {symbols_of(strange)} were not learned by {self._model!r}: these atoms "
                "have charges on them only, and dipole and potential are less accurate (energy and forces are not "
                "concerned)"
            ))  # fmt: skip
        known = self._fidelities[state.fidelity].knowledge
        if known is None:
            self._check_unrecorded(numbers, state)
        else:
            self._check_charge(numbers, state, known)
            if self._sees_spin and state.multiplicity not in known.multiplicities:
                self._tell("multiplicity", numbers, state, lambda name: (
                    f"{name} has multiplicity {state.multiplicity}; the training data of {self._model!r} have "
                    f"{_listed(known.multiplicities)}: its energy is a guess"
                ))  # fmt: skip
            if known.learned is None or "energy" in known.learned:
                self._check_composition(numbers, state, known)
            else:
                self._tell_of_energies(numbers, state, known.learned)
        self._passed.add(key)

    def check_distances(self, numbers: np.ndarray, squared: np.ndarray, index: np.ndarray, state: State) -> None:
        """Judge the distances of near atoms.

        Parameters
        ----------
        squared : (n_edges,) Å².
        index : (2, n_edges) their atoms.

        Raises
        ------
        ExtrapolationError
            When the user wants errors, and a distance is shorter than any in the data by more than a tenth.
        """
        if self._choice == "ignore" or not self._fidelities:
            return
        known = self._fidelities[state.fidelity].knowledge
        if known is None or self._was_told("distance", numbers, state):
            return
        if state.fidelity not in self._limits:
            self._limits[state.fidelity] = known.closest**2
        ends = numbers[index]
        close = squared < self._limits[state.fidelity][ends[0], ends[1]]
        if not close.any():
            return
        edges = np.flatnonzero(close)
        worst = edges[np.argmin(squared[edges])]
        i, j = sorted(int(atom) for atom in index[:, worst])
        pair = "-".join(SYMBOLS[z] for z in sorted((int(numbers[i]), int(numbers[j]))))
        shortest = known.shortest.get(pair)
        seen = f"{shortest:.2f} Å is the shortest" if shortest else "such atoms are never neighbors"
        self._tell("distance", numbers, state, lambda name: (
            f"{name}: {pair} of atoms {i} and {j} are {np.sqrt(squared[worst]):.2f} Å apart; in the training data of "
            f"{self._model!r} {seen}: energy and forces are a guess"
        ))  # fmt: skip

    def check_fragments(self, numbers: np.ndarray, index: np.ndarray, cutoff: float, state: State) -> None:
        """Tell of ions that a model cannot know, because their fragments do not see each other.

        Networks are told the total charge only, and share it among all atoms. Fragments are suspect where the whole is
        charged, or where one has an odd number of electrons without a charge.

        Parameters
        ----------
        index : (2, n_edges) atoms that see each other.
        cutoff : Å, as far as they do.

        Raises
        ------
        ExtrapolationError
            When the user wants errors.
        """
        n_atoms = len(numbers)
        if self._choice == "ignore" or not self._fidelities or not self._sees_charge or n_atoms < 2:
            return
        if _soon_together(index, n_atoms) or self._was_told("apart", numbers, state):
            return
        n_fragments, fragment = connected_components(coo_array((np.ones(len(index[0])), index), (n_atoms, n_atoms)))
        odd = np.bincount(fragment, weights=numbers).astype(int) % 2 == 1
        if n_fragments == 1 or not (state.charge or odd.any()):
            return
        first = odd.argmax()
        parts = [hill_formula(numbers[fragment == k]) for k in (first, int(first == 0))]
        self._tell("apart", numbers, state, lambda name: (
            f"{name} has parts that are more than {cutoff:g} Å apart ({parts[0]} and {parts[1]}), beyond which "
            f"{self._model!r} sees nothing: its networks share the total charge {state.charge} among all of them, "
            "which is wrong for ions, by an eV and more (docs/limits.md); compute ions one by one, each with its charge"
        ))  # fmt: skip

    def check_spread(self, batch: AtomicBatch, energy_std: float) -> None:
        """Judge the standard deviation of the energies of an ensemble.

        Parameters
        ----------
        batch : of one structure.
        energy_std : eV.

        Raises
        ------
        ExtrapolationError
            When the user wants errors, and the networks disagree as they do on structures that they do not know.
        """
        n_atoms = batch.n_atoms
        if not too_wide(energy_std, n_atoms):
            return
        state = State(round(float(batch.total_charge)), int(batch.multiplicity), int(batch.fidelity))
        per_atom = f"{1000 * energy_std / n_atoms:.1f} meV per atom"
        self._tell("spread", batch.numbers.numpy(), state, lambda name: (
            f"{name}: the networks of {self._model!r} disagree by {energy_std:.2f} eV, {per_atom}, and by at most "
            f"{1000 * SPREAD / n_atoms**0.5:.1f} on structures of this size that they know: do not trust the results"
        ))  # fmt: skip

    def _check_charge(self, numbers: np.ndarray, state: State, known: Knowledge) -> None:
        if state.charge in known.charges:
            return
        have = f"the training data of {self._model!r} have charge {_listed(known.charges)}"
        if not self._sees_charge:
            raise ChargeError(
                f"charge {state.charge}: energies of {self._model!r} do not depend on the charge, and {have}: the "
                'result would be that of another molecule; set atoms.info["charge"], or train a model on this charge'
            )
        self._tell("charge", numbers, state, lambda name: (
            f"{name} has charge {state.charge}; {have}: its energy is a guess"
        ))  # fmt: skip

    def _check_unrecorded(self, numbers: np.ndarray, state: State) -> None:
        """A model of which nothing is recorded: of those that do not see charge, neutral data are usual."""
        if state.charge and not self._sees_charge:
            self._tell("charge", numbers, state, lambda name: (
                f"{name} has charge {state.charge}, on which energies of {self._model!r} do not depend; its "
                "file does not say which charge it was trained on: for any other, the result is meaningless"
            ))  # fmt: skip

    def _check_composition(self, numbers: np.ndarray, state: State, known: Knowledge) -> None:
        elements, counts = np.unique(numbers, return_counts=True)
        if known.span is None or known.spans({SYMBOLS[z]: int(n) for z, n in zip(elements, counts)}):
            return
        rows = ", ".join(formula_of(row) for row in known.span) or "none"
        self._tell("composition", numbers, state, lambda name: (
            f"{name} is no sum or difference of the compositions with energies that {self._model!r} was trained on "
            f"({rows}), so that the energies of its free atoms are undetermined: its total energy may be wrong by "
            "hundreds of eV and must not be compared with other compositions (differences between its geometries are "
            "not concerned); train on more compositions"
        ))  # fmt: skip

    def _tell_of_energies(self, numbers: np.ndarray, state: State, learned: Sequence[str]) -> None:
        """What the energy of a model means that never saw one."""
        if {"forces", "stress"} & set(learned):
            meaning = (
                "is known up to a constant of every composition: compare geometries of one molecule only (forces are "
                "not concerned)"
            )
        else:
            meaning = "and forces mean nothing: use what it was trained on"
        self._tell("energy", numbers, state, lambda name: (
            f"{name}: {self._model!r} was trained on {', '.join(learned)} without energies: its energy {meaning}"
        ))  # fmt: skip

    def _was_told(self, reason: str, numbers: np.ndarray, state: State) -> bool:
        return self._choice == "warn" and (reason, numbers.tobytes(), state.charge, state.fidelity) in self._told

    def _tell(self, reason: str, numbers: np.ndarray, state: State, text: Callable[[str], str]) -> None:
        if self._choice == "ignore":
            return
        name = hill_formula(numbers)
        if self._choice == "raise":
            raise ExtrapolationError(f"{text(name)} (on_extrapolation='warn' computes it all the same)")
        molecule = np.sort(numbers)
        if not self._was_told(reason, molecule, state):
            self._told.add((reason, molecule.tobytes(), state.charge, state.fidelity))
            warn_user(text(name), ExtrapolationWarning)
        self._told.add((reason, numbers.tobytes(), state.charge, state.fidelity))


def _soon_together(index: np.ndarray, n_atoms: int) -> bool:
    """Whether few steps lead from the atom with the most neighbors to all others, as in most structures."""
    counts = np.bincount(index[0], minlength=n_atoms)
    center = counts.argmax()
    if counts[center] >= n_atoms - 1:
        return True
    reached = np.arange(n_atoms) == center
    for _ in range(FEW_STEPS):
        reached[index[1][reached[index[0]]]] = True
        if reached.all():
            return True
    return False


def _listed(values: Sequence[int]) -> str:
    return ", ".join(f"{value:d}" for value in values)
