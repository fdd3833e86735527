"""DRRs to files: 16-bit PNG, line integrals as NRRD, DICOM; and ``geometry.json``, which says where each one is."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from ..detection import Box, write_boxes
from ..files import read_json
from ..geometry import XRayGeometry
from ..volume import Volume
from ..volume_io import write_volume
from .presentation import as_radiograph

GEOMETRY_FILE = "geometry.json"


class DrrWriter:
    """Writes DRRs into a folder; `finish` adds the geometry file that `read_radiograph` looks for beside an image.

    Nothing of the CT's own header is written: neither patient, nor dates, nor identifiers, nor file names.

    Args:
        folder: exists; what it holds under the same names is replaced.
        raw: also write the line integrals, as NRRD.
        dicom: also write DICOM (see `X2BRLogic.drr.dicom`).
        clahe: equalise the pictures (`as_radiograph`); never the line integrals.
    """

    def __init__(self, folder: Path, *, raw: bool = False, dicom: bool = False, clahe: bool = False):
        self._folder, self._raw, self._clahe = folder, raw, clahe
        self._placed: dict[str, dict] = {}
        self._dicom = None
        if dicom:
            from .dicom import DicomStudy

            self._dicom = DicomStudy()

    def add(
        self,
        name: str,
        line_integrals: np.ndarray,
        geometry: XRayGeometry,
        record: dict | None = None,
        boxes: Iterable[Box] | None = None,
    ) -> str:
        """Write one DRR under `name` (no suffix); returns the picture's file name.

        `record`: what else to keep beside the geometry, such as the exposure. `boxes`: of the bones in the picture,
        written as ``<name>.boxes.json``.
        """
        pixels = as_radiograph(line_integrals, self._clahe)
        files = [f"{name}.png"]
        Image.fromarray(pixels).save(self._folder / files[0])
        if self._raw:
            files.append(f"{name}.nrrd")
            # As one slice, [k, j, i] = [1, rows, columns], where the detector is.
            write_volume(self._folder / files[-1], Volume(line_integrals[None], geometry.pixel_to_ras))
        if self._dicom is not None:
            files.append(f"{name}.dcm")
            self._dicom.write(self._folder / files[-1], pixels, geometry)
        if boxes is not None:
            write_boxes(boxes, self._folder / f"{name}.boxes.json")
        self._placed |= dict.fromkeys(files, geometry.to_dict() | (record or {}))
        return files[0]

    def finish(self, beside: Path | None = None) -> None:
        """Write the geometry file. `beside`: the folder the files end up in; what its geometry file says of other
        images there is kept."""
        images = {n: g for n, g in _listed(beside).items() if (beside / n).is_file()} if beside else {}
        text = json.dumps({"images": images | self._placed}, indent=2)
        (self._folder / GEOMETRY_FILE).write_text(text + "\n", encoding="utf-8")


def _listed(folder: Path) -> dict[str, dict]:
    """The images that a folder's geometry file lists; none where there is no such file, or it is not ours."""
    try:
        data = read_json(folder / GEOMETRY_FILE)
        return dict(data["images"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}
