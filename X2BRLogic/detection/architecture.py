"""Architectures of ultralytics (AGPL-3.0, optional): the one door for its code, which is kept off the network."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import InputError
from .classes import CLASSES


def require_ultralytics():
    """The module. Raises `InputError` where it is not installed.

    It looks up its version, reports use and fetches fonts from the network, and writes settings into the home folder;
    none of that happens here.
    """
    os.environ.setdefault("YOLO_OFFLINE", "true")
    os.environ.setdefault("YOLO_AUTOINSTALL", "false")
    os.environ.setdefault("YOLO_VERBOSE", "false")
    os.environ.setdefault("YOLO_CONFIG_DIR", str(Path(tempfile.gettempdir(), "x2br-ultralytics")))
    try:
        Path(os.environ["YOLO_CONFIG_DIR"]).mkdir(parents=True, exist_ok=True)
        with _others_as_they_are():
            import ultralytics
            import ultralytics.utils
    except ImportError:
        raise InputError(
            "ultralytics is not installed; it is AGPL-3.0 and optional: pip install ultralytics, "
            "or run the detector with --runtime onnx"
        ) from None
    return ultralytics


@contextmanager
def _others_as_they_are() -> Iterator[None]:
    """Undo what ultralytics does to other libraries, for the whole process, when it is imported.

    Its `Image.open` asks for another package where a file is no picture, and its `torch.save` tries again and again.
    """
    import torch
    from PIL import Image

    opened, saved = Image.open, torch.save
    try:
        yield
    finally:
        Image.open, torch.save = opened, saved


def build(system: str, classes: int = len(CLASSES)):
    """An untrained network for grey films. Raises `InputError` for a name that is no architecture."""
    require_ultralytics()
    from ultralytics.nn.tasks import DetectionModel

    try:
        return DetectionModel(f"{system}.yaml", ch=1, nc=classes, verbose=False)
    except (FileNotFoundError, AssertionError, KeyError, ValueError):
        raise InputError(f"ultralytics knows no architecture {system!r}; such as yolov9t, yolov9s, yolov9m") from None
