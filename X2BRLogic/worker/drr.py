"""The kind of job ``drr``: radiographs from a CT."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..detection import Box
from ..errors import InputError
from ..geometry import DEFAULT_PIXEL_SPACING, DEFAULT_SID, DEFAULT_SIZE, DEFAULT_SOD, XRayGeometry

if TYPE_CHECKING:
    from ..volume import Volume
    from .server import JobContext


@dataclass(frozen=True)
class Drr:
    """A radiograph made from a CT.

    Attributes:
        name: of its pose.
        pixels: uint16 ``(rows, columns)``, bone bright.
        geometry: where it is.
        boxes: of the labelled bones in it; none without labels.
    """

    name: str
    pixels: np.ndarray
    geometry: XRayGeometry
    boxes: tuple[Box, ...]


@dataclass(frozen=True)
class DrrSettings:
    """How radiographs are made: degrees and mm, as for ``x2br drr``. What makes no sense is told by the job.

    Attributes:
        view: ``AP``, ``PA``, ``LAT`` or ``RLAT``.
        angles: turns about the body axis, one radiograph each; `tilt` follows each.
        sid, sod: source to image and to isocentre.
        size: pixels along each edge of the detector, `pixel_spacing` apart.
        clahe: equalise the pictures' local contrast.
        bones: the labelled bones alone.
        boxes: tell where the labelled bones are in each.
    """

    view: str = "AP"
    angles: tuple[float, ...] = (0.0,)
    tilt: float = 0.0
    sid: float = DEFAULT_SID
    sod: float = DEFAULT_SOD
    size: int = DEFAULT_SIZE
    pixel_spacing: float = DEFAULT_PIXEL_SPACING
    clahe: bool = False
    bones: bool = False
    boxes: bool = True


class MakeDrrs:
    """The task of making one radiograph an angle; its value is a list of `Drr`.

    Args:
        ct: Hounsfield units.
        labels: of its bones (`anatomy`), on any grid; the radiographs aim at the bones then, else at the body.
    """

    kind = "drr"

    def __init__(self, ct: Volume, labels: Volume | None, settings: DrrSettings):
        self._ct, self._labels = ct, labels
        self.settings = asdict(settings)

    def write(self, folder: Path) -> None:
        """CT and labels into the job's folder."""
        from .exchange import pack, packed_volume

        pack(folder, "scan", {"ct": packed_volume(self._ct), "labels": packed_volume(self._labels)})

    def read(self, folder: Path, facts: dict) -> list[Drr]:
        """The radiographs from the job's folder."""
        from .exchange import unpack

        return [
            Drr(
                part["name"],
                part["pixels"],
                XRayGeometry.from_dict(part["geometry"]),
                tuple(Box(**box) for box in part["boxes"]),
            )
            for part in unpack(folder, "drrs")
        ]


def drr(job: JobContext) -> dict:
    """Handler: ``scan`` to ``drrs``."""
    from ..drr import Detector, Exposure, ImagingChain, as_radiograph, bones_only, isocentre, project_boxes, series
    from ..volume_io import match_grid
    from .exchange import pack, unpack, unpacked_volume

    job.progress(0.0, "read the CT")
    asked = DrrSettings(**job.settings)
    detector = Detector(asked.sid, asked.sod, (asked.size, asked.size), (asked.pixel_spacing, asked.pixel_spacing))
    poses = series(asked.view, asked.angles, tilt=asked.tilt)
    scan = unpack(job.folder, "scan")
    ct, labels = unpacked_volume(scan["ct"]), unpacked_volume(scan["labels"])
    labels = labels and match_grid(labels, ct)
    centre = isocentre(ct, labels)
    if asked.bones:
        if labels is None:
            raise InputError("bones alone need the bones' labels; choose a segmentation of this CT")
        ct = bones_only(ct, labels)
    chain = ImagingChain(ct, Exposure())
    made = []
    for number, pose in enumerate(poses):
        job.progress((number + 0.5) / (len(poses) + 1), "radiographs")
        geometry = pose.geometry(detector, centre)
        pixels = as_radiograph(chain.line_integrals(geometry, number), asked.clahe)
        boxes = project_boxes(labels, geometry) if labels is not None and asked.boxes else ()
        placed = {"geometry": geometry.to_dict(), "boxes": [asdict(box) for box in boxes]}
        made.append({"name": pose.name, "pixels": pixels} | placed)
    pack(job.folder, "drrs", made)
    job.progress(1.0, "done")
    return {"count": len(made)}
