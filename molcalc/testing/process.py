"""Settings of the process that a calculator has no business with, and what it prints."""

from __future__ import annotations

import io
import logging
import os
import pickle
import random
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from typing import Any

import numpy as np


def read_torch_state() -> dict[str, Any]:
    """Return the global settings of torch; those of a fresh process if it is not imported."""
    torch = sys.modules.get("torch")
    if torch is None:
        return {"the default dtype": "torch.float32", "grad mode": True}
    return {
        "the default dtype": str(torch.get_default_dtype()),
        "grad mode": torch.is_grad_enabled(),
        "the number of threads": torch.get_num_threads(),
        "the matmul precision": torch.get_float32_matmul_precision(),
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
    }


def read_random_state() -> dict[str, Any]:
    """Return the states of the global random number generators."""
    # NPY002: the legacy generator is what must not be touched.
    numpy_state = np.random.get_state(legacy=False)  # noqa: NPY002
    state: dict[str, Any] = {
        "the state of random": random.getstate(),
        "the state of numpy.random": pickle.dumps(numpy_state),
    }
    torch = sys.modules.get("torch")
    if torch is not None:
        state["the state of torch.random"] = torch.random.get_rng_state().numpy().tobytes()
    return state


def read_folder() -> dict[str, Any]:
    """Return the working directory and the names of the files in it."""
    return {"the working directory": os.getcwd(), "files in the working directory": set(os.listdir())}


def read_numpy_errors() -> dict[str, Any]:
    """Return what numpy does about overflow, division by zero and the like."""
    return {"np.geterr()": np.geterr()}


def read_environment() -> dict[str, Any]:
    """Return environment variables and the handlers of the root logger."""
    root = logging.getLogger()
    return {"os.environ": dict(os.environ), "the root logger": (root.level, list(root.handlers))}


READERS: dict[str, Callable[[], dict[str, Any]]] = {
    "torch": read_torch_state,
    "random": read_random_state,
    "folder": read_folder,
    "numpy": read_numpy_errors,
    "environment": read_environment,
}


@dataclass
class Traces:
    """Traces of a piece of work: what it changed in the process, by reader, and what it printed."""

    changes: dict[str, list[str]] = field(default_factory=dict)
    output: str = ""


@contextmanager
def watch() -> Iterator[Traces]:
    """Record what the block does to the process; the traces are filled when it ends."""
    traces = Traces()
    before = {name: read() for name, read in READERS.items()}
    with capture_output() as output:
        yield traces
    traces.output = "".join(output)
    traces.changes = {name: changed_keys(before[name], read()) for name, read in READERS.items()}


def changed_keys(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Return the names of the entries that differ; only those present both times are compared."""
    return [key for key in before if key in after and before[key] != after[key]]


def _ignore(*args: Any, **kwargs: Any) -> None:
    """Show no warning; recording them instead would look like a leak."""


@contextmanager
def capture_output() -> Iterator[list[str]]:
    """Collect what is written to stdout and stderr, by Python or by compiled code.

    The list is filled when the block ends. Warnings keep their filters but are not shown.
    """
    output: list[str] = []
    text = io.StringIO()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    with tempfile.TemporaryFile() as file, warnings.catch_warnings():
        warnings.showwarning = _ignore
        saved = {descriptor: os.dup(descriptor) for descriptor in (1, 2)}
        try:
            for descriptor in saved:
                os.dup2(file.fileno(), descriptor)
            with redirect_stdout(text), redirect_stderr(text):
                yield output
        finally:
            for descriptor, original in saved.items():
                os.dup2(original, descriptor)
                os.close(original)
            file.seek(0)
            output += [text.getvalue(), file.read().decode(errors="replace")]
