"""One labelled person: the surfaces of the bones, and where the scan cuts them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trimesh

from ... import anatomy
from ...errors import InputError
from ...surface import labels_to_meshes
from ...volume import Volume
from ...volume_io import read_labels
from .. import parts

#: What is looked at in a scan. Costal cartilage is modelled: a CT shows it poorly. So are the vertebrae beyond T1 to
#: L1, of which the scans show too little.
MEASURED = tuple(
    [parts.rib(side, level) for side in parts.SIDES for level in parts.RIB_LEVELS]
    + [anatomy.BY_LABEL[anatomy.STERNUM].name]
    + list(parts.SPINE[parts.SPINE.index("vertebra_T1") : parts.SPINE.index("vertebra_L1") + 1])
)
#: Faces of a scanned bone, enough to keep every bend of its surface within half a millimetre.
_FACES = 4000
#: How near to the border of the scan a surface counts as cut by it, in voxels.
BORDER = 1.0


@dataclass(frozen=True)
class Person:
    """A labelled scan as surfaces.

    Attributes:
        name: of the folder.
        facts: licence and attribution of the scan.
        bones: closed meshes, RAS mm, by name; a bone that the scan cuts is closed at the cut.
        cut: names of the bones that reach the border of the scan.
        doubtful: names that ``subject.json`` lists as unreliable.
        grid: an empty volume's place: whose corners bound the scan.
    """

    name: str
    facts: dict
    bones: dict[str, trimesh.Trimesh]
    cut: frozenset[str]
    doubtful: frozenset[str]
    grid: Volume

    @property
    def whole(self) -> frozenset[str]:
        """Names of the bones that can be trusted from end to end."""
        return frozenset(self.bones) - self.cut - self.doubtful

    def within(self, points: np.ndarray, margin: float = 0.0) -> np.ndarray:
        """Whether points ``(N, 3)`` lie in the scan, at least `margin` voxels from its border; bool ``(N,)``."""
        ijk = self.grid.to_ijk(points)
        last = np.array(self.grid.array.shape[::-1]) - 0.5
        return ((ijk > margin - 0.5) & (ijk < last - margin)).all(axis=1)

    def seen(self, name: str) -> trimesh.Trimesh:
        """A bone without the lid that closes it at a cut: open there."""
        mesh = self.bones[name]
        inside = self.within(mesh.vertices, BORDER)
        return trimesh.Trimesh(mesh.vertices, mesh.faces[inside[mesh.faces].all(axis=1)], process=True)

    def mirrored(self) -> Person:
        """The mirror image about x = 0, left and right renamed: another sample of the same species."""
        flip = np.diag([-1.0, 1.0, 1.0, 1.0])
        bones = {parts.mirrored_name(name): mesh.copy().apply_transform(flip) for name, mesh in self.bones.items()}
        grid = Volume(self.grid.array, flip @ self.grid.ijk_to_ras)
        cut, doubtful = (frozenset(map(parts.mirrored_name, names)) for names in (self.cut, self.doubtful))
        return Person(self.name, self.facts, bones, cut, doubtful, grid)


def read_person(folder: Path) -> Person:
    """A person from a folder with ``bones.nii.gz`` and, for provenance, ``subject.json``.

    Raises `InputError` where the labels are missing or hold no rib and no vertebra.
    """
    folder = Path(folder)
    files = sorted(folder.glob("bones.*"))
    if not files:
        raise InputError(f"{folder} has no bones volume; add bones.nii.gz")
    labels = read_labels(files[0])
    values = labels.array.astype(np.int32)
    numbers = [anatomy.BY_NAME[name].label for name in MEASURED]
    meshes = labels_to_meshes(Volume(values, labels.ijk_to_ras), numbers, faces=_FACES)
    faces = np.concatenate([values[[0, -1]].ravel(), values[:, [0, -1]].ravel(), values[:, :, [0, -1]].ravel()])
    at_border = set(np.unique(faces).tolist())
    bones = {anatomy.BY_LABEL[label].name: largest_piece(mesh) for label, mesh in meshes.items()}
    cut = frozenset(name for name in bones if anatomy.BY_NAME[name].label in at_border)
    facts = _facts(folder)
    doubtful = frozenset(re.findall(r"rib_(?:left|right)_\d+|vertebra_[CTL]\d+", " ".join(facts.pop("unreliable", []))))
    grid = Volume(np.zeros(values.shape, dtype=np.uint8), labels.ijk_to_ras)
    return Person(folder.name, facts, bones, cut, doubtful, grid)


def largest_piece(mesh: trimesh.Trimesh) -> trimesh.Trimesh:
    """A bone without specks, which labelling and simplification leave."""
    pieces = mesh.split(only_watertight=True)
    return max(pieces, key=lambda piece: piece.volume) if len(pieces) > 1 else mesh


def _facts(folder: Path) -> dict:
    """Licence and attribution from ``subject.json``, if there is one."""
    path = folder / "subject.json"
    if not path.is_file():
        return {"subject": folder.name}
    try:
        stored = json.loads(path.read_text())
        keys = ("subject", "source_collection", "doi", "licence", "attribution", "unreliable")
        return {key: stored[key] for key in keys if key in stored}
    except (ValueError, TypeError) as error:
        raise InputError(f"{path} is damaged ({error}); copy it again") from None
