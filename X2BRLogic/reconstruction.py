"""What a radiograph becomes, and the interface of everything that makes it. Nothing heavy is imported."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from .files import folder_written_whole

if TYPE_CHECKING:
    import trimesh

    from .radiograph import Radiograph

Progress = Callable[[float, str], None]

NOTICE = "For research use only. Not a medical device."
#: Cells along an edge of the canonical cube, unless somebody wants more.
RESOLUTION = 128


@dataclass(frozen=True)
class Reconstruction:
    """Everything a host shows.

    Attributes:
        radiograph: what it was made from.
        mesh: the surface of all bones, closed, RAS mm.
        bones: named bones, for methods that name them; empty for these two.
        summary: JSON-ready provenance: input, geometry, model, seconds, counts, warnings.
    """

    radiograph: Radiograph
    mesh: trimesh.Trimesh
    bones: dict[str, trimesh.Trimesh] = field(default_factory=dict)
    summary: dict = field(default_factory=dict)

    def save(self, folder: str | Path) -> dict[str, Path]:
        """Write ``bones.ply`` (mm, RAS), ``summary.json`` and ``preview.png``, all or none; the paths by name.

        Raises `InputError` when the folder cannot be written to.
        """
        from .preview import preview

        with folder_written_whole(folder) as partial:
            self.mesh.export(partial / "bones.ply")
            preview(self.radiograph.pixels, self.mesh).save(partial / "preview.png")
            (partial / "summary.json").write_text(json.dumps(self.summary, indent=2) + "\n", encoding="utf-8")
        return {name: Path(folder) / name for name in ("bones.ply", "summary.json", "preview.png")}


class Reconstructing(Protocol):
    """Reconstructs: `pipeline.Reconstructor` in this process, `worker.WorkerReconstructor` in one of its own."""

    def reconstruct(
        self, radiograph: Radiograph, progress: Progress | None = None, *, resolution: int = RESOLUTION
    ) -> Reconstruction:
        """Reconstruct the bones of the thorax.

        `progress` is called with a fraction 0-1, which never falls, and the name of the stage; what it raises ends the
        work and passes through. Raises `InputError` for a film that cannot be reconstructed.
        """
