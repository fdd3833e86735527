"""What a data set is made with: every number that changes its files."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from .. import __version__
from ..drr import Detector, Pose, series
from ..errors import InputError
from ..files import read_json, reason, shown, written_whole
from ..geometry import DEFAULT_PIXEL_SPACING, DEFAULT_SID, DEFAULT_SIZE, DEFAULT_SOD, VIEWS
from ..segmentation import METHODS, SCHEMES
from ..volume_io import MAX_VOXELS
from . import layout
from .truth import POINTS

_MAX_POINTS = 10_000_000


@dataclass(frozen=True)
class Settings:
    """The settings of a data set.

    Attributes:
        spacing: edge of the voxels that CT and labels are resampled to, mm.
        edge: voxels along each edge of that grid, which is centred on the scan; without it the grid covers the scan.
            The X2BR paper's grid is ``spacing=1.0, edge=512``.
        views: directions of the radiographs (`X2BRLogic.geometry.VIEWS`).
        angles: turns about the body axis in degrees; there is one radiograph a view and angle.
        size: pixels along the edge of the detector.
        pixel_spacing, sid, sod: of the radiographs, mm.
        clahe: whether the pictures' local contrast is equalised, as in the paper.
        points: uniform in the unit box, each with its occupancy; the paper's number by default.
        near_points: about the surface, in addition.
        near_mm: their standard deviation from it along each axis.
        method: how a CT without labels gets them (`X2BRLogic.segmentation`).
        scheme: numbering of the labels that are given.
        seed: of the points.
    """

    spacing: float = 1.5
    edge: int | None = None
    views: tuple[str, ...] = ("AP", "PA", "LAT")
    angles: tuple[float, ...] = (-10.0, 0.0, 10.0)
    size: int = DEFAULT_SIZE
    pixel_spacing: float = DEFAULT_PIXEL_SPACING
    sid: float = DEFAULT_SID
    sod: float = DEFAULT_SOD
    clahe: bool = True
    points: int = POINTS
    near_points: int = POINTS
    near_mm: float = 4.0
    method: str = "auto"
    scheme: str = "auto"
    seed: int = 0

    def __post_init__(self):
        """Raises `InputError` for numbers that make no data set."""
        if not 0.4 <= self.spacing <= 5:
            raise InputError(f"a grid of {self.spacing:g} mm is not between 0.4 and 5 mm; the usual one is 1.5")
        if self.edge is not None and not 64 <= self.edge <= round(MAX_VOXELS ** (1 / 3)):
            raise InputError(f"a grid of {self.edge} voxels an edge is not between 64 and 1024; the paper's is 512")
        for name in ("points", "near_points"):
            if not 1 <= getattr(self, name) <= _MAX_POINTS:
                raise InputError(
                    f"{getattr(self, name)} points are not between 1 and {_MAX_POINTS}; the paper's 100000"
                )
        if not 0 < self.near_mm <= 100:
            raise InputError(f"points about the surface spread over {self.near_mm:g} mm; give 0 to 100")
        if not self.views or not self.angles or not set(self.views) <= set(VIEWS):
            raise InputError(f"each view is one of {', '.join(VIEWS)}, and there is at least one, with one angle")
        for name, known in (("method", METHODS), ("scheme", ("auto", *SCHEMES))):
            if getattr(self, name) not in known:
                raise InputError(f"there is no {name} {getattr(self, name)!r}; give one of {', '.join(known)}")
        for pose in self.poses():
            pose.geometry(self.detector(), (0.0, 0.0, 0.0))

    def poses(self) -> list[Pose]:
        """One a radiograph."""
        if len(set(self.views)) < len(self.views):
            raise InputError(f"a view is given twice in {','.join(self.views)}; give each once")
        return [pose for view in self.views for pose in series(view, self.angles)]

    def detector(self) -> Detector:
        """Of all radiographs."""
        return Detector(self.sid, self.sod, (self.size, self.size), (self.pixel_spacing, self.pixel_spacing))

    def to_dict(self) -> dict:
        """JSON-ready."""
        return json.loads(json.dumps(asdict(self)))

    @classmethod
    def from_dict(cls, data: dict) -> Settings:
        """The inverse of `to_dict`. Raises `InputError` for what is none."""
        try:
            known = {field.name: data[field.name] for field in fields(cls)}
            return cls(**known | {"views": tuple(known["views"]), "angles": tuple(known["angles"])})
        except (KeyError, TypeError, ValueError, ArithmeticError) as error:
            raise InputError(f"these are no settings of a data set: {reason(error)}") from None

    @property
    def sha256(self) -> str:
        """The same for the same settings."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()


def write_settings(dataset: Path, settings: Settings) -> None:
    """Into the data set's folder, with schema and version."""
    data = {"schema": layout.SCHEMA, "x2br": __version__, "settings": settings.to_dict()}
    with written_whole(dataset / layout.DATASET) as partial:
        partial.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def read_settings(dataset: Path) -> Settings:
    """What a data set is made with. Raises `InputError` where that is no data set, or of another schema."""
    try:
        data = read_json(dataset / layout.DATASET)
        schema = data["schema"]
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{dataset} is no data set: it has no {layout.DATASET} that can be read") from None
    if schema != layout.SCHEMA:
        raise InputError(
            f"{dataset} has schema {shown(schema)}, this program has {layout.SCHEMA}; build it again elsewhere"
        )
    return Settings.from_dict(data.get("settings", {}))
