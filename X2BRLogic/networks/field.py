"""The occupancy field of one image, asked wherever there is memory for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import InputError
from .cores import each_on_a_core
from .device import out_of_memory, points_at_once, release

#: A batch smaller than this needs next to nothing: what does not fit now is the network.
_FEWEST_POINTS = 4096
#: Points whose features, a few hundred bytes each, stay in a core's cache together: half the time of many more.
_POINTS_IN_CACHE = 4096

T = TypeVar("T")


class OccupancyField:
    """What a network says of one image: logits at points of the ray cube.

    Where a card's memory runs out, batches are halved; when that does not help, the rest is done on the CPU, a few
    thousand points at a time on each core.

    Args:
        network: in evaluation mode; moved to the device.
        image: ``(S, S)`` float32 in [0, 1], as `radiograph.network_image` makes it.
        device: where to begin.

    Attributes:
        device: where it ended.
        batch: most points at a time.

    Raises:
        InputError: not even the CPU has the memory.
    """

    def __init__(self, network: nn.Module, image: np.ndarray, device: torch.device):
        self.device, self.batch = device, points_at_once(device)
        self._chosen = self.device, self.batch
        self._network, self._image = network, torch.from_numpy(image)[None, None]
        self._with_memory(self._prepare)

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Logits ``(N,)`` float32 at points ``(N, 3)``."""
        logits = np.empty(len(points), dtype=np.float32)
        done = 0
        while done < len(points):
            part = self._with_memory(lambda: self._logits(points[done : done + self.batch]))  # noqa: B023
            logits[done : done + len(part)] = part
            done += len(part)
        return logits

    def surface_points(self, level: float) -> np.ndarray:
        """Where the network knows, without being asked, that its field has this level; ``(S, 3)``, S may be 0."""
        with torch.inference_mode():
            return self._with_memory(lambda: self._network.surface_points(self._code, level).cpu().numpy())

    @property
    def warnings(self) -> list[str]:
        """What was done for want of memory, in sentences; empty where there was enough."""
        device, batch = self._chosen
        if self.device != device:
            return [f"the memory of {device} was not enough; the work was done on the CPU, which takes longer"]
        if self.batch != batch:
            return [f"the memory of {device} was short; points were taken {self.batch:,} at a time, not {batch:,}"]
        return []

    @torch.inference_mode()
    def _prepare(self) -> None:
        self._network.to(self.device)
        (self._code,) = self._run(self._network.encode, [self._image.to(self.device)])
        self._field = self._network.field(self._code)

    def _logits(self, points: np.ndarray) -> np.ndarray:
        points = torch.from_numpy(np.ascontiguousarray(points, dtype=np.float32)).to(self.device)
        pieces = points.split(_POINTS_IN_CACHE) if self.device.type == "cpu" else [points]
        return torch.cat(self._run(self._field, pieces)).float().cpu().numpy()

    def _run(self, function: Callable[[Tensor], Tensor], pieces: Sequence[Tensor]) -> list[Tensor]:
        if self.device.type == "cpu":
            return each_on_a_core(function, pieces)
        with torch.inference_mode():
            return [function(piece) for piece in pieces]

    def _with_memory(self, work: Callable[[], T]) -> T:
        """The result of `work`, tried with less and less."""
        while True:
            try:
                return work()
            except Exception as error:
                if not out_of_memory(error):
                    raise
                asking = work != self._prepare
            # Out of the handler, so that the failed attempt's tensors are let go.
            if self.device.type == "cpu":
                raise InputError("there is not enough memory to reconstruct; close other programs and try again")
            release(self.device)
            if asking and self.batch > _FEWEST_POINTS:
                self.batch = max(self.batch // 2, _FEWEST_POINTS)
            else:
                self.device = torch.device("cpu")
                self.batch = points_at_once(self.device)
                self._with_memory(self._prepare)
