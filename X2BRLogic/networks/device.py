"""Where a network runs, and how much it can take at a time there."""

from __future__ import annotations

import torch
from torch import nn

from ..errors import InputError

DEVICES = ("auto", "cpu", "cuda")

#: On a CPU a batch is the grain of progress and cancel, not of memory; for each core.
_POINTS_ON_CORE = 16_384
#: On a card the largest batch that helps, and what a point takes there at most: a few copies of its features.
_POINTS_ON_CARD = 1_048_576
_BYTES_A_POINT = 4096


def choose_device(name: str = "auto") -> torch.device:
    """``auto``, ``cpu`` or ``cuda`` to a device. Raises `InputError` where CUDA is asked for and absent."""
    if name not in DEVICES:
        raise InputError(f"unknown device {name!r}; use one of {', '.join(DEVICES)}")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("no CUDA device is available; use cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def device_of(module: nn.Module) -> torch.device:
    """The device on which a module's parameters are."""
    return next(module.parameters()).device


def points_at_once(device: torch.device) -> int:
    """How many points of an occupancy field to ask for in one call."""
    if device.type != "cuda":
        return _POINTS_ON_CORE * torch.get_num_threads()
    free, _ = torch.cuda.mem_get_info(device)
    return int(min(_POINTS_ON_CARD, max(free // 2 // _BYTES_A_POINT, _POINTS_ON_CORE)))


def out_of_memory(error: Exception) -> bool:
    """Whether an error says that a device, or this machine, had no memory left."""
    # PyTorch's allocator on the CPU raises a plain RuntimeError.
    return isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and "allocate memory" in str(error)
    )


def release(device: torch.device) -> None:
    """Give back what PyTorch keeps of a card's memory for later."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
