"""Work on a CPU in pieces, each done by one core."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor


def each_on_a_core(function: Callable[[Tensor], Tensor], pieces: Sequence[Tensor]) -> list[Tensor]:
    """`function` of every piece, in order, as many at a time as PyTorch may use threads; no gradients are recorded.

    PyTorch's own threads share every single operation and wait for each other after it. Where operations are as short
    as here that gains nothing on a quiet machine, and takes many times as long where something else wants a core.
    """
    function = torch.inference_mode()(function)
    cores = torch.get_num_threads()
    if cores == 1:
        return [function(piece) for piece in pieces]
    return list(_pool(cores, os.getpid()).map(function, pieces))


@functools.cache
def _pool(cores: int, process: int) -> ThreadPoolExecutor:
    """Threads of a process in which an operation of PyTorch is done by the thread itself."""
    started = threading.Barrier(cores + 1)

    def begin():
        torch.set_num_threads(1)  # of this thread, but also the default of threads to come
        started.wait()

    pool = ThreadPoolExecutor(cores, "x2br-core", initializer=begin)
    for _ in range(cores):
        pool.submit(int)
    started.wait()
    torch.set_num_threads(cores)  # the default as it was
    return pool
