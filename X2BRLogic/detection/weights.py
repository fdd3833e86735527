"""Weights of detectors on disk: which are installed, and what a file says of itself."""

from __future__ import annotations

import ast
import json
from pathlib import Path

from ..errors import InputError
from ..models import resources
from .classes import CLASSES

SCHEMA = "x2br-detector-1"
#: The installed detector.
DEFAULT = "yolov9t"
#: What runs a detector, and the kind of file that it takes.
RUNTIMES: dict[str, str] = {"onnx": ".onnx", "ultralytics": ".safetensors"}


def folder() -> Path:
    """Where the installed detectors are."""
    return resources() / "Models" / "Detection"


def installed() -> list[Path]:
    """The weights that are installed, by name."""
    return sorted(path for path in folder().glob("*") if path.suffix in RUNTIMES.values())


def weights_for(runtime: str) -> Path:
    """The installed weights. Raises `InputError` for an unknown runtime, and where there are none for it."""
    path = folder() / f"{DEFAULT}{suffix_of(runtime)}"
    if not path.is_file():
        raise InputError(f"no detector is installed for {runtime} ({path.name}); give a file with --weights")
    return path


def suffix_of(runtime: str) -> str:
    """The suffix of its files. Raises `InputError` for an unknown runtime."""
    if runtime not in RUNTIMES:
        raise InputError(f"unknown runtime {runtime!r}; the runtimes are {', '.join(RUNTIMES)}")
    return RUNTIMES[runtime]


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
        facts = json.loads(text or "null")
        if facts["schema"] != SCHEMA:
            raise KeyError("schema")
        return facts
    except (ValueError, TypeError, KeyError):
        raise InputError(f"{path} was not written by X2BR (no {SCHEMA} header)") from None
