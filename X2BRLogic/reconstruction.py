"""What a radiograph becomes, and the interface of everything that makes it. Nothing heavy is imported."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from .errors import InputError
from .files import folder_written_whole
from .ply import RAS, ply

if TYPE_CHECKING:
    import trimesh

    from .detection import Box
    from .radiograph import Radiograph
    from .volume import Volume

Progress = Callable[[float, str], None]

NOTICE = "For research use only. Not a medical device."
#: Edge of the voxels of a saved label map, mm.
LABEL_SPACING_MM = 1.5
#: What is saved of named bones alone.
_NAMED = ("bones", "labels.nrrd", "skeleton.json", "boxes.json")
#: Name of the report in a folder of results; that on an earlier result goes.
REPORT = "report.html"
#: Cells along an edge of the canonical cube, unless somebody wants more.
RESOLUTION = 128


@dataclass(frozen=True)
class Reconstruction:
    """Everything a host shows.

    Attributes:
        radiograph: what it was made from.
        mesh: the surface of all bones, closed, RAS mm.
        bones: named bones, closed meshes in RAS mm, for ``x2br``, ``x2b_aligned`` and ``3ddx``; else empty. Each vertex
            has ``expected_error_mm`` and ``confidence`` among the mesh's `vertex_attributes` where these are known.
        boxes: of bones in the radiograph that were used.
        summary: JSON-ready provenance: input, geometry, model, seconds, counts, warnings.
    """

    radiograph: Radiograph
    mesh: trimesh.Trimesh
    bones: dict[str, trimesh.Trimesh] = field(default_factory=dict)
    boxes: tuple[Box, ...] = ()
    summary: dict = field(default_factory=dict)

    def save(self, folder: str | Path) -> dict[str, Path]:
        """Write ``bones.ply`` (RAS mm), ``radiograph.png``, ``summary.json`` and ``preview.png``, all or none.

        Of named bones also ``bones/NAME.ply`` with what each vertex carries, ``labels.nrrd``, ``skeleton.json`` and
        ``boxes.json``. Returns the paths by name; `results.read_result` reads the folder. Raises `InputError` when it
        cannot be written to.
        """
        from .outline import grey_picture
        from .preview import preview

        with folder_written_whole(folder, (*_NAMED, REPORT)) as partial:
            (partial / "bones.ply").write_bytes(ply(self.mesh, RAS))
            grey_picture(self.radiograph.pixels).save(partial / "radiograph.png")
            preview(self.radiograph.pixels, self.mesh, bones=self.bones).save(partial / "preview.png")
            (partial / "summary.json").write_text(json.dumps(self.summary, indent=2) + "\n", encoding="utf-8")
            names = ["bones.ply", "radiograph.png", "summary.json", "preview.png"]
            names += self._save_bones(partial) if self.bones else []
        return {name: Path(folder) / name for name in names}

    def label_map(self, spacing: float = LABEL_SPACING_MM) -> Volume:
        """The named bones as voxels, uint8 labels of `anatomy`, on a grid along R, A and S.

        Raises `InputError` where there are none.
        """
        from .template import bone_of, voxelise

        if not self.bones:
            raise InputError("this reconstruction has no named bones; reconstruct with the method x2br")
        return voxelise([(bone_of(name).label, mesh) for name, mesh in self.bones.items()], spacing=spacing)

    def _save_bones(self, folder: Path) -> list[str]:
        from .detection import write_boxes
        from .template import bone_of
        from .volume_io import write_volume

        (folder / "bones").mkdir()
        about = {}
        for name, mesh in self.bones.items():
            (folder / "bones" / f"{name}.ply").write_bytes(ply(mesh, RAS, f"bone {name}"))
            bone = bone_of(name)
            about[name] = {
                "file": f"bones/{name}.ply",
                "label": bone.label,
                "snomed_ct": bone.code,
                "laterality": bone.side_code,
                "meaning": bone.meaning,
                "colour": [round(part, 3) for part in bone.colour],
            } | self.summary.get("bones", {}).get(name, {})
        text = {"schema": "x2br-skeleton-1", "coordinates": "RAS, mm", "bones": about}
        (folder / "skeleton.json").write_text(json.dumps(text, indent=2) + "\n", encoding="utf-8")
        write_volume(folder / "labels.nrrd", self.label_map())
        write_boxes(self.boxes, folder / "boxes.json")
        return list(_NAMED)


class Reconstructing(Protocol):
    """Reconstructs: `pipeline.Reconstructor` in this process, `worker.WorkerReconstructor` in one of its own."""

    def reconstruct(
        self,
        radiograph: Radiograph,
        progress: Progress | None = None,
        *,
        resolution: int = RESOLUTION,
        boxes: Sequence[Box] | None = None,
        second: Radiograph | None = None,
    ) -> Reconstruction:
        """Reconstruct the bones of the thorax.

        `progress` is called with a fraction 0-1, which never falls, and the name of the stage; what it raises ends the
        work and passes through. `boxes` are of bones in the radiograph, for ``x2br``; by default they are detected.
        `second` is a lateral film of the same patient, for the methods that take one.
        Raises `InputError` for a film that cannot be reconstructed.
        """
