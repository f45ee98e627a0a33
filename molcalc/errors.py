"""Exceptions raised by molcalc, and its warnings.

Every message says what is wrong, where (0-based atom index, row or file), the value seen, the value
allowed and what to do. Errors about a user's structure are also ``ase.calculators.calculator.InputError``
and ``ValueError``, so existing ``except`` clauses keep working.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import math
import os
import reprlib
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from numbers import Integral, Real
from types import FrameType
from typing import Any, TypeGuard

from ase.calculators.calculator import CalculationFailed, PropertyNotImplementedError
from ase.calculators.calculator import InputError as AseInputError


class MolcalcError(Exception):
    """Base class of all errors of this package."""


class InputError(MolcalcError, AseInputError, ValueError):
    """A structure, option or value given by the user cannot be used."""


class UnsupportedElementError(InputError):
    """The model was not trained on an element of the structure."""


class AtomsTooCloseError(InputError):
    """Two atoms (or an atom and a periodic image) are closer than any chemistry allows."""


class CellError(InputError):
    """Cell and periodic boundary conditions contradict each other or the model."""


class StateError(InputError):
    """Charge or multiplicity of a structure cannot be used.

    Attributes
    ----------
    mistake : its kind, in words without the values of one structure; rows of a file are grouped by it.
    """

    def __init__(self, message: str, *, mistake: str = "") -> None:
        super().__init__(message)
        self.mistake = mistake or message


class ChargeError(StateError):
    """The total charge is not an integer, contradictory, or not supported by the model."""


class SpinError(StateError):
    """The spin multiplicity is impossible for this number of electrons or not used by the model."""


class FidelityError(InputError):
    """The fidelity is unknown, or missing where there is no default."""


class ExtrapolationError(InputError):
    """A structure is unlike everything that a model was trained on."""


class ConfigError(InputError):
    """An option is unknown, misspelt, or out of range."""


class MissingPackageError(ConfigError):
    """An option needs a package that is not installed."""


class InUseError(InputError):
    """Another process writes the file or folder that is to be written."""


class MissingPropertyError(MolcalcError, PropertyNotImplementedError):
    """A property is asked for that a model does not predict, or that a structure does not have."""


class NonFiniteResultError(MolcalcError, CalculationFailed):
    """A computed energy, force or charge is not finite."""


class ExplosionError(MolcalcError, CalculationFailed):
    """Molecular dynamics is too hot, or does not conserve its energy, beyond any sense."""


class DatasetError(MolcalcError, ValueError):
    """A data file or database row cannot be used as it is."""


class UnitMismatchError(DatasetError):
    """Labels look like they are in another unit than the one declared."""


class MissingFileError(MolcalcError, FileNotFoundError):
    """A file, model directory or run that a user names is not there."""


class CheckpointError(MolcalcError, RuntimeError):
    """A model file cannot be used."""


class CheckpointCorruptError(CheckpointError):
    """A model file is truncated, damaged, or does not match its checksum."""


class CheckpointMismatchError(CheckpointError):
    """A model file does not fit the model, data or options it is used with."""


class UnsafeCheckpointError(CheckpointError):
    """A model file would execute code, or names something outside the closed registry."""


class ResourceError(MolcalcError, RuntimeError):
    """Memory, disk space or another process stands in the way."""


class OpenShellWarning(UserWarning):
    """Unpaired electrons of a structure are not seen: a closed-shell model, or initial magnetic moments alone."""


class UnreadStateWarning(UserWarning):
    """A key of a structure seems to state its charge or spin, under a name that nothing reads."""


class ExtrapolationWarning(UserWarning):
    """A structure is unlike everything that a model was trained on, or the networks of an ensemble disagree on it."""


class CompilationWarning(UserWarning):
    """Compiled loops are made anew by every process."""


class FidelityWarning(UserWarning):
    """A fidelity is left out of a comparison."""


class DynamicsWarning(UserWarning):
    """Some runs of molecular dynamics went wrong."""


class RelaxationWarning(UserWarning):
    """Some of many structures could not be relaxed."""


class TornFileWarning(UserWarning):
    """The end of a file is torn, and a run goes on from what is whole."""


class OpenStereoWarning(UserWarning):
    """The stereochemistry of a molecule is left open, and one of its stereoisomers is taken."""


class NonEquivariantWarning(UserWarning):
    """Distributed charges are used that do not turn with the molecule."""


_PASSED_OVER = ("molcalc", "ase", "torch", "contextlib")
"""Packages whose lines are not the user's."""


