"""The occupancy field of one patient, asked wherever there is memory for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
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
    """What a network says of one image, or of as many as it takes: logits at points of the (first one's) ray cube.

    Where a card's memory runs out, batches are halved; when that does not help, the rest is done on the CPU, a few
    thousand points at a time on each core.

    Args:
        network: in evaluation mode; moved to the device.
        images: each ``(S, S)`` float32 in [0, 1], as `radiograph.network_image` makes it; `network.views` of them.
        device: where to begin.

    Attributes:
        device: where it ended.
        batch: most points at a time.

    Raises:
        InputError: not even the CPU has the memory.
    """

    def __init__(self, network: nn.Module, images: Sequence[np.ndarray], device: torch.device):
        self.device, self.batch = device, points_at_once(device)
        self._chosen = self.device, self.batch
        self._network, self._images = network, [torch.from_numpy(image)[None, None] for image in images]
        self._with_memory(self._prepare)

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Logits ``(N,)`` float32 at points ``(N, 3)``."""
        return self._asked(lambda part: self._run(self._field, part), points)

    def names(self, points: np.ndarray) -> np.ndarray:
        """Of networks that name bones: what `network.named` says at points ``(N, 3)``, ``(N, K)`` float32."""
        return self._asked(lambda part: self._run(partial(self._network.named, self._code), part), points)

    def _asked(self, function: Callable[[Sequence[Tensor]], list[Tensor]], points: np.ndarray) -> np.ndarray:
        parts, done = [], 0
        while done < len(points) or not parts:
            part = self._with_memory(lambda: self._answer(function, points[done : done + self.batch]))  # noqa: B023
            parts.append(part)
            done += max(len(part), 1)
        return np.concatenate(parts)

    def surface_points(self, level: float) -> np.ndarray:
        """Where the network knows, without being asked, that its field has this level; ``(S, 3)``, S may be 0."""
        with torch.inference_mode():
            return self._with_memory(lambda: self._network.surface_points(self._code, level).cpu().numpy())

    @property
    def code(self):
        """What the network's `encode` made of the films."""
        return self._code

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
        images = [image.to(self.device) for image in self._images]
        (self._code,) = self._run(lambda films: self._network.encode(*films), [images])
        self._field = self._network.field(self._code)

    def _answer(self, function: Callable, points: np.ndarray) -> np.ndarray:
        points = torch.from_numpy(np.ascontiguousarray(points, dtype=np.float32)).to(self.device)
        pieces = points.split(_POINTS_IN_CACHE) if self.device.type == "cpu" else [points]
        return torch.cat(function(pieces)).float().cpu().numpy()

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


class TwoViews:
    """What a network of one view says of a patient from two films at right angles: an `OccupancyField` of both.

    Films seen from two sides are taken for independent witnesses: at a point their logits add up, weighted by the
    network's `fusion`. What the frontal film cannot tell of depth the lateral one sees from the side. Where the second
    film does not reach, the first speaks alone.

    Args:
        first, second: the fields of the two films; points are in the ray cube of the first.
        to_second, to_first: points ``(N, 3)`` from the first's ray cube to the second's, and back.
        fusion: weights of the two logits, and a constant.
    """

    def __init__(
        self,
        first: OccupancyField,
        second: OccupancyField,
        to_second: Callable[[np.ndarray], np.ndarray],
        to_first: Callable[[np.ndarray], np.ndarray],
        fusion: tuple[float, float, float],
    ):
        self._first, self._second = first, second
        self._to_second, self._to_first = to_second, to_first
        self._fusion = fusion

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Logits ``(N,)`` float32 at points ``(N, 3)``."""
        logits = self._first(points)
        beside = self._to_second(points)
        seen = (np.abs(beside) <= 0.5).all(axis=1)
        weight, other, constant = self._fusion
        logits[seen] = weight * logits[seen] + other * self._second(beside[seen]) + constant
        return logits

    def names(self, points: np.ndarray) -> np.ndarray:
        """As `OccupancyField.names`: the sum of what the films say."""
        beside = self._to_second(points)
        seen = (np.abs(beside) <= 0.5).all(axis=1)
        names = self._first.names(points)
        names[seen] += self._second.names(beside[seen])
        return names

    def surface_points(self, level: float) -> np.ndarray:
        """Where either film alone sees a surface, ``(S, 3)``."""
        back = self._to_first(self._second.surface_points(level))
        inside = back[(np.abs(back) <= 0.5).all(axis=1)]
        return np.concatenate([self._first.surface_points(level), inside.astype(np.float32)])

    @property
    def device(self) -> torch.device:
        """Where the work ended."""
        return self._second.device

    @property
    def batch(self) -> int:
        """Most points at a time."""
        return min(self._first.batch, self._second.batch)

    @property
    def warnings(self) -> list[str]:
        """As of `OccupancyField`."""
        return list(dict.fromkeys([*self._first.warnings, *self._second.warnings]))
