"""Two and four of every command at once, on the same input, output and cache."""

from __future__ import annotations

import pytest

from tests.faults.commands import COMMANDS
from tests.faults.conftest import Share
from tests.faults.stage import Stage, said
from tests.faults.system_calls import STRACE

ROUNDS = 10
needs_strace = pytest.mark.skipif(STRACE is None, reason="strace is not installed: what a command leaves is not known")


def wrong_with_a_cold_cache(stage: Stage, count: int) -> list[str]:
    """Fill the cache of one database from several processes at once; what is wrong, a line for each."""
    folder = stage.fresh("sae")
    words = ("sae", "data.db", "-")
    crowd = stage.server.run([words] * count, folder)
    stage.figures["commands in crowds"] += count
    later = stage.server.one(words, folder)
    problems = [said(finished) for finished in (*crowd, later) if finished.status]
    return problems + [f"other numbers: {finished.out}" for finished in crowd if finished.out != later.out]


def test_a_cache_may_be_filled_by_several_at_once(stage: Stage) -> None:
    assert not wrong_with_a_cold_cache(stage, 4)


@needs_strace
@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", COMMANDS)
def test_commands_may_run_at_once(stage: Stage, share: Share, name: str) -> None:
    problems = []
    for number in share.of(range(ROUNDS)):
        problems += stage.crowded(name, (2, 4)[number % 2])
    assert not problems, "\n".join(problems)


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_a_cold_cache_may_be_filled_at_once_again_and_again(stage: Stage, share: Share) -> None:
    problems = []
    for number in share.of(range(10 * ROUNDS)):
        problems += wrong_with_a_cold_cache(stage, (2, 4)[number % 2])
    assert not problems, "\n".join(problems)
