"""Workers of a Dask cluster."""

from __future__ import annotations

import sys
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

from molcalc.errors import ConfigError, ResourceError

CONNECT_WITHIN = 10
"""Seconds for a scheduler to answer."""


@dataclass(frozen=True)
class DaskCluster:
    """Workers that a client of Dask reaches.

    Attributes
    ----------
    client : of :mod:`distributed`.
    executor : of this client, with its choice of workers.
    """

    client: Any
    executor: Any

    def n_workers(self) -> int:
        """Tasks that run at the same time now; at least one."""
        return max(1, sum(self.client.nthreads().values()))

    def sender(self, function: Callable[..., Any], version: str) -> Callable[..., Future[Any]]:
        """How to call a function with one large object, the same in all calls, a list of small ones, and a version.

        The large object travels once to each worker; a lost copy is made again. Every call has a key of its own: Dask
        takes equal calls for one, and ten random trajectories would become one.

        Returns
        -------
        function of both objects that returns a future
        """
        run, numbers, held = uuid.uuid4().hex, count(), dict[str, Any]()

        def send(large: Any, small: Sequence[Any]) -> Future[Any]:
            if "large" not in held:
                with warnings.catch_warnings():
                    warnings.filterwarnings("ignore", message="Sending large graph")
                    held["large"] = self.client.submit(_same, large, key=f"molcalc-work-{run}", pure=False)
            key = f"molcalc-{run}-{next(numbers)}"
            future: Future[Any] = self.executor.submit(
                function, held["large"], list(small), version, key=key, pure=False
            )
            return future

        return send


def as_dask(executor: Any) -> DaskCluster | None:
    """Cluster of a client, or of ``client.get_executor()``; None for anything else."""
    if "distributed" not in sys.modules:
        return None
    from distributed import Client
    from distributed.cfexecutor import ClientExecutor

    if isinstance(executor, Client):
        return DaskCluster(executor, executor.get_executor(pure=False))
    if isinstance(executor, ClientExecutor):
        return DaskCluster(executor._client, executor)  # it has no public name there
    return None


def lost_on_cluster() -> tuple[type[BaseException], ...]:
    """Errors of Dask that say that workers were lost; none where Dask is not in use."""
    if "distributed" not in sys.modules:
        return ()
    from distributed.scheduler import KilledWorker

    return (KilledWorker,)


@contextmanager
def connected(scheduler: str) -> Iterator[Any]:
    """Client of a scheduler.

    Parameters
    ----------
    scheduler : its address, such as tcp://node7:8786, or the path of its scheduler file.

    Yields
    ------
    client of :mod:`distributed`

    Raises
    ------
    ConfigError
        When Dask is not installed, or the address is none.
    ResourceError
        When nothing answers, or there are no workers.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise ConfigError("a scheduler needs Dask, which is not installed: pip install 'molcalc[cluster]'") from error
    where = {"address": scheduler} if "://" in scheduler else {"scheduler_file": scheduler}
    try:
        client = Client(**where, timeout=CONNECT_WITHIN, set_as_default=False)
    except (OSError, TimeoutError) as error:
        raise ResourceError(
            f"no scheduler answers at {scheduler} within {CONNECT_WITHIN} s: is it running, and is this its address?"
        ) from error
    except ValueError as error:
        raise ConfigError(f"scheduler {scheduler}: {error}; expected an address such as tcp://node7:8786") from error
    with client:
        if not client.nthreads():
            raise ResourceError(f"the scheduler at {scheduler} has no workers: start some with 'dask worker'")
        yield client


def _same(large: Any) -> Any:
    """The object itself, as a task that the scheduler can do again."""
    return large
