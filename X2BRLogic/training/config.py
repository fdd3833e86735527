"""A training run described in a TOML file."""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from ..errors import InputError
from ..networks.x2b import X2BConfig


@dataclass(frozen=True)
class TrainingConfig:
    """What a run is made of; the defaults are the paper's.

    Attributes:
        system: the network, ``x2b``.
        data: folder of virtual patients (``x2br dataset virtual``).
        out: folder for checkpoints, log and weights.
        steps: optimiser steps.
        batch: radiographs a step.
        points: occupancy samples a radiograph and step.
        learning_rate: of Adam with PyTorch's other defaults.
        warmup: steps of linear increase before it.
        decay: lower the rate to zero along a half cosine, for a run of fixed length.
        validation: the last so many patients are never trained on.
        checkpoint_every: steps between checkpoints, and between validations.
        seed: decides weights and batches.
        pretrained: start the encoder from timm's ImageNet weights (needs the network).
        model: the architecture.
    """

    system: str = "x2b"
    data: Path = Path("out/virtual")
    out: Path = Path("out/x2b")
    steps: int = 100_000
    batch: int = 16
    points: int = 2048
    learning_rate: float = 1e-4
    warmup: int = 0
    decay: bool = False
    validation: int = 32
    checkpoint_every: int = 250
    seed: int = 0
    pretrained: bool = False
    model: X2BConfig = field(default_factory=X2BConfig)

    def to_dict(self) -> dict:
        """Plain values, for logs and model cards."""
        return asdict(self) | {"data": str(self.data), "out": str(self.out)}


def _typed(name: str, kind: str, value):
    """The value as the field's type, or an error that names the field."""
    accepted = {"int": int, "float": (int, float), "bool": bool, "str": str, "Path": str}[kind]
    if not isinstance(value, accepted) or (isinstance(value, bool) and kind != "bool"):
        raise InputError(f"configuration: {name} = {value!r} is not a {kind}")
    return {"Path": Path, "float": float}.get(kind, lambda v: v)(value)


def _fill(cls, table: dict, where: str):
    kinds = {f.name: f.type for f in fields(cls)}
    unknown = set(table) - set(kinds)
    if unknown:
        raise InputError(f"configuration: unknown {where}{', '.join(sorted(unknown))}; known are {', '.join(kinds)}")
    return cls(**{name: v if name == "model" else _typed(where + name, kinds[name], v) for name, v in table.items()})


def read_config(path: Path) -> TrainingConfig:
    """Read a configuration. Raises `InputError` for a missing file, bad TOML, an unknown name or a bad value."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"no such configuration: {path}") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"cannot read the configuration {path}: {error}") from None
    if not isinstance(table.get("model", {}), dict):
        raise InputError("configuration: model must be a table, [model]")
    table["model"] = _fill(X2BConfig, table.get("model", {}), "model.")
    config = _fill(TrainingConfig, table, "")
    if config.system != "x2b":
        raise InputError(f"configuration: unknown system {config.system!r}; known is x2b")
    low = min(config.steps, config.batch, config.points, config.checkpoint_every, config.validation)
    if low < 1 or config.learning_rate <= 0 or config.warmup < 0:
        raise InputError(
            "configuration: steps, batch, points, checkpoint_every, validation and learning_rate must be positive"
        )
    return config
