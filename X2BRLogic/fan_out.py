"""One function over many items, in processes of this machine or on a Dask cluster; no item can stop the others."""

from __future__ import annotations

import logging
import os
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from .errors import InputError

#: An item whose process dies is tried again, for it may have been another's fault; so often in all.
ATTEMPTS = 3
#: Items that are with a cluster's scheduler at a time: enough to keep it busy and to let an adaptive one grow, few
#: enough that memory does not grow with the number of items.
_IN_FLIGHT = 64
_CONNECT_SECONDS = 10
#: Python and the libraries alone take a good half of it.
_LEAST_MEMORY = 2**28

#: One thread a process: the items are what runs side by side. Read by OpenMP (torch), BLAS, Numba and ITK at start.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1",
}

_SETTINGS = {
    # One item a worker at a time, so that only the item that runs is suspected when its process dies.
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.scheduler.allowed-failures": ATTEMPTS - 1,
    # A kernel that holds Python's lock for minutes is alive; the nanny knows when a process is dead.
    "distributed.scheduler.worker-ttl": None,
    # Results are small and go back at once: there is nothing to spill, and a paused worker would wait for ever.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 0.95,
    "distributed.nanny.pre-spawn-environ": {"MALLOC_TRIM_THRESHOLD_": "65536"} | ONE_THREAD,
}


@dataclass(frozen=True)
class Outcome:
    """What became of one item.

    Attributes:
        item: as it was given.
        value: what the function returned; ``None`` where it failed.
        error: why it failed, in one line; ``None`` where it did not.
        seconds: the time it ran; 0 where its process died.
    """

    item: Any
    value: Any
    error: str | None
    seconds: float


def fan_out(
    function: Callable[[Any], Any],
    items: Iterable[Any],
    *,
    workers: int = 1,
    scheduler: str | None = None,
    memory: str = "4 GiB",
) -> Iterator[Outcome]:
    """Call `function` with each item and yield the outcomes as they come, in any order.

    An exception, a process that is killed or crashes, and one that takes more than `memory` end in an `Outcome` with
    an error, and the rest goes on. Items are taken as they are needed, so there may be any number. Closing the
    iterator, an exception in the caller or Ctrl-C stop all work and leave no process behind. An item may be run again
    when its process dies, so what `function` writes it writes whole or not at all.

    Args:
        function: of one argument, importable by the workers (or a `functools.partial` of such); its value is picklable.
        items: small and picklable: paths and numbers, not volumes.
        workers: processes on this machine, each with one thread; unused with a scheduler.
        scheduler: address of a Dask scheduler, such as ``tcp://10.0.0.1:8786``; how its workers are started, with how
            much memory and how many threads, is the cluster's affair. They need X2BR and the same file system.
        memory: most that a process on this machine may take.

    Raises:
        InputError: no worker, a memory limit that is none, or a scheduler that does not answer or goes away.
    """
    if workers < 1:
        raise InputError(f"there must be at least one worker, not {workers}")
    return _outcomes(function, items, workers, scheduler, memory, _bytes(memory))


