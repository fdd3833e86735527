"""The state of a run in one file, replaced whole, so that a run killed at any moment goes on from the last one."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..errors import InputError

CHECKPOINT = "checkpoint.pt"


@dataclass
class Progress:
    """How far a run is.

    Attributes:
        step: optimiser steps taken, and so the place in the sequence of batches.
        seconds: spent in them, the wait for batches included, validations not.
        best_iou, best_step: of the best validation so far.
        stale: validations since the last that was better than all before it.
    """

    step: int = 0
    seconds: float = 0.0
    best_iou: float = -1.0
    best_step: int = 0
    stale: int = 0

    def judged(self, iou: float) -> bool:
        """Take note of a validation; whether it is the best so far, or as good as that and later."""
        self.stale = 0 if iou > self.best_iou else self.stale + 1
        if iou < self.best_iou:
            return False
        self.best_iou, self.best_step = iou, self.step
        return True


@dataclass
class Checkpoint:
    """What a run needs to go on: network, optimiser, progress, and the weights of the best validation.

    Random numbers need no state: those of a step follow from the seed and its number.
    """

    path: Path
    network: nn.Module
    optimiser: Optimizer
    architecture: dict
    progress: Progress = field(default_factory=Progress)
    best: dict[str, Tensor] = field(default_factory=dict)

    def keep_best(self) -> None:
        """Make the present weights the best ones."""
        self.best = {name: value.detach().cpu().clone() for name, value in self.network.state_dict().items()}

    def save(self) -> None:
        """Write everything, whole or not at all."""
        state = {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "progress": asdict(self.progress),
            "best": self.best,
            "architecture": self.architecture,
        }
        partial = self.path.with_suffix(".partial")
        torch.save(state, partial)
        os.replace(partial, self.path)

    def restore(self) -> None:
        """Load the state if there is one. Raises `InputError` if it is damaged or of another architecture."""
        if not self.path.exists():
            return
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            if state["architecture"] != self.architecture:
                raise InputError(f"{self.path} is of another architecture; give another out folder or delete it")
            self.network.load_state_dict(state["network"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.progress, self.best = Progress(**state["progress"]), state["best"]
        except InputError:
            raise
        except Exception as error:  # torch raises many kinds for a damaged file
            raise InputError(
                f"cannot resume from {self.path} ({type(error).__name__}); delete it to start anew"
            ) from None
