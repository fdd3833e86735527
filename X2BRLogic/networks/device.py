"""Where a network runs."""

from __future__ import annotations

import torch
from torch import nn

from ..errors import InputError

DEVICES = ("auto", "cpu", "cuda")


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
