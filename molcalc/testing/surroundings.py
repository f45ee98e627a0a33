"""Checks that building and using a calculator leaves the rest of the process as it was.

A setting is compared around the very first use, when modules are imported, and again with each of two
values in place: a calculator that always sets the same value would otherwise go unnoticed after the first
time.
"""

from __future__ import annotations

import random
import sys
import warnings

import numpy as np

from molcalc.testing.check_report import CheckFailedError, CheckSkippedError
from molcalc.testing.process import READERS, capture_output, changed_keys
from molcalc.testing.subject import Subject, describe_error

SEED = 987654321


def _work(subject: Subject) -> None:
    """Build a calculator, use it, and use it wrongly."""
    calc = subject.new()
    subject.evaluate(calc, subject.atoms)
    bad = subject.atoms
    bad.positions[0] = np.nan
    try:
        subject.evaluate(calc, bad)
    except Exception:  # whether and how it raises is checked elsewhere; here the aftermath counts
        return


def _require_unchanged(subject: Subject, reader: str, during: str = "") -> None:
    read = READERS[reader]
    before = read()
    try:
        _work(subject)
        changed = changed_keys(before, read())
    except Exception as error:
        raise CheckFailedError(f"a calculation{during} raises {describe_error(error)}") from error
    if changed:
        raise CheckFailedError(f"building or using the calculator{during} changes {', '.join(changed)}")


def _require_unchanged_by_first_use(subject: Subject, reader: str) -> None:
    changed = subject.first_use.changes[reader]
    if changed:
        raise CheckFailedError(f"the first use of the calculator changes {', '.join(changed)}")


def torch_state(subject: Subject) -> None:
    """Default dtype, grad mode and threads of torch stay as they are, and any of them is tolerated."""
    torch = sys.modules.get("torch")
    if torch is None:
        raise CheckSkippedError("torch is not imported")
    _require_unchanged_by_first_use(subject, "torch")
    original = torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads()
    settings = {
        "": original,
        " with float64 as default dtype": (torch.float64, original[1], original[2]),
        " without grad mode": (original[0], False, original[2]),
        f" with {original[2] + 1} threads": (original[0], original[1], original[2] + 1),
    }
    try:
        for during, (dtype, grad, n_threads) in settings.items():
            torch.set_default_dtype(dtype)
            torch.set_grad_enabled(grad)
            torch.set_num_threads(n_threads)
            _require_unchanged(subject, "torch", during)
    finally:
        torch.set_default_dtype(original[0])
        torch.set_grad_enabled(original[1])
        torch.set_num_threads(original[2])


def numpy_errors(subject: Subject) -> None:
    """``np.seterr`` is not called."""
    _require_unchanged_by_first_use(subject, "numpy")
    with np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"):
        _require_unchanged(subject, "numpy")
    with np.errstate(all="ignore"):
        _require_unchanged(subject, "numpy")


def random_state(subject: Subject) -> None:
    """The global random number generators are neither seeded nor used."""
    _require_unchanged_by_first_use(subject, "random")
    torch = sys.modules.get("torch")
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    torch_rng = None if torch is None else torch.random.get_rng_state()
    try:
        random.seed(SEED)
        np.random.seed(SEED)  # noqa: NPY002
        if torch is not None:
            torch.random.default_generator.manual_seed(SEED)
        _require_unchanged(subject, "random")
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
        if torch is not None:
            torch.random.set_rng_state(torch_rng)


def working_directory(subject: Subject) -> None:
    """No file or folder appears in the working directory, and it stays the working directory."""
    _require_unchanged_by_first_use(subject, "folder")
    _require_unchanged(subject, "folder")


def environment(subject: Subject) -> None:
    """Environment variables, the root logger and warning filters are left alone."""
    _require_unchanged_by_first_use(subject, "environment")
    with capture_output(), warnings.catch_warnings():
        # A filter that exists already is not added again: start from none.
        warnings.resetwarnings()
        _require_unchanged(subject, "environment")
        if warnings.filters:
            raise CheckFailedError("building or using the calculator changes the warning filters")


def silence(subject: Subject) -> None:
    """Nothing is printed to stdout or stderr: not by Python, not by compiled code."""
    with capture_output() as output:
        _work(subject)
    printed = subject.first_use.output + "".join(output)
    if printed.strip():
        raise CheckFailedError(f"building or using the calculator prints {printed.strip().splitlines()[0]!r}")
