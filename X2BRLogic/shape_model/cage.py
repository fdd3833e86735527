"""The shape model of the thorax: of the whole cage, and of every bone by itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ..anatomy import BY_NAME
from ..errors import InputError
from ..files import parse_json, reason, written_whole
from ..models import resources
from .fit import Fitted, Observed, Prior, fit
from .linear import LinearModel, aligned

_SCHEMA = "x2br-cage-1"
#: Modes of a single bone at most.
_BONE_MODES = 6
#: After the cage is laid on, a bone may still move by so much by itself (standard deviations).
_OF_A_BONE = Prior(noise_mm=4.0, effective=20.0, rotation_deg=4.0, shift_mm=4.0)
#: No vertex is further from the middle, mm; nor are numbers that are none.
_FARTHEST = 2000.0


@dataclass(frozen=True)
class Cage:
    """Mean and modes of the bones of a thorax, patient's right, anterior and superior along x, y and z.

    Attributes:
        faces: ``(F, 3)`` triangles of each bone by name, in the order of the vertices of `whole`.
        parts: the vertices of each bone in `whole`.
        whole: model of all bones together.
        single: of each bone, after its own place and turn are taken away; the mean is not used.
        facts: where it comes from, JSON-ready.
    """

    faces: dict[str, np.ndarray]
    parts: dict[str, slice]
    whole: LinearModel
    single: dict[str, LinearModel]
    facts: dict = field(default_factory=dict)

    @classmethod
    def learn(cls, shapes: list[Mapping[str, np.ndarray]], faces: dict[str, np.ndarray], facts: dict) -> Cage:
        """From people's bones, vertices ``(N, 3)`` mm that correspond. Raises `InputError` as `LinearModel.learn`."""
        parts, start = {}, 0
        for name in faces:
            parts[name] = slice(start, start + len(shapes[0][name]))
            start = parts[name].stop
        together = aligned(np.stack([np.concatenate([shape[name] for name in faces]) for shape in shapes]))
        whole = LinearModel.learn(together)
        single = {}
        for name, part in parts.items():
            placed = aligned(together[:, part] - together[:, part].mean(axis=1, keepdims=True))
            single[name] = LinearModel.learn(placed, most=_BONE_MODES)
        return cls(faces, parts, whole, single, facts)

    def fitted(self, observed: Mapping[str, tuple[np.ndarray, np.ndarray]], prior: Prior | None = None) -> dict:
        """All bones, laid onto what was seen of some: first the cage as a whole, then each bone by itself.

        Args:
            observed: by name, points ``(P, 3)`` RAS mm and their normals.

        Returns:
            By name, vertices ``(N, 3)`` RAS mm.
        """
        seen = [Observed(self.parts[name], *observed[name]) for name in self.faces if name in observed]
        cage = fit(self.whole, seen, prior or Prior())
        return {name: self._bone(name, cage, observed) for name in self.faces}

    def _bone(self, name: str, cage: Fitted, observed: Mapping) -> np.ndarray:
        vertices = cage.vertices[self.parts[name]]
        if name not in observed:
            return vertices
        modes = self.single[name].modes @ cage.rotation.T
        part = Observed(slice(0, len(vertices)), *observed[name])
        return fit(LinearModel(vertices, modes), [part], _OF_A_BONE, start=vertices.mean(axis=0)).vertices

    def save(self, path: Path) -> None:
        """Write to a ``.safetensors`` file, whole or not at all; modes in half precision."""
        tensors = {"mean": self.whole.mean.astype(np.float32), "modes": self.whole.modes.astype(np.float16)}
        for name, faces in self.faces.items():
            tensors[f"faces.{name}"] = np.ascontiguousarray(faces, dtype=np.uint16)
            tensors[f"modes.{name}"] = np.ascontiguousarray(self.single[name].modes, dtype=np.float16)
        header = {"schema": _SCHEMA, "bones": list(self.faces), "facts": self.facts}
        with written_whole(path) as temporary:
            save_file(tensors, temporary, metadata={"x2br": json.dumps(header)})

    @classmethod
    def read(cls, path: Path) -> Cage:
        """Read what `save` wrote. Raises `InputError` for a missing or damaged file, or something else."""
        if not path.is_file():
            raise InputError(f"no shape model at {path}; make one with x2br template shapes, or install X2BR again")
        try:
            with safe_open(path, framework="numpy") as stored:
                header = parse_json((stored.metadata() or {}).get("x2br", "null"))
                tensors = {name: stored.get_tensor(name) for name in stored.keys()}
            if header["schema"] != _SCHEMA:
                raise ValueError(f"its schema is not {_SCHEMA}")
            return cls._of(header, tensors)
        except (OSError, SafetensorError, ValueError, KeyError, TypeError, IndexError) as error:
            raise InputError(f"{path} is no shape model of the thorax ({reason(error)}); get it again") from None

    @classmethod
    def _of(cls, header: dict, tensors: dict[str, np.ndarray]) -> Cage:
        mean, modes = (tensors[name].astype(np.float64) for name in ("mean", "modes"))
        faces, parts, single, start = {}, {}, {}, 0
        for name in header["bones"]:
            own = tensors[f"modes.{name}"].astype(np.float64)
            faces[name] = tensors[f"faces.{BY_NAME[name].name}"].astype(np.int64)
            parts[name] = slice(start, start + own.shape[1])
            single[name] = LinearModel(mean[parts[name]], own)
            start = parts[name].stop
            if faces[name].shape[1] != 3 or faces[name].max() >= own.shape[1]:
                raise ValueError(f"{name} has triangles of vertices that it lacks")
        fitting = mean.shape == (start, 3) == modes.shape[1:]
        numbers = (mean, modes, *(model.modes for model in single.values()))
        if not fitting or not all((np.abs(values) < _FARTHEST).all() for values in numbers):
            raise ValueError("its means, modes and bones do not fit each other")
        return cls(faces, parts, LinearModel(mean, modes), single, header["facts"])


@lru_cache(maxsize=1)
def load_cage() -> Cage:
    """The shape model that ships. Raises `InputError` where it is missing or damaged."""
    return Cage.read(resources() / "Models" / "Shape" / "thorax.safetensors")
