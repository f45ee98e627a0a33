"""Charge, multiplicity and fidelity of a structure: precedence of what states them, and contradictions.

The one rule for calculators, rows of databases, frames of files and commands. What is higher in this table decides;
two sources of one line that differ, and a charge or multiplicity that differs from a source below it, are errors.

============ ========================================================================================
charge       argument; keys of :data:`CHARGE_KEYS`; sum of initial charges if it is not zero; 0
multiplicity argument; keys of :data:`MULTIPLICITY_KEYS` (all 2S+1) and :data:`UNPAIRED_KEYS` (2S);
             the lowest that the number of electrons allows
fidelity     argument; key ``fidelity``
============ ========================================================================================

Keys are those of ``atoms.info``, or of a row's ``key_value_pairs`` and ``data``, in any spelling that :func:`state_key`
knows; a value is one number, or an array of one. A fidelity in a file says what its labels are of, not what is to be
computed: an argument that differs from it is no contradiction.
"""

from __future__ import annotations

import numbers
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from molcalc.errors import ChargeError, SpinError, short

CHARGE_KEYS = ("charge", "total_charge", "net_charge", "molecular_charge", "mol_charge", "tot_charge")
MULTIPLICITY_KEYS = ("spin", "multiplicity", "spin_multiplicity", "mult", "molecular_multiplicity")
UNPAIRED_KEYS = ("uhf", "unpaired_electrons", "n_unpaired")
"""Number of unpaired electrons, 2S."""
FIDELITY_KEY = "fidelity"
STATE_KEYS = (*CHARGE_KEYS, *MULTIPLICITY_KEYS, *UNPAIRED_KEYS, FIDELITY_KEY)
_PLAIN = {key.replace("_", ""): key for key in STATE_KEYS}
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_CHARGE_WORDS = {"charge", "chg", "chrg", "q", "qtot", "charges"}
_MULTIPLICITY_WORDS = {"spin", "mult", "multiplicity", "unpaired"}
"""Words in names that seem to state a charge or multiplicity, in lower case."""

WHOLE = 1e-9
"""Deviation from an integer that is taken for rounding of a sum in double precision."""
ROUNDING_PER_ATOM = 0.005
"""e by which an initial charge may be rounded: half a unit of two printed digits."""
MAX_ROUNDING = 0.1
"""e by which the sum of initial charges may miss an integer, however many atoms there are."""
MOMENT_ROUNDING = 0.25
"""μ_B by which the sum of initial magnetic moments may miss an integer: moments of atoms overlap and are rounded."""
LARGEST_CHARGE = 4
"""e that any structure may have; more of them need as many atoms."""

INFO_KEY = 'atoms.info["{}"]'
ROW_KEY = "key {}"
"""How messages name a key."""
_Error = type[ChargeError] | type[SpinError]


@lru_cache(maxsize=4096)
def state_key(name: str) -> str | None:
    """Key of :data:`STATE_KEYS` that a name spells, whatever its case and separators ("TotalCharge", "NET-CHARGE").

    Returns
    -------
    the key, or None for other names
    """
    return _PLAIN.get(re.sub(r"[\W_]", "", name).lower())


def single(value: Any) -> Any:
    """Value itself, or the one in an array or list of one."""
    while isinstance(value, (list, tuple)) and len(value) == 1:
        value = value[0]
    return value.item() if isinstance(value, np.ndarray) and value.size == 1 else value


def is_single(value: Any) -> bool:
    """Whether a value is a number or text, or an array or list of one."""
    return not isinstance(single(value), (list, tuple, np.ndarray, Mapping))


def is_of_atoms(value: Any, n_atoms: int) -> bool:
    """Whether a value under a key of the state is one for each of several atoms, which states nothing of them all."""
    if n_atoms == 1 or not isinstance(value, (list, tuple, np.ndarray)):
        return False
    return np.ndim(value) > 0 and len(value) == n_atoms


@dataclass(frozen=True)
class State:
    """Charge, multiplicity and fidelity of one structure.

    Attributes
    ----------
    charge : e.
    multiplicity : 2S+1.
    fidelity : index among the fidelities of the model or data.
    charge_stated, multiplicity_stated : whether anything says so; the defaults are taken otherwise. They do not count
        when states are compared.
    """

    charge: int
    multiplicity: int
    fidelity: int = 0
    charge_stated: bool = field(default=False, compare=False)
    multiplicity_stated: bool = field(default=False, compare=False)

    @classmethod
    def of(
        cls,
        info: Mapping[str, Any],
        *,
        n_atoms: int,
        protons: int,
        initial_charge: float | None = None,
        charge: Any = None,
        multiplicity: Any = None,
        fidelity: int = 0,
        key: str = INFO_KEY,
    ) -> State:
        """State that holds for a structure.

        Parameters
        ----------
        info : keys and values that come with the structure; None is no value.
        protons : sum of atomic numbers.
        initial_charge : e, sum of initial charges; None where there are none.
        charge, multiplicity : explicit arguments; None leaves the choice to the structure.
        key : how messages name a key, :data:`INFO_KEY` or :data:`ROW_KEY`.

        Returns
        -------
        State

        Raises
        ------
        ChargeError, SpinError
            As of :func:`resolve_charge` and :func:`resolve_multiplicity`.
        """
        found = resolve_charge(
            info, n_atoms=n_atoms, protons=protons, initial_charge=initial_charge, argument=charge, key=key
        )
        total = 0 if found is None else found
        electrons = protons - total
        spin = resolve_multiplicity(info, n_atoms=n_atoms, electrons=electrons, argument=multiplicity, key=key)
        lowest = lowest_multiplicity(electrons)
        return cls(total, lowest if spin is None else spin, fidelity, found is not None, spin is not None)


