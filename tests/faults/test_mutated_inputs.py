"""Inputs that somebody changed, with fixed seeds: each is used or refused in one line, within time and memory."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.commands import COMMANDS
from tests.faults.conftest import Share
from tests.faults.corpus import FORMATS, add_models_of_others
from tests.faults.in_turn import TOGETHER, in_turn
from tests.faults.mutations import TEXTS, copied, mutate
from tests.faults.preloaded import GIB, Limits
from tests.faults.stage import Stage, wrong_refusal

SEED = 31
INPUTS = 2000
"""Of each format in the long form."""
SHORT = 10
LIMITS = Limits(memory=4 * GIB)
MANY_WORDS = 4000
"""Bytes that a message may have at most."""


def prepared(stage: Stage, name: str) -> Path:
    """Folder with the sound file of a format and what its readers need."""
    folder = stage.fresh("sae")
    add_models_of_others(folder)
    FORMATS[name].make(stage.server, folder)
    for words in FORMATS[name].read_by:
        read = stage.server.one(words, copied(folder, folder.with_name("sound")))
        assert read.status == 0 or "not converged" in read.err, read
    return copied(folder, folder.with_name("sound"))


def wrong_with_mutated(
    stage: Stage, name: str, sound: Path, numbers: range, readers: int | None = None
) -> Iterator[str]:
    """Read files that were changed, with the first readers of the format; what is wrong, a line for each."""
    form, base = FORMATS[name], sound.with_name("mutated")
    shutil.rmtree(base, ignore_errors=True)
    base.mkdir()
    reads = form.read_by[:readers]
    commands = []
    for k in numbers:
        folder = copied(sound, base / str(k))
        mutate(folder / form.name, random.Random(f"{SEED} {name} {k}"))
        commands.append((folder, reads[k % len(reads)]))
    for k, finished in in_turn(stage.server, base, commands, LIMITS):
        stage.figures[f"mutated inputs of {name}"] += 1
        told = f"input {numbers[k]}: {' '.join(commands[k][1][:3])}"
        if found := wrong_refusal(finished):
            yield f"{told}: {found}"
        elif len(finished.err) > MANY_WORDS or "\x1b" in finished.err + finished.out:
            yield f"{told}: {len(finished.err)} bytes of messages: {finished.err[:200]!r}"


@pytest.mark.parametrize("name", [".json", ".db", ".npz", ".xyz"])
def test_some_mutated_inputs_are_used_or_refused(stage: Stage, name: str) -> None:
    problems = list(wrong_with_mutated(stage, name, prepared(stage, name), range(SHORT), readers=1))
    assert not problems, "\n".join(problems)


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", FORMATS)
def test_mutated_inputs_are_used_or_refused(stage: Stage, share: Share, name: str) -> None:
    sound = prepared(stage, name)
    problems: list[str] = []
    for start in share.of(range(0, INPUTS, TOGETHER)):
        problems += wrong_with_mutated(stage, name, sound, range(start, start + TOGETHER))
    assert not problems, "\n".join(problems)


def mutated_words(k: int) -> list[str]:
    """Arguments of a command, some of them exchanged, lost or doubled."""
    chance = random.Random(f"{SEED} words {k}")
    lines = [command.words for command in COMMANDS.values() if command.words[0] not in ("train", "md")]
    words = list(chance.choice(lines))
    others = [word for line in lines for word in line]
    for _ in range(chance.choice((1, 1, 2, 3))):
        place = chance.randrange(1, len(words)) if len(words) > 1 else 0
        words[place : place + 1] = chance.choice(
            ([], [chance.choice(TEXTS)], [chance.choice(others)], words[place : place + 1] * 2, [words[place] + "x"])
        )
    return words


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_mutated_command_lines_are_used_or_refused(stage: Stage, share: Share) -> None:
    problems = []
    for start in share.of(range(0, INPUTS, TOGETHER)):
        folder, lines = stage.fresh("sae"), [mutated_words(k) for k in range(start, start + TOGETHER)]
        for k, finished in in_turn(stage.server, folder.parent, [(folder, words) for words in lines], LIMITS):
            stage.figures["mutated command lines"] += 1
            if found := wrong_refusal(finished):
                problems.append(f"{lines[k]}: {found}")
    assert not problems, "\n".join(problems)
