"""Weights of detectors on disk: which are installed, and what a file says of itself."""

from __future__ import annotations

import ast
from pathlib import Path

from ..errors import InputError
from ..files import parse_json
from ..models import resources
from .classes import CLASSES

SCHEMA = "x2br-detector-1"
#: What a tensor in half precision has after its name.
HALF = ".half"
#: The installed detector.
DEFAULT = "yolov9t"
#: What can run a detector.
RUNTIMES = ("onnx", "ultralytics")


def folder() -> Path:
    """Where the installed detectors are."""
    return resources() / "Models" / "Detection"


def installed() -> list[Path]:
    """The weights that are installed, by name."""
    return sorted(folder().glob("*.onnx"))


def default_weights() -> Path:
    """The weights of `DEFAULT`. Raises `InputError` where they are not installed."""
    path = folder() / f"{DEFAULT}.onnx"
    if not path.is_file():
        raise InputError(f"no detector is installed ({path.name}); give a file with --weights")
    return path


def class_places(names: str | list[str], path: Path) -> list[int]:
    """For each class of a weights file its place in `CLASSES`.

    Args:
        names: a list, or as ultralytics writes them: ``"{0: 'rib_left_1', ...}"``.

    Raises:
        InputError: a class that is no bone of ours.
    """
    try:
        listed = ast.literal_eval(names) if isinstance(names, str) else names
        listed = [listed[n] for n in range(len(listed))]
        return [CLASSES.index(name) for name in listed]
    except (ValueError, SyntaxError, KeyError, TypeError):
        raise InputError(
            f"{path} finds other things than {CLASSES[0]} to {CLASSES[-1]}; train it on x2br dataset boxes"
        ) from None


def facts_of(text: str | None, path: Path) -> dict:
    """What `export` wrote into a file. Raises `InputError` where there is nothing of the kind."""
    try:
        facts = parse_json(text or "null")
        if facts["schema"] != SCHEMA:
            raise KeyError("schema")
        return facts
    except (ValueError, TypeError, KeyError):
        raise InputError(f"{path} was not written by X2BR (no {SCHEMA} header)") from None
