"""Workers on this machine: processes that are replaced when they die, and that share the cores among them.

A process pool of Python takes nothing more once one of its processes is gone, whoever killed it. Here each worker is a
process of its own with a pipe, and only what it was working on is lost with it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from multiprocessing.connection import Connection, wait
from typing import Any

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
"""Variables of the environment that say how many threads a library may use."""
_Task = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]
_environment = threading.Lock()


class LocalWorkers(Executor):
    """Executor of processes on this machine.

    Parameters
    ----------
    n_workers : number of processes.

    Attributes
    ----------
    threads : of each process, unless the environment says otherwise: an equal share of the cores.
    """

    def __init__(self, n_workers: int) -> None:
        self.threads = max(1, len(os.sched_getaffinity(0)) // n_workers)
        self._dispatch = ThreadPoolExecutor(n_workers, thread_name_prefix="molcalc-worker")
        self._own = threading.local()
        self._workers: set[_Worker] = set()
        self._ended = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call a function in a worker.

        Returns
        -------
        future of its result; of a worker that ended without one it raises BrokenExecutor
        """
        return self._dispatch.submit(self._in_worker, (fn, args, kwargs))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the workers, when they have done what they were given."""
        self._dispatch.shutdown(wait, cancel_futures=cancel_futures)
        self._end()

    def stop(self) -> None:
        """End the workers at once, whatever they are doing."""
        self._end()
        self._dispatch.shutdown(cancel_futures=True)

    def _end(self) -> None:
        self._ended = True
        for worker in list(self._workers):
            worker.end()

    def _in_worker(self, task: _Task) -> Any:
        """Result of a task in the worker of this thread, which is begun when it is needed."""
        worker: _Worker | None = getattr(self._own, "worker", None)
        if self._ended:
            raise BrokenExecutor("the workers have been stopped")
        if worker is None:
            worker = self._own.worker = _Worker(self.threads)
            self._workers.add(worker)
        try:
            return worker.call(task)
        except BrokenExecutor:
            self._workers.discard(worker)
            self._own.worker = None
            raise


class _Worker:
    """One process, and the pipe to it."""

    def __init__(self, threads: int) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would copy locks that other threads hold
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        with _threads_of_children(threads):
            self._process.start()
        theirs.close()

    def call(self, task: _Task) -> Any:
        """Result of a task, or the exception that it raised."""
        with contextlib.suppress(OSError):  # a broken pipe: it has ended
            self._pipe.send(task)
        wait([self._pipe, self._process.sentinel])
        try:
            succeeded, value = self._pipe.recv()
        except (EOFError, OSError) as error:
            self._process.join()
            raise BrokenExecutor(f"a worker ended without a result (exit code {self._process.exitcode})") from error
        if not succeeded:
            raise value
        return value

    def end(self) -> None:
        """End the process at once."""
        self._process.kill()


def _serve(pipe: Connection) -> None:
    """Main function of a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all processes of a terminal; the parent ends this one
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        answer: tuple[bool, Any]
        try:
            function, args, kwargs = pipe.recv()
            answer = True, function(*args, **kwargs)
        except EOFError:
            return
        except Exception as error:  # whatever it is, the parent raises it
            answer = False, error
        pipe.send(answer)


def _end_with_parent() -> None:
    """End this process when the one that began it is gone, also in the middle of a task: nobody waits for it."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@contextlib.contextmanager
def _threads_of_children(threads: int) -> Iterator[None]:
    """Let processes that are begun in the block use so many threads each."""
    with _environment:
        missing = [name for name in THREADS if name not in os.environ]
        os.environ.update(dict.fromkeys(missing, str(threads)))
        try:
            yield
        finally:
            for name in missing:
                del os.environ[name]