def warn_user(message: str, category: type[Warning]) -> None:
    """Warn, and point at the line of the user, however deep inside this package or ASE the reason was found."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and _of_a_library(frame):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def _of_a_library(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).partition(".")[0] in _PASSED_OVER


_SHORT = reprlib.Repr()
_SHORT.maxlevel = 3
_SHORT.maxstring = _SHORT.maxother = 80


def short(value: Any) -> str:
    """A value as it is shown in messages: never longer than a line, whatever it is."""
    try:
        return _SHORT.repr(value)
    except ValueError:  # an integer of more digits than Python prints
        return f"<{type(value).__name__}>"


_LONGEST_REASON = 200
"""Characters of what another package says of a file."""
_WORDLESS = (AssertionError, LookupError, AttributeError, TypeError, StopIteration, RecursionError, ArithmeticError)
"""What programs raise that did not expect what they found; what these say are details of the program."""


def reason_of(error: BaseException) -> str:
    """Why another package does not read a file, on one line and never longer than some lines of a terminal.

    Parameters
    ----------
    error : what it raised.

    Returns
    -------
    its words, or that the content is not what the format asks for where they mean nothing to a user
    """
    words = " ".join(str(error).split())
    if len(words) > _LONGEST_REASON:
        words = f"{words[: _LONGEST_REASON // 2]} … {words[-_LONGEST_REASON // 2 :]}"
    if isinstance(error, _WORDLESS) or not words:
        return "its content is not what this format asks for" + (f" ({words})" if words else "")
    return words


def damaged(path: object, error: BaseException) -> DatasetError | ResourceError:
    """The error for a file that its reader cannot make sense of, or finds no memory for."""
    if os.strerror(errno.ENOMEM) in str(error):  # of the system; LMDB asks it for addresses for the whole file
        return ResourceError(f"{path} does not fit into memory (see ulimit -v): {reason_of(error)}")
    return DatasetError(f"{path} is damaged or not what its name says: {reason_of(error)}")


def suggest(name: str, known: Iterable[str]) -> str:
    """' (did you mean …?)' for the known name most like ``name``, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a value is a real number; truth values and texts are none."""
    return isinstance(value, Real) and not isinstance(value, bool)


def checked_positive(name: str, value: float) -> float:
    """Return the value as float; raise ConfigError when it is no number, or not positive and finite."""
    if not is_number(value) or not 0.0 < value < math.inf:
        raise ConfigError(f"{name}={short(value)} must be a positive, finite number")
    return float(value)


def checked_whole(name: str, value: int, least: int = 0) -> int:
    """Return the value as int; raise ConfigError when it is no whole number, or below ``least``."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ConfigError(f"{name}={short(value)} is not a whole number ≥ {least}")
    return int(value)


@contextlib.contextmanager
def memory_named(work: str | Callable[[], str], cure: str) -> Iterator[None]:
    """Say what did not fit into memory, of the processor or of a graphics card.

    Parameters
    ----------
    work : what needs the memory; a function of it where the words take time.

    Raises
    ------
    ResourceError
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        # Torch says so in words, and in a class of its own for graphics cards only.
        signs = ("allocate memory", "out of memory", "bad_alloc")
        if not isinstance(error, MemoryError) and not any(each in str(error) for each in signs):
            raise
        words = work if isinstance(work, str) else work()
        raise ResourceError(f"{words} does not fit into memory: {cure}") from error
