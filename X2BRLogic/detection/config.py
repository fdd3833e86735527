"""A detector's training run described in a TOML file."""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from ..errors import InputError
from ..files import require_file, shown

#: What a configuration's ``system`` begins with where it is a detector's.
_FAMILY = "yolo"


@dataclass(frozen=True)
class DetectorConfig:
    """What a run is made of.

    Attributes:
        system: an architecture that ultralytics knows, such as ``yolov9t`` or ``yolov9s``.
        data: folder of films and boxes (``x2br dataset boxes``), which may grow meanwhile.
        out: folder for checkpoints, log and weights.
        steps: optimiser steps.
        batch: films a step.
        size: pixels along an edge of the detector's input.
        small_size, small: the first part `small` of the steps sees films of this size, which cost less.
        learning_rate: of AdamW; rises over `warmup` steps, then falls to zero along a half cosine.
        weight_decay: of the kernels.
        warmup: steps.
        averaging: of the weights, which are those that are kept: of their exponential mean, a step.
        validation: films of other patients, over which the loss is told at each checkpoint.
        checkpoint_every: steps.
        workers: processes that read films; 0 for none but the training itself.
        seed: decides weights, films and their changes.
    """

    system: str = "yolov9t"
    data: Path = Path("out/boxes")
    out: Path = Path("out/yolov9t")
    steps: int = 100_000
    batch: int = 16
    size: int = 512
    small_size: int = 320
    small: float = 0.7
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    warmup: int = 200
    averaging: float = 0.998
    validation: int = 32
    checkpoint_every: int = 100
    workers: int = 1
    seed: int = 0

    #: As `training.schedule.learning_rate` reads it.
    decay = True

    def to_dict(self) -> dict:
        """Plain values, for logs and model cards."""
        return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items()}


def is_detector(path: Path) -> bool:
    """Whether a configuration is of a detector; of a file that cannot be read it is not."""
    try:
        return str(tomllib.loads(path.read_text(encoding="utf-8")).get("system", "")).startswith(_FAMILY)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return False


def read_detector_config(path: Path) -> DetectorConfig:
    """Read a configuration. Raises `InputError` for bad TOML, an unknown name or a bad value."""
    try:
        table = tomllib.loads(require_file(path).read_text(encoding="utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"cannot read the configuration {path}: {error}") from None
    defaults = {f.name: f.default for f in fields(DetectorConfig)}
    if unknown := sorted(set(table) - set(defaults)):
        raise InputError(f"configuration: unknown {', '.join(unknown)}; known are {', '.join(defaults)}")
    values = {}
    for name, value in table.items():
        kind = type(defaults[name])
        accepted = {float: (int, float), int: int}.get(kind, str)
        if not isinstance(value, accepted) or isinstance(value, bool):
            raise InputError(f"configuration: {name} = {shown(value)} is no {kind.__name__}")
        values[name] = kind(value)
    config = DetectorConfig(**values)
    if min(config.steps, config.batch, config.validation, config.checkpoint_every) < 1 or config.learning_rate <= 0:
        raise InputError("configuration: steps, batch, validation, checkpoint_every and learning_rate must be positive")
    if config.size % 32 or config.small_size % 32 or min(config.size, config.small_size) < 64:
        raise InputError("configuration: size and small_size must be multiples of 32, and 64 or more")
    if not (0 <= config.small <= 1 and 0 <= config.averaging < 1) or min(config.warmup, config.workers) < 0:
        raise InputError("configuration: small lies in 0 to 1, averaging is below 1, warmup and workers are 0 or more")
    return config