def default_workers(memory: str = "4 GiB") -> int:
    """One a core, and no more than this machine has memory for. Raises `InputError` for what is no amount of memory."""
    from dask.system import CPU_COUNT
    from distributed.system import MEMORY_LIMIT

    return max(1, min(CPU_COUNT, MEMORY_LIMIT // _bytes(memory)))


def _bytes(memory: str) -> int:
    from dask.utils import parse_bytes

    try:
        limit = parse_bytes(memory)
    except ValueError:
        raise InputError(f"{memory!r} is no amount of memory; give one such as 4 GiB") from None
    if limit < _LEAST_MEMORY:
        raise InputError(f"{memory} of memory is less than a worker needs for itself; give one such as 4 GiB")
    return limit


def _outcomes(function, items, workers, scheduler, memory, limit) -> Iterator[Outcome]:
    from distributed import as_completed

    died = f"its process died {ATTEMPTS} times: killed, crashed, or over the limit of {memory}"
    if scheduler:
        died = "its process died again and again: killed, crashed, or out of memory; see the workers' logs"
    waiting = iter(items)
    first = list(islice(waiting, 1))
    if not first:
        return
    waiting = chain(first, waiting)
    with _quiet(), _remote(scheduler) if scheduler else _local(workers, limit) as client:
        running: dict[Any, Any] = {}
        completed = as_completed()

        def submit() -> None:
            # On this machine a worker gets its next item when the value of the last one has been fetched from it, so
            # that hardly a value is lost with a process, or waits in one that does not let go of Python's lock.
            most = max(_IN_FLIGHT, 2 * _threads(client)) if scheduler else workers
            for item in islice(waiting, max(most - len(running), 0)):
                future = client.submit(_timed, function, item, pure=False)
                running[future] = item
                completed.add(future)

        submit()
        while running:
            future = next(completed)
            if future.status == "lost":  # done, but its worker died before the value was fetched: it is done again
                completed.add(future)
                continue
            outcome = _outcome(running.pop(future), future, died)
            future.release()
            submit()
            yield outcome


def _threads(client) -> int:
    return sum(worker["nthreads"] for worker in client.scheduler_info(n_workers=-1)["workers"].values())


def _timed(function: Callable, item: Any) -> tuple[Any, str | None, float]:
    """Runs on a worker. What goes wrong comes back as text: an exception's class may not exist on the other side."""
    start = time.perf_counter()
    try:
        value, error = function(item), None
    except InputError as problem:
        value, error = None, " ".join(str(problem).split())
    except (Exception, SystemExit) as problem:
        last = traceback.extract_tb(problem.__traceback__)[-1]
        value = None
        text = " ".join(str(problem).split())
        error = f"{type(problem).__name__}: {text} ({Path(last.filename).name}, line {last.lineno})"
    return value, error, time.perf_counter() - start


def _outcome(item: Any, future, died: str) -> Outcome:
    from distributed import KilledWorker

    if future.status == "cancelled":
        raise InputError("the Dask scheduler has gone away; start it again, and run the same command to go on")
    try:
        value, error, seconds = future.result()
    except KilledWorker:
        value, error, seconds = None, died, 0.0
    except Exception as problem:  # the item, the function or its value did not survive the way between processes
        value, error, seconds = None, f"{type(problem).__name__}: {' '.join(str(problem).split())}", 0.0
    return Outcome(item, value, error, seconds)


@contextmanager
def _local(workers: int, limit: int):
    """A client of a cluster of processes on this machine, which end with it."""
    import dask
    from distributed import Client, LocalCluster

    before = {name: os.environ.get(name) for name in _SETTINGS["distributed.nanny.pre-spawn-environ"]}
    with ExitStack() as stack:
        stack.enter_context(dask.config.set(_SETTINGS))
        stack.callback(_restore, before)  # Dask sets the workers' environment in this process and leaves it there
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="x2br-", ignore_cleanup_errors=True))
        try:
            cluster = LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                memory_limit=limit,
                dashboard_address=None,
                silence_logs=logging.CRITICAL,
                local_directory=folder,
            )
        except RuntimeError:
            raise InputError(
                'the worker processes did not start; a script that calls this does so under if __name__ == "__main__":'
            ) from None
        stack.callback(_stop, cluster)
        yield stack.enter_context(Client(cluster))


@contextmanager
def _remote(address: str):
    from distributed import Client

    try:
        client = Client(address, timeout=_CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise InputError(
            f"no Dask scheduler answers at {address} ({type(error).__name__}); check the address"
        ) from None
    with client:
        yield client


@contextmanager
def _quiet():
    """Keep Dask's own accounts of what comes back as an outcome off stderr."""
    from distributed.utils import silence_logging_cmgr

    with ExitStack() as stack:
        for name in ("distributed", "distributed.client", "distributed.gc"):  # those with handlers of their own
            stack.enter_context(silence_logging_cmgr(logging.CRITICAL, name))
        yield


def _stop(cluster) -> None:
    """End the workers at once: what they still do is of no use to anybody."""
    for nanny in cluster.workers.values():
        with suppress(Exception):
            nanny.process.process.kill()
    with suppress(Exception):
        cluster.close(timeout=10)


def _restore(before: dict[str, str | None]) -> None:
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
