"""A training run described in a TOML file."""

from __future__ import annotations

import math
import tomllib
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from ..errors import InputError
from ..networks import SYSTEMS


@dataclass(frozen=True)
class TrainingConfig:
    """What a run is made of; the defaults are the paper's.

    Attributes:
        system: the network, a name of `networks.SYSTEMS`.
        data: folder of virtual patients (``x2br dataset virtual``).
        on_the_fly: folder of labelled CTs; training samples are then drawn from them, new ones at each step, and `data`
            need hold no more patients than those to validate on.
        exclude: names of the subjects to leave out, and their virtual patients.
        workers: processes that make the batches.
        out: folder for checkpoints, log and weights.
        steps: optimiser steps, at most.
        minutes: of training in all, after which the run ends; a decay of the rate then follows the time used instead of
            the steps, so that systems can be compared at equal cost.
        patience: the run ends after so many validations without a better IoU.
        batch: radiographs a step and process.
        points: occupancy samples a radiograph and step.
        lateral: share of the radiographs that are lateral, the others being frontal.
        movement: turn, shift, stretch and mirror films in their plane, their truth with them (`training.movement`); for
            systems that take one film.
        learning_rate: of Adam with PyTorch's other defaults.
        warmup: steps of linear increase before it.
        decay: lower the rate to zero along a half cosine, for a run of fixed length.
        validation: the last so many patients are never trained on.
        checkpoint_every: steps between checkpoints, and between validations.
        seed: decides weights and batches.
        pretrained: start the encoder from timm's ImageNet weights (needs the network).
        initial: weights of a trained network to start with: of the same architecture whole, else its image encoder.
        model: the settings of the architecture that differ from the system's defaults.
    """

    system: str = "x2b"
    data: Path = Path("out/virtual")
    on_the_fly: Path | None = None
    exclude: tuple[str, ...] = ()
    workers: int = 1
    out: Path = Path("out/x2b")
    steps: int = 100_000
    minutes: float | None = None
    patience: int | None = None
    batch: int = 16
    points: int = 2048
    lateral: float = 0.0
    movement: bool = False
    learning_rate: float = 1e-4
    warmup: int = 0
    decay: bool = False
    validation: int = 32
    checkpoint_every: int = 250
    seed: int = 0
    pretrained: bool = False
    initial: Path | None = None
    model: dict | None = None

    @property
    def architecture(self) -> dict:
        """Every setting of the network, defaults included."""
        return SYSTEMS[self.system][1](**(self.model or {})).to_dict()

    def to_dict(self) -> dict:
        """Plain values, for logs and model cards."""
        plain = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items()}
        return plain | {"model": self.architecture}


def _typed(name: str, kind: str, value):
    """The value as the field's type, or an error that names the field."""
    kind = kind.removesuffix(" | None")
    if kind == "tuple[str, ...]":
        if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
            raise InputError(f"configuration: {name} = {value!r} is not a list of names")
        return tuple(value)
    accepted = {"int": int, "float": (int, float), "bool": bool, "str": str, "Path": str}[kind]
    if not isinstance(value, accepted) or (isinstance(value, bool) and kind != "bool"):
        raise InputError(f"configuration: {name} = {value!r} is not a {kind}")
    return {"Path": Path, "float": float}.get(kind, lambda v: v)(value)


def _checked(cls, table: dict, where: str = "") -> dict:
    """The settings of `table`, each known to `cls` and of its type."""
    kinds = {f.name: f.type for f in fields(cls) if f.name != "model"}
    unknown = set(table) - set(kinds)
    if unknown:
        raise InputError(f"configuration: unknown {where}{', '.join(sorted(unknown))}; known are {', '.join(kinds)}")
    return {name: _typed(where + name, kinds[name], value) for name, value in table.items()}


def read_config(path: Path) -> TrainingConfig:
    """Read a configuration. Raises `InputError` for a missing file, bad TOML, an unknown name or a bad value."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"no such configuration: {path}") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"cannot read the configuration {path}: {error}") from None
    model = table.pop("model", {})
    if not isinstance(model, dict):
        raise InputError("configuration: model must be a table, [model]")
    system = table.get("system", TrainingConfig.system)
    if system not in SYSTEMS:
        raise InputError(f"configuration: unknown system {system!r}; known are {', '.join(SYSTEMS)}")
    model = _checked(SYSTEMS[system][1], model, "model.")
    config = TrainingConfig(**_checked(TrainingConfig, table), model=model)
    for name in ("steps", "minutes", "patience", "batch", "points", "learning_rate", "validation", "checkpoint_every",
                 "workers"):  # fmt: skip
        value = getattr(config, name)
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"configuration: {name} = {value} must be positive")
    if config.warmup < 0 or not 0 <= config.lateral <= 1:
        raise InputError("configuration: warmup must not be negative, and lateral lies in 0 to 1")
    if config.movement and SYSTEMS[system][0].views > 1:
        raise InputError(f"configuration: {system} takes two films, and movement would tear them apart; leave it out")
    return config
