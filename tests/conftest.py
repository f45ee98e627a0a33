"""Settings and fixtures shared by all tests."""

from __future__ import annotations

import os
import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a background job; children would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

from tests.helpers.tensor_signatures import calls, check_tensor_signatures

check_tensor_signatures()  # before anything of molcalc is imported

from molcalc.calculators import AIMNet2  # noqa: E402
from molcalc.io.checkpoint import Checkpoint  # noqa: E402
from molcalc.pretrained.catalog import PUBLISHED, find_file  # noqa: E402
from tests.helpers.networks import tiny_checkpoint  # noqa: E402


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _checks_begin_anew() -> None:
    calls.clear()


@pytest.fixture(scope="session")
def closed_shell() -> Checkpoint:
    """Small closed-shell network with random weights."""
    return tiny_checkpoint(charge_channels=1)


@pytest.fixture(scope="session")
def open_shell() -> Checkpoint:
    """Small two-channel network with random weights."""
    return tiny_checkpoint(charge_channels=2)


@pytest.fixture(scope="session")
def published() -> None:
    """Skip when the published weights are not installed."""
    try:
        find_file(PUBLISHED["wb97m-d3"].file)
    except RuntimeError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def member64(published: None) -> AIMNet2:
    """First published ωB97M-D3 network in double precision."""
    return AIMNet2("wb97m-d3", member=0, dtype="float64")
