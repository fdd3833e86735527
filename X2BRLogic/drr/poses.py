"""Where to radiograph from: views, series of angles, random poses.

Words for readers of other tools: SID is xvr's ``sdd``; SOD is SlicerRT's source-axis distance (SAD); the detector's
shape, pitch and offset are SlicerRT's imager resolution, spacing and centre offset; angle, tilt, roll and shift are
xvr's ``r1``, ``r2``, ``r3`` and ``tx``, ``ty``, ``tz``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..geometry import XRayGeometry

MAX_DETECTOR_PIXELS = 8192


@dataclass(frozen=True)
class Detector:
    """A flat detector and its distance.

    Attributes:
        sid, sod: source-to-image and source-to-isocentre distance, mm.
        shape: pixels, ``(rows, columns)``, at most 8192 each.
        spacing: pixel pitch in mm, ``(between rows, between columns)``.
        offset: from where the central ray meets the detector to the detector's centre, mm along the columns' and the
            rows' directions (to the image's right, and down).
    """

    sid: float
    sod: float
    shape: tuple[int, int]
    spacing: tuple[float, float]
    offset: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self):
        if max(self.shape) > MAX_DETECTOR_PIXELS:
            raise InputError(f"a detector of {max(self.shape)} pixels is more than {MAX_DETECTOR_PIXELS}; take fewer")
        if not np.isfinite(self.offset).all():
            raise InputError("the detector's offset must be two numbers of millimetres")


@dataclass(frozen=True)
class Pose:
    """One radiograph's direction: a named view, turned (see `XRayGeometry.from_view`), its isocentre shifted.

    Attributes:
        name: unique among the poses of a series; part of the file's name.
        view: ``AP``, ``PA``, ``LAT`` or ``RLAT``.
        angle, tilt, roll: degrees.
        shift: added to the isocentre, RAS mm.
    """

    name: str
    view: str
    angle: float = 0.0
    tilt: float = 0.0
    roll: float = 0.0
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def geometry(self, detector: Detector, isocentre: np.ndarray) -> XRayGeometry:
        """The geometry about an isocentre in RAS mm. Raises `InputError` for numbers that make no sense."""
        if not np.isfinite([self.angle, self.tilt, self.roll]).all():
            raise InputError("angle, tilt and roll must be numbers of degrees")
        (rows, columns), (row_mm, column_mm) = detector.shape, detector.spacing
        across, down = detector.offset
        return XRayGeometry.from_view(
            self.view,
            angle=self.angle,
            tilt=self.tilt,
            roll=self.roll,
            sid=detector.sid,
            sod=detector.sod,
            shape=detector.shape,
            spacing=detector.spacing,
            isocentre=np.asarray(isocentre, dtype=np.float64) + self.shift,
            principal_point=((columns - 1) / 2 - across / column_mm, (rows - 1) / 2 - down / row_mm),
        )


def series(view: str, angles: Iterable[float] = (0.0,), *, tilt: float = 0.0, roll: float = 0.0) -> list[Pose]:
    """One pose an angle. Raises `InputError` where two would have one name."""
    poses = {}
    for angle in angles:
        name = view.lower() + (f"_{angle:+g}" if angle else "")
        if name in poses:
            raise InputError(f"the angle {angle:g} is given twice; give each once")
        poses[name] = Pose(name, view, angle, tilt, roll)
    return list(poses.values())


@dataclass(frozen=True)
class PoseRange:
    """How far random poses go: each number is drawn evenly between minus and plus its limit.

    The defaults are a patient carelessly set up for a chest film.

    Attributes:
        angle, tilt, roll: degrees about the pose that is varied.
        shift: mm along R, A and S.
    """

    angle: float = 15.0
    tilt: float = 10.0
    roll: float = 5.0
    shift: tuple[float, float, float] = (20.0, 20.0, 20.0)

    def __post_init__(self):
        limits = np.array([self.angle, self.tilt, self.roll, *self.shift])
        if not np.isfinite(limits).all() or (limits < 0).any() or limits[:3].max() > 180:
            raise InputError("the ranges of random poses must be positive: degrees up to 180, and millimetres")


def random_poses(about: Pose, count: int, seed: int, spread: PoseRange | None = None) -> Iterator[Pose]:
    """`count` random poses about one. Pose n depends on the seed and n alone, so a longer series begins the same."""
    spread = spread or PoseRange()
    for n in range(count):
        u = np.random.default_rng((seed, n)).uniform(-1.0, 1.0, 6)
        yield Pose(
            f"{about.name}_{n:04d}",
            about.view,
            about.angle + u[0] * spread.angle,
            about.tilt + u[1] * spread.tilt,
            about.roll + u[2] * spread.roll,
            tuple(np.asarray(about.shift) + u[3:] * spread.shift),
        )