def charge_argument(value: Any) -> int | None:
    """Total charge in e that a caller imposes on every structure, or None.

    Returns
    -------
    e, or None

    Raises
    ------
    ChargeError
        When it is not a whole number.
    """
    return None if value is None else _whole(value, "charge", "argument charge", ChargeError)


def multiplicity_argument(multiplicity: Any = None, *, mult: Any = None, spin: Any = None) -> int | None:
    """Multiplicity 2S+1 that a caller imposes on every structure, by any of its names, or None.

    Returns
    -------
    2S+1, or None

    Raises
    ------
    SpinError
        When it is not a whole number from 1, or the names contradict each other.
    """
    given = {"multiplicity": multiplicity, "mult": mult, "spin": spin}
    stated = {
        f"argument {name}": _whole(value, name, f"argument {name}", SpinError)
        for name, value in given.items()
        if value is not None
    }
    found = _agreed(stated, "multiplicities", SpinError)
    if found is not None and found < 1:
        raise SpinError(f"{next(iter(stated))} = {found} is 2S+1 and cannot be below 1; give 1 for closed shells")
    return found


def resolve_charge(
    info: Mapping[str, Any],
    *,
    n_atoms: int,
    protons: int,
    initial_charge: float | None = None,
    argument: Any = None,
    key: str = INFO_KEY,
) -> int | None:
    """Total charge in e that an argument, a key or initial charges state; None, which means 0, when nothing does.

    Parameters are those of :meth:`State.of`.

    Returns
    -------
    charge in e, or None

    Raises
    ------
    ChargeError
        For a value that is not a whole number or impossible, and for sources that contradict each other.
    """
    stated = _stated("charge", argument, info, n_atoms, CHARGE_KEYS, key, ChargeError)
    if initial_charge is not None:
        total = float(without_rounding(initial_charge, n_atoms))
        if total != 0.0:
            source = "sum of initial charges"
            # Beside a stated charge a fractional sum is a contradiction, not a charge of its own.
            stated[source] = total if stated and total % 1 else _whole(total, "charge", source, ChargeError)
    charge = _agreed(stated, "total charges", ChargeError, None if argument is None else "charge")
    if charge is None:
        return None
    limit = max(LARGEST_CHARGE, n_atoms)
    if abs(charge) > limit or charge > protons:
        raise ChargeError(
            f"charge {charge:g} is impossible for {n_atoms} atoms; |charge| ≤ {limit} is accepted",
            mistake="impossible charge",
        )
    return charge


def resolve_multiplicity(
    info: Mapping[str, Any], *, n_atoms: int, electrons: int, argument: Any = None, key: str = INFO_KEY
) -> int | None:
    """Multiplicity 2S+1 that an argument or a key states; None, which means the lowest, when nothing does.

    Returns
    -------
    2S+1, or None

    Raises
    ------
    SpinError
        For a value that is not a whole number ≥ 1, impossible for this number of electrons, or contradictory.
    """
    stated = _stated("multiplicity", argument, info, n_atoms, MULTIPLICITY_KEYS, key, SpinError)
    for name, value in _of_keys(info, UNPAIRED_KEYS, n_atoms):
        source = f"unpaired electrons of {key.format(name)} + 1"
        stated[source] = _whole(value, "number of unpaired electrons", key.format(name), SpinError) + 1
    multiplicity = _agreed(stated, "multiplicities", SpinError, None if argument is None else "multiplicity")
    if multiplicity is not None and not _possible(multiplicity, electrons):
        lowest = lowest_multiplicity(electrons)
        raise SpinError(
            f"{electrons} electrons cannot have multiplicity {multiplicity} (2S+1); "
            f"allowed are {lowest}, {lowest + 2}, …",
            mistake="impossible multiplicity",
        )
    return multiplicity


def lowest_multiplicity(electrons: int) -> int:
    """Lowest 2S+1 of a number of electrons: 1 or 2."""
    return 1 + electrons % 2


def total_moment(moments: np.ndarray) -> float:
    """Sum of initial magnetic moments in μ_B, without its sign; of vectors, the length of their sum.

    Parameters
    ----------
    moments : (n_atoms,) or (n_atoms, 3) μ_B.

    Returns
    -------
    μ_B
    """
    return float(np.linalg.norm(np.atleast_1d(moments.sum(axis=0))))


