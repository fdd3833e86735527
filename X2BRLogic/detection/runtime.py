"""What runs a detector, which is an ONNX file: onnxruntime (MIT), or ultralytics (AGPL-3.0) where the user has it."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np

from ..errors import InputError
from ..files import reason, require_file
from .architecture import build, require_ultralytics
from .classes import CLASSES
from .weights import HALF, RUNTIMES, class_places, facts_of


class Network(Protocol):
    """A detector that is loaded.

    Attributes:
        size: pixels along an edge of its input.
    """

    size: int

    def __call__(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """All that it proposes in a square film, ``(size, size)`` uint8.

        Returns:
            Edges ``(A, 4)``: left, top, right, bottom, in pixels from the square's corner; scores ``(A, classes)`` of
            `CLASSES`, 0 to 1.
        """


def load(runtime: str, weights: Path) -> Network:
    """Load a detector from an ONNX file.

    Raises `InputError`: unknown runtime, not installed, or a file that is damaged or no such detector.
    """
    if runtime not in RUNTIMES:
        raise InputError(f"unknown runtime {runtime!r}; the runtimes are {', '.join(RUNTIMES)}")
    weights = require_file(weights)
    if weights.suffix == ".pt":
        raise InputError(f"{weights} is a pickle, which can run code; export it: yolo export format=onnx model=FILE")
    return _Onnx(weights) if runtime == "onnx" else _Ultralytics(weights)


class _Onnx:
    def __init__(self, weights: Path):
        try:
            import onnxruntime
        except ImportError:
            raise InputError("onnxruntime is not installed, which runs the detector: pip install onnxruntime") from None
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # it would print what we say in one sentence
        try:
            self._session = onnxruntime.InferenceSession(
                weights,
                options,
                providers=["CPUExecutionProvider"],
                enable_fallback=0,  # it prints, and tries the same once more
            )
            names = self._session.get_modelmeta().custom_metadata_map.get("names", "")
            inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        except Exception as error:  # of onnxruntime's own kinds, which have no common name
            raise InputError(f"{weights} is damaged or no ONNX file ({reason(error)}); get it again") from None
        self._places = class_places(names, weights)
        shape, found = inputs[0].shape, outputs[0].shape
        square = len(shape) == 4 and shape[0] == 1 and shape[1] in (1, 3) and shape[2] == shape[3]
        if len(inputs) != 1 or not square or not isinstance(shape[2], int) or found[:2] != [1, 4 + len(self._places)]:
            raise InputError(
                f"{weights} is no detector of this kind: one square film of fixed size in, boxes and scores out; "
                "export it with yolo export format=onnx"
            )
        self._name, self._channels, self.size = inputs[0].name, shape[1], shape[2]

    def __call__(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        batch = np.broadcast_to(image.astype(np.float32) / 255.0, (1, self._channels, *image.shape))
        (found,) = self._session.run(None, {self._name: np.ascontiguousarray(batch)})[:1]
        return _decoded(found[0], self._places)


class _Ultralytics:
    def __init__(self, weights: Path):
        require_ultralytics()
        import torch

        self._torch = torch
        facts, tensors = _stored(weights)
        self._places, self.size = class_places(facts["names"], weights), int(facts["size"])
        network = build(facts["system"], len(self._places)).eval().fuse(verbose=False)
        try:
            network.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in tensors.items()})
        except RuntimeError:
            raise InputError(f"{weights}: its tensors do not fit {facts['system']}; get it again") from None
        self._network = network

    def __call__(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        batch = self._torch.from_numpy(image)[None, None].float() / 255.0
        with self._torch.inference_mode():
            found = self._network(batch)[0]
        return _decoded(found[0].numpy(), self._places)


def _stored(weights: Path) -> tuple[dict, dict[str, np.ndarray]]:
    """What a file written by `export` says of itself, and its tensors in float32 by their names in the network."""
    try:
        import onnx
    except ImportError:
        raise InputError("onnx is not installed, from which ultralytics gets the weights: pip install onnx") from None
    try:
        model = onnx.load(weights)
    except Exception as error:  # of protobuf's own kinds
        raise InputError(f"{weights} is damaged or no ONNX file ({reason(error)}); get it again") from None
    facts = facts_of({entry.key: entry.value for entry in model.metadata_props}.get("x2br"), weights)
    tensors = {
        tensor.name.removesuffix(HALF): onnx.numpy_helper.to_array(tensor).astype(np.float32)
        for tensor in model.graph.initializer
        if tensor.name.startswith("model.")
    }
    return facts, tensors


def _decoded(found: np.ndarray, places: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """From ``(4 + classes, A)``, where boxes are given by middle and size."""
    middle, half = found[:2].T, found[2:4].T / 2
    scores = np.zeros((found.shape[1], len(CLASSES)), dtype=np.float32)
    scores[:, places] = found[4:].T
    return np.hstack([middle - half, middle + half]), scores
