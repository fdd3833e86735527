"""Films of virtual patients with the box of every rib and vertebra, exact without a warped volume or a pencil.

A bone's voxels are pushed through the deformation and projected. A bone has a box where `drr.project_boxes` gives it
one: around what of it is in the picture, if that is a quarter or more. What the scan cuts is boxed as far as the scan
goes, unless it is a sliver, and films end about where the scan does: no bone is in the picture without its box.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from threadpoolctl import threadpool_limits

from ..dataset.continuation import UNKNOWN
from ..dataset.hounsfield import rescanned
from ..dataset.motion import ShapeModel
from ..dataset.person import Person, VirtualPatient, draw_patient, prepare
from ..dataset.rays import line_integrals, missing, ray_lattice
from ..dataset.subject import Subject
from ..dataset.training_film import collimate, expose, random_geometry
from ..drr.boxes import LEAST, slivers
from ..geometry import XRayGeometry
from .artefacts import disturb
from .boxes import Box
from .classes import CLASSES, LABELS

#: Pixels along an edge of the paper's films.
FILM_SIZE = 512
#: Share of films that show the scan and nothing else, ending in air above and below as plain DRRs of it do.
_BARE = 0.2
#: Share of films that are cut down to what was exposed; the others keep a blank border.
_CUT_DOWN = 0.7
#: Films that go on beyond the scan show bones without a box, so only few do and not far, mm.
_BEYOND_MM = 15.0
_AIR_HU = -1000


@dataclass(frozen=True)
class BoxedFilm:
    """A film and its boxes.

    Attributes:
        image: ``(rows, columns)`` float32 in [0, 1], bone bright.
        boxes: in its pixels.
        geometry: of the film.
    """

    image: np.ndarray
    boxes: tuple[Box, ...]
    geometry: XRayGeometry


class BoxedFilms:
    """A subject from whose virtual patients films come.

    Args:
        subject: any labelled CT.
        size: pixels along an edge of the field, before it is cut down to what was exposed.

    Attributes:
        person: the subject made ready.
        points: RAS places ``(N, 3)`` of the person's outer bone voxels, one bone after the other.
    """

    def __init__(self, subject: Subject, size: int = FILM_SIZE):
        self.person: Person = prepare(subject)
        self._size = size
        self._names, self.points, self._starts = _voxels(self.person)
        self._beyond = (self.person.labels.array == UNKNOWN).all(axis=(1, 2))

    def films(self, rng: np.random.Generator, views: int, model: ShapeModel | None = None) -> list[BoxedFilm]:
        """`views` films of one virtual patient, determined by the state of `rng`."""
        patient = draw_patient(self.person, rng, model)
        person = self.person
        ct = rescanned(person.ct, person.labels, person.perfusion, patient.tissue)
        points = patient.deformation.to_patient(self.points)
        with threadpool_limits(1, "blas"):  # products of three columns, which threads only slow down
            return [self._film(rng, patient, ct.array, points) for _ in range(views)]

    def _film(self, rng: np.random.Generator, patient: VirtualPatient, ct: np.ndarray, points: np.ndarray) -> BoxedFilm:
        person = self.person
        geometry = random_geometry(rng, patient.centre, self._size)
        lattice = ray_lattice(geometry, patient.deformation, person.ct)
        bare = rng.random() < _BARE
        if bare:
            ct = ct.copy()
            ct[self._beyond] = _AIR_HU
        unclear = missing(lattice, person.labels.array)
        exposed = np.ones(unclear.shape, dtype=bool) if bare else collimate(rng, unclear, _BEYOND_MM)
        image = expose(rng, line_integrals(ct, lattice, exposed), exposed, clahe=rng.random() < 0.5)
        window = _window(exposed)
        boxes = self.boxes(geometry, points, window)
        if rng.random() < _CUT_DOWN:
            rows, columns = window
            image = image[rows, columns]
            boxes = [_moved(box, columns.start, rows.start) for box in boxes]
            column, row = geometry.principal_point
            principal = column - columns.start, row - rows.start
            geometry = replace(geometry, shape=image.shape, principal_point=principal)
        return BoxedFilm(disturb(rng, image), tuple(boxes), geometry)

    def boxes(self, geometry: XRayGeometry, points: np.ndarray, window: tuple[slice, slice] | None = None) -> list[Box]:
        """The boxes of the bones.

        Args:
            points: the person's voxels where the deformation takes them.
            window: rows and columns of the film that are exposed; by default all.
        """
        rows, columns = window or (slice(0, geometry.shape[0]), slice(0, geometry.shape[1]))
        low = np.array([columns.start, rows.start]) - 0.5
        high = np.array([columns.stop, rows.stop]) - 0.5
        pixels = geometry.project(points)
        seen = ((pixels >= low) & (pixels <= high)).all(axis=1)
        share = np.add.reduceat(seen.astype(np.float64), self._starts) / np.diff([*self._starts, len(seen)])
        # A voxel reaches half its width further than its centre.
        reach = 0.5 * self.person.labels.spacing[0] * geometry.sid / geometry.sod / np.array(geometry.spacing[::-1])
        hidden = ~seen[:, None]
        first = np.minimum.reduceat(np.where(hidden, np.inf, pixels - reach), self._starts)
        last = np.maximum.reduceat(np.where(hidden, -np.inf, pixels + reach), self._starts)
        first, last = np.maximum(first, low), np.minimum(last, high)
        return [
            Box.of(name, (*first[n], *last[n]), share[n]) for n, name in enumerate(self._names) if share[n] >= LEAST
        ]


def _voxels(person: Person) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Names of the bones, RAS places of their outer voxels one bone after the other, and where each bone starts."""
    labels = person.labels.array
    inner = np.ones(labels.shape, dtype=bool)
    for axis in range(3):
        for step in (-1, 1):
            inner &= np.roll(labels, step, axis) == labels
    places = np.argwhere(~inner)
    found = labels[tuple(places.T)]
    wanted = set(np.unique(found)) - slivers(person.labels)
    kept = [(name, places[found == label]) for name, label in zip(CLASSES, LABELS, strict=True) if label in wanted]
    points = person.labels.to_ras(np.concatenate([ijk[:, ::-1] for _, ijk in kept]))
    starts = np.cumsum([0] + [len(ijk) for _, ijk in kept[:-1]])
    return [name for name, _ in kept], points, starts


def _window(exposed: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of what the collimator leaves, which is a rectangle."""
    rows, columns = np.flatnonzero(exposed.any(1)), np.flatnonzero(exposed.any(0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _moved(box: Box, columns: int, rows: int) -> Box:
    return replace(box, x0=box.x0 - columns, x1=box.x1 - columns, y0=box.y0 - rows, y1=box.y1 - rows)
