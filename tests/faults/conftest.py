"""One server and one stage for all tests of faults, their share of time, and the figures at the end."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

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
    """Time that one of the slow tests may take."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def of(self, items: Iterable[T]) -> Iterator[T]:
        """Items until the time is over; the first one in any case."""
        end = time.monotonic() + self._seconds
        for item in items:
            yield item
            if time.monotonic() > end:
                return


@pytest.fixture
def share(request: pytest.FixtureRequest) -> Share:
    """An equal part of ``--budget-minutes`` for each slow test of faults that runs."""
    minutes = request.config.getoption("--budget-minutes", default=MINUTES)
    return Share(60 * minutes / len(slow_ones(request.session)))
