"""X-ray geometry: a point source, a flat detector, and the boxes in which networks see the world.

Patient RAS, millimetres, degrees. Three spaces beside RAS:

pixel
    ``(column, row)`` on the detector, pixel centres at whole numbers.
canonical cube
    A cube of `CUBE_EDGE_MM` centred on the isocentre, mapped to [-0.5, 0.5]^3. Its axes are the detector's:
    x against the columns, z against the rows, y completing a right-handed frame. For AP and PA they are R, A, S.
ray cube
    The canonical cube sheared by the perspective: y is kept, x and z are where the point's ray meets the plane
    through the isocentre. A ray is a straight line along y, so a point's (x, z) is its place in the image whatever
    SID, SOD or side of the source; networks work in this space and learn the picture, not the machine.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from .errors import InputError
from .files import reason, shown

CUBE_EDGE_MM = 400.0
DEFAULT_SID = 1800.0
DEFAULT_SOD = 1500.0
DEFAULT_SIZE = 512
DEFAULT_PIXEL_SPACING = 0.9
#: No X-ray room is larger, mm; and no detector has more pixels along an edge.
_FARTHEST, _MOST_PIXELS = 1e6, 1 << 20

#: Unit vector from the isocentre to the source, and the direction of the image's columns. Rows run from superior to
#: inferior in all four. AP and PA share the columns (patient's right on the image's left); LAT is the left lateral
#: (left side at the detector), RLAT the right lateral.
VIEWS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "AP": ((0, 1, 0), (-1, 0, 0)),
    "PA": ((0, -1, 0), (-1, 0, 0)),
    "LAT": ((1, 0, 0), (0, 1, 0)),
    "RLAT": ((-1, 0, 0), (0, -1, 0)),
}


def _rotation(axis: np.ndarray, degrees: float) -> np.ndarray:
    """Rotation matrix about a unit axis (Rodrigues)."""
    x, y, z = axis
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    a = np.deg2rad(degrees)
    return np.eye(3) + np.sin(a) * k + (1 - np.cos(a)) * (k @ k)


@dataclass(frozen=True)
class XRayGeometry:
    """A radiograph's geometry.

    Attributes:
        sid, sod: source-to-image and source-to-object (isocentre) distance in mm, ``0 < sod <= sid``.
        shape: detector size in pixels, ``(rows, columns)``.
        spacing: pixel pitch in mm, ``(between rows, between columns)``.
        isocentre: RAS mm.
        to_source: unit vector from isocentre to source; the detector is perpendicular to it.
        columns, rows: unit vectors in which column and row indices grow.
        principal_point: ``(column, row)`` where the source-isocentre line meets the detector; the centre by default.
        view: ``AP``, ``PA``, ``LAT``, ``RLAT`` or ``OTHER``: the name, never used in the arithmetic.
    """

    sid: float = DEFAULT_SID
    sod: float = DEFAULT_SOD
    shape: tuple[int, int] = (DEFAULT_SIZE, DEFAULT_SIZE)
    spacing: tuple[float, float] = (DEFAULT_PIXEL_SPACING, DEFAULT_PIXEL_SPACING)
    isocentre: np.ndarray = field(default_factory=lambda: np.zeros(3))
    to_source: np.ndarray = field(default_factory=lambda: np.array(VIEWS["AP"][0], dtype=float))
    columns: np.ndarray = field(default_factory=lambda: np.array(VIEWS["AP"][1], dtype=float))
    rows: np.ndarray = field(default_factory=lambda: np.array([0.0, 0.0, -1.0]))
    principal_point: tuple[float, float] | None = None
    view: str = "AP"

    def __post_init__(self):
        for name in ("isocentre", "to_source", "columns", "rows"):
            vector = np.asarray(getattr(self, name), dtype=np.float64)
            if vector.shape != (3,) or not np.isfinite(vector).all():
                raise InputError(f"geometry: {name} must be three finite numbers")
            object.__setattr__(self, name, vector)
        if len(self.spacing) != 2 or len(self.shape) != 2:
            raise InputError("geometry: spacing and shape are two numbers each, along rows and along columns")
        for name, values, least, most in (
            ("SID and SOD", (self.sid, self.sod), 1.0, _FARTHEST),
            ("detector size", self.shape, 1, _MOST_PIXELS),
            ("pixel spacing", self.spacing, 1e-3, 1e3),
        ):
            if not all(least <= value <= most for value in values):
                raise InputError(f"geometry: {name} must be positive numbers, between {least:g} and {most:g}")
        if self.sod > self.sid:
            raise InputError(f"geometry: SOD ({self.sod:g} mm) cannot exceed SID ({self.sid:g} mm)")
        frame = np.stack([self.columns, self.rows, self.to_source])
        if not np.allclose(frame @ frame.T, np.eye(3), atol=1e-6):
            raise InputError("geometry: columns, rows and to_source must be perpendicular unit vectors")
        object.__setattr__(self, "shape", (int(self.shape[0]), int(self.shape[1])))
        object.__setattr__(self, "spacing", (float(self.spacing[0]), float(self.spacing[1])))
        if self.principal_point is None:
            height, width = self.shape
            object.__setattr__(self, "principal_point", ((width - 1) / 2, (height - 1) / 2))
        point = np.asarray(self.principal_point, dtype=np.float64)
        if point.shape != (2,) or not (np.abs([*point, *self.isocentre]) <= _FARTHEST).all():
            raise InputError(f"geometry: principal point and isocentre must be numbers below {_FARTHEST:g}")

    @classmethod
    def from_view(
        cls, view: str = "AP", *, angle: float = 0.0, tilt: float = 0.0, roll: float = 0.0, **settings
    ) -> XRayGeometry:
        """A named view, the gantry turned about the isocentre.

        `angle` turns about the superior axis (positive: counter-clockwise seen from above, so +90 takes AP to RLAT),
        then `tilt` about the columns and `roll` about the beam; degrees. `settings` are the other attributes.
        Raises `InputError` for an unknown view.
        """
        if view not in VIEWS:
            raise InputError(f"unknown view {shown(view)}; use one of {', '.join(VIEWS)}")
        to_source, columns = (np.array(v, dtype=np.float64) for v in VIEWS[view])
        frame = np.stack([columns, [0.0, 0.0, -1.0], to_source])
        frame = frame @ _rotation(np.array([0.0, 0.0, 1.0]), angle).T
        frame = frame @ _rotation(frame[0], tilt).T
        frame = frame @ _rotation(frame[2], roll).T
        name = view if not (angle or tilt or roll) else "OTHER"
        return cls(columns=frame[0], rows=frame[1], to_source=frame[2], view=name, **settings)

    # --- where things are -------------------------------------------------------------------------------------------

    @property
    def source(self) -> np.ndarray:
        """RAS position of the focal spot."""
        return self.isocentre + self.sod * self.to_source

    @property
    def detector_origin(self) -> np.ndarray:
        """RAS position of the centre of pixel (0, 0)."""
        foot = self.isocentre - (self.sid - self.sod) * self.to_source
        column, row = self.principal_point
        return foot - column * self.spacing[1] * self.columns - row * self.spacing[0] * self.rows

    @property
    def pixel_to_ras(self) -> np.ndarray:
        """4x4 matrix from ``(column, row, 0)`` to RAS mm; the ijk-to-RAS matrix of the radiograph as one slice."""
        matrix = np.eye(4)
        matrix[:3, 0] = self.columns * self.spacing[1]
        matrix[:3, 1] = self.rows * self.spacing[0]
        matrix[:3, 2] = np.cross(self.columns, self.rows)
        matrix[:3, 3] = self.detector_origin
        return matrix

    # --- projection -------------------------------------------------------------------------------------------------

    def project(self, points: np.ndarray) -> np.ndarray:
        """RAS points ``(N, 3)`` to pixels ``(N, 2)`` as (column, row). A point level with the source gives inf/nan."""
        relative = np.asarray(points, dtype=np.float64) - self.source
        depth = -(relative @ self.to_source)
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = self.sid / depth
            column = self.principal_point[0] + (relative @ self.columns) * scale / self.spacing[1]
            row = self.principal_point[1] + (relative @ self.rows) * scale / self.spacing[0]
        return np.stack([column, row], axis=-1)

    def back_project(self, pixels: np.ndarray, depth: np.ndarray | float) -> np.ndarray:
        """Pixels ``(N, 2)`` and their depth from the source along the central axis (mm) to RAS points ``(N, 3)``.

        The inverse of `project`; depth `sid` gives the point on the detector.
        """
        on_detector = self.pixel_positions(pixels)
        fraction = np.asarray(depth, dtype=np.float64) / self.sid
        return self.source + (on_detector - self.source) * np.reshape(fraction, (-1, 1))

    def depth(self, points: np.ndarray) -> np.ndarray:
        """Distance of RAS points ``(N, 3)`` from the source along the central axis, mm, shape ``(N,)``."""
        return -((np.asarray(points, dtype=np.float64) - self.source) @ self.to_source)

    def pixel_positions(self, pixels: np.ndarray) -> np.ndarray:
        """RAS positions ``(N, 3)`` of pixels ``(N, 2)`` (column, row) on the detector."""
        pixels = np.atleast_2d(np.asarray(pixels, dtype=np.float64))
        return (
            self.detector_origin
            + pixels[:, :1] * self.spacing[1] * self.columns
            + pixels[:, 1:] * self.spacing[0] * self.rows
        )

    # --- the canonical cube -----------------------------------------------------------------------------------------

    @property
    def cube_axes(self) -> np.ndarray:
        """Rows: the cube's x, y, z as RAS unit vectors."""
        x, z = -self.columns, -self.rows
        return np.stack([x, np.cross(z, x), z])

    def ras_to_cube(self, points: np.ndarray) -> np.ndarray:
        """RAS mm ``(N, 3)`` to the canonical cube, [-0.5, 0.5]^3 inside."""
        return ((np.asarray(points, dtype=np.float64) - self.isocentre) @ self.cube_axes.T) / CUBE_EDGE_MM

    def cube_to_ras(self, points: np.ndarray) -> np.ndarray:
        """The inverse of `ras_to_cube`."""
        return np.asarray(points, dtype=np.float64) * CUBE_EDGE_MM @ self.cube_axes + self.isocentre

    def _magnification(self, y: np.ndarray) -> np.ndarray:
        """How much larger a point at cube depth y is seen than at the isocentre: sod / (sod - distance to source)."""
        toward_source = y * CUBE_EDGE_MM * float(self.cube_axes[1] @ self.to_source)
        return (self.sod / (self.sod - toward_source))[..., None]

    def ras_to_ray_cube(self, points: np.ndarray) -> np.ndarray:
        """RAS mm ``(N, 3)`` to the ray cube."""
        cube = self.ras_to_cube(points)
        scale = self._magnification(cube[..., 1])
        return np.concatenate([cube[..., :1] * scale, cube[..., 1:2], cube[..., 2:] * scale], axis=-1)

    def ray_cube_to_ras(self, points: np.ndarray) -> np.ndarray:
        """The inverse of `ras_to_ray_cube`."""
        points = np.asarray(points, dtype=np.float64)
        scale = self._magnification(points[..., 1])
        cube = np.concatenate([points[..., :1] / scale, points[..., 1:2], points[..., 2:] / scale], axis=-1)
        return self.cube_to_ras(cube)

    def network_pixels(self, size: int) -> np.ndarray:
        """Detector pixels ``(size, size, 2)`` at which a network's input image samples the radiograph.

        Its pixel (r, c) is the ray through ray-cube x = 0.5 - (c + 0.5)/size, z = 0.5 - (r + 0.5)/size: the face of
        the cube seen on the plane through the isocentre, patient's right on the left.
        """
        ticks = 0.5 - (np.arange(size) + 0.5) / size
        z, x = np.meshgrid(ticks, ticks, indexing="ij")
        points = self.cube_to_ras(np.stack([x, np.zeros_like(x), z], axis=-1).reshape(-1, 3))
        return self.project(points).reshape(size, size, 2)

    # --- as data ----------------------------------------------------------------------------------------------------

    def to_dict(self) -> dict:
        """Plain numbers for ``geometry.json``; `from_dict` reads them back."""
        return {
            "schema": "x2br-geometry-1",
            "coordinates": "RAS, mm",
            "view": self.view,
            "sid_mm": self.sid,
            "sod_mm": self.sod,
            "rows": self.shape[0],
            "columns": self.shape[1],
            "spacing_mm": list(self.spacing),
            "isocentre": self.isocentre.tolist(),
            "to_source": self.to_source.tolist(),
            "column_direction": self.columns.tolist(),
            "row_direction": self.rows.tolist(),
            "principal_point": list(self.principal_point),
            "source": self.source.tolist(),
            "detector_origin": self.detector_origin.tolist(),
        }

    @classmethod
    def from_dict(cls, data: dict) -> XRayGeometry:
        """The inverse of `to_dict`. Raises `InputError` where a number is missing or makes no sense."""
        try:
            return cls(
                sid=float(data["sid_mm"]),
                sod=float(data["sod_mm"]),
                shape=(int(data["rows"]), int(data["columns"])),
                spacing=tuple(float(v) for v in data["spacing_mm"]),
                isocentre=np.array(data["isocentre"], dtype=np.float64),
                to_source=np.array(data["to_source"], dtype=np.float64),
                columns=np.array(data["column_direction"], dtype=np.float64),
                rows=np.array(data["row_direction"], dtype=np.float64),
                principal_point=tuple(float(v) for v in data["principal_point"]),
                view=str(data.get("view", "OTHER")),
            )
        except InputError:
            raise
        except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
            told = f"geometry file: {reason(error)} is missing or no number; write it anew with x2br drr"
            raise InputError(told) from None

    def resized(self, shape: tuple[int, int]) -> XRayGeometry:
        """The same detector area with another number of pixels."""
        factor = (self.shape[0] / shape[0], self.shape[1] / shape[1])
        column, row = self.principal_point
        principal = ((column + 0.5) / factor[1] - 0.5, (row + 0.5) / factor[0] - 0.5)
        spacing = (self.spacing[0] * factor[0], self.spacing[1] * factor[1])
        return replace(self, shape=shape, spacing=spacing, principal_point=principal)
