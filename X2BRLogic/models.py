"""The models that are installed: weights and cards in ``Resources/Models``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .errors import InputError

#: The installed model with the best figures (Documentation/benchmarks/systems.md).
DEFAULT_METHOD = "x2b_aligned"
#: Lays the skeleton template onto what the default model makes; it has no weights of its own.
X2BR = "x2br"
#: Predicts the front and the back face of every bone, not an occupancy field.
DUAL_FACES = "3ddx"

_HERE = Path(__file__).resolve().parent


def resources() -> Path:
    """The folder of data that ships: beside the package in a checkout and in Slicer, inside it in a wheel."""
    for folder in (_HERE.parent / "Resources", _HERE / "Resources"):
        if (folder / "Models").is_dir():
            return folder
    raise InputError("the Resources folder is missing from this installation; install X2BR again")


@dataclass(frozen=True)
class Model:
    """An installed model: its method, its weights, and the facts in the weights' header."""

    method: str
    weights: Path
    header: dict

    @property
    def card(self) -> Path:
        """The model card: data, recipe, figures, limits."""
        return self.weights.with_suffix(".md")


def installed() -> dict[str, Model]:
    """Method name to model."""
    from .networks.weights import read_header  # with it comes PyTorch, which a list of names can do without

    files = sorted((resources() / "Models").glob("*.safetensors"))
    return {path.stem: Model(path.stem, path, read_header(path)) for path in files}


def names() -> tuple[str, ...]:
    """Methods that can be asked for: the installed models, and `X2BR` where the default model is."""
    found = tuple(sorted(path.stem for path in (resources() / "Models").glob("*.safetensors")))
    return (*found, X2BR) if DEFAULT_METHOD in found else found


def fields() -> tuple[str, ...]:
    """The installed models that know an occupancy field, of which their mesh is the isosurface."""
    return tuple(method for method in installed() if method != DUAL_FACES)


def weights_of(method: str) -> Path:
    """The weights file of a method, for `X2BR` the default model's. Raises `InputError` where it is not installed."""
    path = resources() / "Models" / f"{DEFAULT_METHOD if method == X2BR else method}.safetensors"
    if not path.is_file():
        names = ", ".join(sorted(p.stem for p in path.parent.glob("*.safetensors"))) or "none"
        raise InputError(f"no model for method {method!r} is installed; installed: {names}, and {X2BR}")
    return path
