"""A radiograph in, its ribs and vertebrae out."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from .boxes import Box

if TYPE_CHECKING:
    import numpy as np

    from ..radiograph import Radiograph
    from .candidates import Candidates
    from .runtime import Network


@dataclass(frozen=True)
class Detection:
    """The bones found in a radiograph.

    Attributes:
        boxes: in pixels of the radiograph; at most one of each bone.
        notes: sentences: what was missing, found twice, renumbered or filled in.
        model: the weights file, and what ran it.
        seconds: wall time, loading apart.
    """

    boxes: tuple[Box, ...]
    notes: tuple[str, ...]
    model: str
    seconds: float


def detect(radiograph: Radiograph, *, runtime: str = "onnx", weights: Path | None = None) -> Detection:
    """Find the ribs and vertebrae of a frontal chest film, AP or PA, the patient's right on the image's left.

    Args:
        radiograph: bone bright.
        runtime: ``onnx``, or ``ultralytics`` (AGPL-3.0) where it is installed.
        weights: instead of those that are installed: an ONNX file of `export`, for the first also of ``yolo export``.

    Raises:
        InputError: the runtime or the weights are missing, wrong or damaged; or the film is blank, or not frontal.
    """
    from .naming import named
    from .ordering import order
    from .weights import default_weights

    radiograph.require_frontal("the detector")
    path = Path(weights) if weights else default_weights()
    network = loaded(runtime, path)
    start = time.perf_counter()
    found = propose(radiograph.pixels, network)
    boxes, notes = named(found, order(found), radiograph.pixels.shape)
    return Detection(tuple(boxes), tuple(notes), f"{path.name} ({runtime})", time.perf_counter() - start)


def propose(pixels: np.ndarray, network: Network) -> dict[str, Candidates]:
    """What a network sees in a film ``(rows, columns)``, by group, before it is ordered. Raises for a blank film."""
    from .candidates import candidates
    from .image import Letterbox

    square = Letterbox.of(pixels, network.size)
    edges, scores = network(square.image)
    return candidates(square.to_film(edges), scores)


def loaded(runtime: str, weights: Path) -> Network:
    """A detector, kept for the next film as long as its file does not change. Raises as `runtime.load`."""
    from ..files import require_file

    status = require_file(weights).stat()
    return _loaded(runtime, weights, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=2)
def _loaded(runtime: str, weights: Path, modified: int, size: int) -> Network:
    from .runtime import load

    return load(runtime, weights)
