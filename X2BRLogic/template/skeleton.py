"""A skeleton: named closed meshes and the points where neighbours meet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import trimesh

from ..errors import InputError
from ..volume import Volume
from . import parts
from .voxels import voxelise

_MIRROR = np.diag([-1.0, 1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Joint:
    """Where two parts meet.

    Attributes:
        kind: ``costovertebral``, ``costochondral``, ``sternocostal``, ``interchondral`` or ``intervertebral``.
        parts: their names; the first is the one that the second carries: a rib before its vertebra.
        point: RAS mm, shape (3,): the middle of where the two surfaces are nearest to each other.
    """

    kind: str
    parts: tuple[str, str]
    point: np.ndarray


@dataclass(frozen=True)
class Skeleton:
    """Named bones in one frame.

    Attributes:
        bones: closed meshes, RAS mm, by name (see `parts`), in the order of `parts.NAMES`.
        joints: where neighbours meet; only between bones that are there.
        facts: where it comes from, JSON-ready.
        notes: sentences that the user should see.
    """

    bones: dict[str, trimesh.Trimesh]
    joints: tuple[Joint, ...] = ()
    facts: dict = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self):
        unknown = set(self.bones) - set(parts.NAMES)
        if unknown:
            raise InputError(f"{sorted(unknown)[0]!r} is not a bone's name; see x2br template show for the names")
        object.__setattr__(self, "bones", {name: self.bones[name] for name in parts.NAMES if name in self.bones})

    @property
    def centre(self) -> np.ndarray:
        """The mean of the centroids of T1 to T12 (of those present; of all bones, if none is), RAS mm, shape (3,)."""
        spine = [self.bones[name] for name in parts.THORACIC if name in self.bones]
        return np.mean([mesh.center_mass for mesh in spine or self.bones.values()], axis=0)

    def subset(self, names: Iterable[str]) -> Skeleton:
        """Those of the bones that are named, and the joints between them."""
        kept = {name: self.bones[name] for name in set(names) & set(self.bones)}
        return replace(self, bones=kept, joints=tuple(j for j in self.joints if set(j.parts) <= set(kept)))

    def transformed(self, matrix: np.ndarray) -> Skeleton:
        """All bones moved by one 4x4 matrix, without bending: names stay, so it must not mirror (see `mirrored`)."""
        return self.posed(dict.fromkeys(self.bones, matrix))

    def posed(self, matrices: Mapping[str, np.ndarray]) -> Skeleton:
        """Each bone moved by its own 4x4 matrix; one without a matrix stays. A joint goes where its two bones take it,
        half way between.

        Raises:
            InputError: a matrix mirrors, which would turn a left bone into a right one.
        """
        moves = {name: np.asarray(matrices.get(name, np.eye(4)), dtype=np.float64) for name in self.bones}
        if any(np.linalg.det(move[:3, :3]) <= 0 for move in moves.values()):
            raise InputError("a bone's pose cannot mirror it; use Skeleton.mirrored")
        return self._moved(moves)

    def mirrored(self) -> Skeleton:
        """The mirror image about the plane x = 0, left and right renamed."""
        image = self._moved(dict.fromkeys(self.bones, _MIRROR))
        bones = {parts.mirrored_name(name): mesh for name, mesh in image.bones.items()}
        joints = tuple(replace(j, parts=tuple(map(parts.mirrored_name, j.parts))) for j in image.joints)
        return replace(self, bones=bones, joints=joints)

    def with_vertices(self, vertices: Mapping[str, np.ndarray]) -> Skeleton:
        """Bones bent: new vertices ``(N, 3)`` for some of them; the joints follow the vertices that are nearest."""
        bones = dict(self.bones)
        for name, positions in vertices.items():
            bones[name] = trimesh.Trimesh(positions, self.bones[name].faces, process=False)
        joints = []
        for joint in self.joints:
            moved = []
            for name in joint.parts:
                nearest = np.argsort(np.linalg.norm(self.bones[name].vertices - joint.point, axis=1))[:8]
                moved.append((bones[name].vertices[nearest] - self.bones[name].vertices[nearest]).mean(axis=0))
            joints.append(replace(joint, point=joint.point + np.mean(moved, axis=0)))
        return replace(self, bones=bones, joints=tuple(joints))

    def as_mesh(self, names: Iterable[str] | None = None) -> trimesh.Trimesh:
        """The bones (all, or those named) as one mesh of many pieces. Raises `InputError` where none is there."""
        wanted = self.bones if names is None else {n: self.bones[n] for n in names if n in self.bones}
        if not wanted:
            raise InputError("the skeleton has none of the bones asked for")
        return trimesh.util.concatenate(list(wanted.values()))

    def label_map(self, spacing: float = 1.5, *, like: Volume | None = None, margin: float = 6.0) -> Volume:
        """The bones as voxels, uint8 labels of `anatomy`; where two overlap, the one first in order wins.

        Args:
            spacing: edge of the voxels in mm, on a grid along R, A and S around the bones.
            like: a volume whose grid to use instead, of any orientation.
            margin: empty space around the bones in mm.
        """
        labelled = [(parts.bone_of(name).label, mesh) for name, mesh in self.bones.items()]
        return voxelise(labelled, spacing=spacing, like=like, margin=margin)

    def _moved(self, moves: Mapping[str, np.ndarray]) -> Skeleton:
        bones = {name: mesh.copy().apply_transform(moves[name]) for name, mesh in self.bones.items()}
        joints = tuple(
            replace(j, point=np.mean([moves[n][:3, :3] @ j.point + moves[n][:3, 3] for n in j.parts], axis=0))
            for j in self.joints
        )
        return replace(self, bones=bones, joints=joints)
