"""One server and one stage for all tests of faults, their share of time, and the figures at the end."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.faults.preloaded import Preloaded
from tests.faults.stage import Stage

T = TypeVar("T")
MINUTES = 6.0
"""Time of all slow tests of faults together, where none is given."""
FIGURES = pytest.StashKey[Counter[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--budget-minutes", type=float, default=MINUTES, help="time of all slow tests of faults together")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FIGURES] = Counter()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if figures := config.stash.get(FIGURES, None):
        terminalreporter.write_line(
            "faults: " + ", ".join(f"{count} {what}" for what, count in sorted(figures.items()))
        )


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Add the figures of a worker of pytest-xdist."""
    node.config.stash[FIGURES].update(getattr(node, "workeroutput", {}).get("figures", {}))


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["figures"] = dict(session.config.stash[FIGURES])


def slow_ones(session: pytest.Session) -> list[pytest.Item]:
    """Slow tests of faults that run."""
    here = Path(__file__).parent
    return [item for item in session.items if here in item.path.parents and item.get_closest_marker("slow")]


@pytest.fixture(scope="session")
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Inputs of all commands, and the server that runs them."""
    base = tmp_path_factory.mktemp("faults")
    with Preloaded(base / "scratch", warm=bool(slow_ones(request.session))) as server:
        made = Stage(server, base)
        made.figures = request.config.stash.setdefault(FIGURES, Counter())
        yield made


class Share:
    """Time of all slow tests of faults of one process; those that need less than their part leave the rest to others.

    Parameters
    ----------
    seconds : that are left.
    tests : that are to come.
    """

    def __init__(self, seconds: float, tests: int) -> None:
        self._end, self._tests = time.monotonic() + seconds, tests

    def of(self, items: Iterable[T]) -> Iterator[T]:
        """Items until the part of this test is over; the first one in any case."""
        now = time.monotonic()
        end = now + (self._end - now) / max(self._tests, 1)
        self._tests -= 1
        for item in items:
            yield item
            if time.monotonic() > end:
                return


@pytest.fixture(scope="session")
def share(request: pytest.FixtureRequest, stage: Stage) -> Share:
    """``--budget-minutes``, from when the stage is set."""
    minutes = request.config.getoption("--budget-minutes", default=MINUTES)
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    return Share(60 * minutes, -(-len(slow_ones(request.session)) // workers))
