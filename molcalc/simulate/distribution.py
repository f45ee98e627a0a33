"""Work on many structures in other processes: on this machine, or on those of a cluster.

Structures go out in chunks of about equal cost. A chunk that loses its worker is done again, in halves: what was
killed for its memory gets less of it, and a structure that kills its workers is alone in the end. Every outcome comes
back once.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, wait
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from typing import Any

from molcalc._version import __version__
from molcalc.errors import ConfigError, MolcalcError, ResourceError, short
from molcalc.simulate.dask_cluster import as_dask, lost_on_cluster
from molcalc.simulate.local_workers import LocalWorkers
from molcalc.simulate.side_by_side import GROUP_ATOMS, Outcome
from molcalc.simulate.work import Item, Work

CHUNKS_OF_A_WORKER = 8
"""Chunks for each worker, so that all end at about the same time; fewer where they would be too small for a batch."""
FEWEST_ATOMS = 100
"""Atoms of a chunk below which a batch is slow."""
TRIES = 3
"""Workers that a structure may lose when it is alone."""

AnyExecutor = Any
"""Number of workers on this machine, an executor of :mod:`concurrent.futures`, a client of Dask, or None."""
Answer = tuple[list[tuple[int, Any]], list[tuple[str, type[Warning]]]]
"""Outcomes with their numbers, and warnings."""


@dataclass(frozen=True)
class _Chunk:
    """Structures that one worker gets together, and how many workers they have lost."""

    items: Sequence[Item]
    lost: int = 0

    def again(self) -> list[_Chunk]:
        """What to do after the loss of a worker."""
        if len(self.items) == 1:
            return [replace(self, lost=self.lost + 1)]
        half = len(self.items) // 2
        return [_Chunk(self.items[:half]), _Chunk(self.items[half:])]


def all_done(
    work: Work[Outcome],
    items: Sequence[Item],
    executor: AnyExecutor,
    observer: Callable[[Any], None] | None,
    ended: Callable[[int, Outcome | MolcalcError], object] | None,
) -> list[Outcome | MolcalcError]:
    """Outcomes in the order of the structures, of which there may be files that go on.

    Parameters
    ----------
    executor : see :data:`AnyExecutor`; None for this process.
    observer : called at every step, without an executor.
    ended : called with number and outcome of every structure, as they end.

    Returns
    -------
    One outcome for each structure.

    Raises
    ------
    InputError, ConfigError, ResourceError
        When a trajectory cannot be continued, or the executor cannot be used.
    """
    found: dict[int, Outcome | MolcalcError] = {}
    outcomes = outcomes_of(work, items, executor, observer)
    with closing(outcomes):
        for system, outcome in outcomes:
            found[system] = outcome
            if ended is not None:
                ended(system, outcome)
    return [found[item.system] for item in items]


def outcomes_of(
    work: Work[Outcome], items: Sequence[Item], executor: AnyExecutor, observer: Callable[[Any], None] | None = None
) -> Generator[tuple[int, Outcome | MolcalcError], None, None]:
    """Numbers and outcomes of structures, in the order in which they are there.

    Parameters
    ----------
    executor, observer : as in :func:`all_done`.

    Yields
    ------
    number and outcome

    Raises
    ------
    ConfigError
        When the executor is none, its workers cannot run this package, or a trajectory cannot be continued here.
    ResourceError
        When the executor takes nothing more.
    """
    if executor is None:
        yield from work.outcomes(items, observer)
        return
    with ExitStack() as stack:
        submit, n_workers = _opened(executor, stack)
        for item in items if not work.restart else []:
            if item.path is not None:  # the caller has seen to it that it may be replaced
                item.path.unlink(missing_ok=True)
        goes_on = replace(work, restart=True, force=True)  # of chunks that are done again there are files
        waiting: dict[Future[Answer], _Chunk] = {}
        told: set[str] = set()

        def send(chunk: _Chunk) -> None:
            try:
                waiting[submit(goes_on, chunk.items)] = chunk
            except (BrokenExecutor, RuntimeError) as error:
                raise ResourceError(
                    f"the executor takes nothing more ({error}): give a number, executor=2, whose workers are replaced "
                    "when they die"
                ) from error

        stack.callback(lambda: [future.cancel() for future in waiting])
        for chunk in chunks(work, [_absolute(item) for item in items], n_workers):
            send(chunk)
        while waiting:
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                chunk = waiting.pop(future)
                answer = _answer(future)
                if answer is not None:
                    _warn_once(answer[1], told)
                    yield from answer[0]
                elif chunk.lost + 1 < TRIES:
                    for part in chunk.again():
                        send(part)
                else:
                    yield (
                        chunk.items[0].system,
                        ResourceError(f"{TRIES} workers ended while they computed this structure: memory may be short"),
                    )


def _absolute(item: Item) -> Item:
    """The same for processes in other folders."""
    path, log = (None if file is None else file.absolute() for file in (item.path, item.log))
    return replace(item, path=path, log=log)


def chunks(work: Work[Any], items: Sequence[Item], n_workers: int) -> list[_Chunk]:
    """Consecutive structures of about equal cost, not many more atoms than are evaluated together."""
    costs = [work.cost(item) for item in items]
    sizes = [len(item.atoms) for item in items]
    share = sum(costs) / (CHUNKS_OF_A_WORKER * n_workers)
    found: list[_Chunk] = []
    begin, cost, size = 0, 0.0, 0
    for k in range(len(items)):
        if k > begin and ((cost + costs[k] > share and size >= FEWEST_ATOMS) or size + sizes[k] > GROUP_ATOMS):
            found.append(_Chunk(items[begin:k]))
            begin, cost, size = k, 0.0, 0
        cost, size = cost + costs[k], size + sizes[k]
    return [*found, _Chunk(items[begin:])] if items else found


def compute(work: Work[Any], items: Sequence[Item], version: str) -> Answer:
    """Outcomes of a chunk; this runs in a worker.

    Parameters
    ----------
    version : of the package that sends the work.

    Returns
    -------
    outcomes with their numbers, and warnings

    Raises
    ------
    ConfigError
        When this process runs another version.
    """
    if version != __version__:
        raise ConfigError(f"a worker runs molcalc {__version__}, this program {version}: install the same one there")
    own = replace(work, calculator=work.calculator.clone())  # threads of a worker may have the same object
    if threading.current_thread() is not threading.main_thread():  # recording would reach into other threads
        return own.all_outcomes(items), []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = own.all_outcomes(items)
    return found, list({str(each.message): (str(each.message), each.category) for each in caught}.values())


def _answer(future: Future[Answer]) -> Answer | None:
    """What a worker found; None when it was lost."""
    try:
        if isinstance(future.exception(), lost_on_cluster()):
            return None
        return future.result()
    except (BrokenExecutor, CancelledError):
        return None
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"a worker has no module {error.name}: install molcalc {__version__} and what it needs there"
        ) from error


def _warn_once(found: Sequence[tuple[str, type[Warning]]], told: set[str]) -> None:
    for message, category in found:
        if message not in told:
            told.add(message)
            warnings.warn(message, category, stacklevel=2)


def _opened(executor: Any, stack: ExitStack) -> tuple[Callable[..., Future[Answer]], int]:
    """How to send chunks, and the number of workers as far as it is known."""
    if isinstance(executor, int) and not isinstance(executor, bool) and executor >= 1:
        workers = LocalWorkers(executor)
        stack.callback(workers.stop)
        return lambda work, items: workers.submit(compute, work, items, __version__), executor
    if (dask := as_dask(executor)) is not None:
        return dask.sender(compute, __version__), dask.n_workers()
    if isinstance(executor, Executor):
        return lambda work, items: executor.submit(compute, work, items, __version__), 4
    raise ConfigError(
        f"executor={short(executor)}; expected a number of workers ≥ 1, an executor of concurrent.futures, or a client "
        "of Dask"
    )