def multiplicity_of_moments(total: float, electrons: int) -> int | None:
    """Multiplicity 2S+1 that initial magnetic moments (their sum in μ_B) hint at; None where they cannot hold.

    It decides nothing, because programs that make structures set moments of isolated atoms and of other charges;
    calculators and readers of data tell of it.

    Returns
    -------
    2S+1, or None
    """
    moment = abs(total)
    if not np.isfinite(moment) or abs(moment - round(moment)) > MOMENT_ROUNDING:
        return None
    multiplicity = round(moment) + 1
    return multiplicity if _possible(multiplicity, electrons) else None


@lru_cache(maxsize=4096)
def unread_kind(name: str) -> str | None:
    """What a name that :func:`state_key` does not know seems to state, by its words ("Q", "formal_charge").

    Returns
    -------
    "charge", "multiplicity", or None
    """
    words = {word.lower() for word in _WORD.findall(name)}
    if state_key(name) is not None or words.isdisjoint(_CHARGE_WORDS | _MULTIPLICITY_WORDS):
        return None
    return "multiplicity" if words.isdisjoint(_CHARGE_WORDS) else "charge"


def is_unread_state(name: str, value: Any) -> bool:
    """Whether a key that nothing reads seems to state a charge other than 0, or a multiplicity other than 1."""
    kind, number = unread_kind(name), single(value)
    if kind is None or isinstance(number, (bool, np.bool_)) or not isinstance(number, numbers.Real):
        return False
    stated = float(number)
    return stated.is_integer() and stated != 0 and (kind == "charge" or stated > 1)


def without_rounding(total: Any, n_atoms: Any) -> Any:
    """Sum of initial charges (e), made whole where it misses an integer by no more than rounded charges do.

    Parameters
    ----------
    total, n_atoms : numbers, or arrays of one per structure.

    Returns
    -------
    float64 of the same shape.
    """
    nearest = np.rint(total)
    allowed = np.minimum(ROUNDING_PER_ATOM * np.asarray(n_atoms, dtype=np.float64), MAX_ROUNDING) + WHOLE
    with np.errstate(invalid="ignore"):  # a sum may be infinite
        return np.where(np.abs(total - nearest) <= allowed, nearest, total)


def resolve_fidelity(info: Mapping[str, Any], argument: str | None = None) -> str | None:
    """Name of the fidelity that an argument or the key ``fidelity`` states; None when nothing does."""
    if argument is not None:
        return argument
    return next((str(name) for _, name in _of_keys(info, (FIDELITY_KEY,))), None)


def _possible(multiplicity: int, electrons: int) -> bool:
    return 1 <= multiplicity <= electrons + 1 and (electrons + multiplicity) % 2 == 1


def _stated(
    name: str,
    argument: Any,
    info: Mapping[str, Any],
    n_atoms: int,
    keys: tuple[str, ...],
    key: str,
    error: _Error,
) -> dict[str, Any]:
    """What is stated by source, in the order of precedence."""
    stated = {}
    if argument is not None:
        source = f"{name} argument of the calculator"
        stated[source] = _whole(argument, name, source, error)
    for each, value in _of_keys(info, keys, n_atoms):
        source = key.format(each)
        stated[source] = _whole(value, name, source, error)
    return stated


def _of_keys(info: Mapping[str, Any], keys: Iterable[str], n_atoms: int = 1) -> Iterator[tuple[str, Any]]:
    """Names as they are spelled and values of what is stated under some keys, in the order of the keys."""
    found = [(name, state_key(name), value) for name, value in info.items() if isinstance(name, str)]
    for key in keys:
        for name, spelled, value in found:
            if spelled == key and value is not None and not is_of_atoms(value, n_atoms):
                yield name, value


def _agreed(stated: Mapping[str, Any], what: str, error: _Error, argument: str | None = None) -> int | None:
    """The value on which all sources agree; the first of them may be an argument, the others are the structure's."""
    if len(set(stated.values())) > 1:
        listed = ", ".join(f"{source} = {value:g}" for source, value in stated.items())
        cure = "give the right one alone"
        if argument is not None:
            left_out = f"{argument}={next(iter(stated.values())):g}"
            cure = f"leave out {left_out}, or change or remove what the structure or its file states"
        raise error(
            f"contradictory {what} ({listed}): {cure}",
            mistake=f"contradictory {what}",
        )
    return next(iter(stated.values()), None)


def _whole(value: Any, name: str, source: str, error: _Error) -> int:
    """An integer from a scalar; raises ``error`` for anything else."""
    value = single(value)
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        kind = f"{type(value).__name__} of shape {value.shape}" if isinstance(value, np.ndarray) else short(value)
        raise error(f"{name} {kind} is not a number ({source}); expected an integer", mistake=f"{name} not a number")
    try:
        number = float(value)
    except OverflowError:  # an integer of hundreds of digits
        number = np.inf
    if not np.isfinite(number) or abs(number - round(number)) > WHOLE:
        raise error(
            f"{name} {number:g} is not an integer ({source}): give a whole number", mistake=f"{name} not an integer"
        )
    return round(number)
