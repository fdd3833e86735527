"""How many threads a stretch of work runs on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numba
from threadpoolctl import threadpool_limits


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for Numba, for linear algebra and for OpenMP (PyTorch) inside.

    Iterations of some milliseconds gain little from a second core, and where the cores are busy each hand-over waits
    for its turn: twenty times slower has been seen. One thread also adds up in the same order on every machine.
    """
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        numba.set_num_threads(threads)
