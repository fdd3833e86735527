"""Training samples made when they are asked for: a radiograph and what is where on its rays, without a warped volume.

A virtual patient is drawn, its HU are changed on the scan's own grid, the film's rays are pushed through the
deformation into the scan, and so are the points that want a label. The films are those of a warped volume.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .. import anatomy
from ..geometry import XRayGeometry
from .continuation import UNKNOWN
from .hounsfield import rescanned
from .motion import ShapeModel
from .person import Person, VirtualPatient, draw_patient, prepare
from .rays import labels_along, line_integrals, missing, ray_lattice
from .resample import resample
from .subject import Subject
from .training_film import collimate, expose, random_geometry
from .truth import OccupancySamples

UNIFORM_POINTS = 6144
NEAR_SURFACE_POINTS = 10240
#: Grid of the scans, mm: as fine as a film's pixels at the patient.
SPACING_MM = 2.0
_SPREAD_MM = 4.0
_THORAX = np.zeros(256, dtype=bool)
_THORAX[list(anatomy.THORAX)] = True
_UNCLEAR = np.zeros(256, dtype=bool)
_UNCLEAR[[anatomy.CARTILAGES, UNKNOWN]] = True


@dataclass(frozen=True)
class Sample:
    """One radiograph with its truth.

    Attributes:
        image: ``(S, S)`` float32 in [0, 1], the network's input.
        truth: points of the ray cube, `UNIFORM_POINTS` uniform ones to `NEAR_SURFACE_POINTS` others, in this order.
        labels: what is at the cells of the ray cube, `rays.LABEL_CELLS` uint8 (`rays.labels_along`).
        geometry: of the film.
    """

    image: np.ndarray
    truth: OccupancySamples
    labels: np.ndarray
    geometry: XRayGeometry


class Source:
    """A subject from which samples come.

    Args:
        subject: any labelled CT. What is kept of it takes some 60 MB for a whole thorax.
    """

    def __init__(self, subject: Subject):
        self.person: Person = prepare(Subject(subject.name, *resample(subject.ct, subject.labels, SPACING_MM)))
        self._border = _border_voxels(self.person)

    def samples(
        self,
        rng: np.random.Generator,
        views: int,
        points: int,
        model: ShapeModel | None = None,
        integrate=line_integrals,
    ) -> tuple[VirtualPatient, list[Sample]]:
        """A virtual patient, determined by the state of `rng`, and so many frontal films, each before a lateral one.

        Args:
            points: labelled points for each film.
            integrate: makes films of HU, a `RayLattice` and the part exposed: `rays.line_integrals`, or another
                device's.
        """
        patient = draw_patient(self.person, rng, model)
        ct = rescanned(self.person.ct, self.person.labels, self.person.perfusion, patient.tissue)
        films = []
        for lateral in (False, True) * views:
            geometry = random_geometry(rng, patient.centre, lateral=lateral)
            lattice = ray_lattice(geometry, patient.deformation, self.person.ct)
            exposed = collimate(rng, missing(lattice, self.person.labels.array))
            image = expose(rng, integrate(ct.array, lattice, exposed), exposed)
            truth = self.truth(rng, patient, geometry, points)
            films.append(Sample(image, truth, labels_along(self.person.labels, lattice), geometry))
        return patient, films

    def truth(
        self, rng: np.random.Generator, patient: VirtualPatient, geometry: XRayGeometry, count: int
    ) -> OccupancySamples:
        """`count` labelled points of a film of the patient: first uniform ones, then those near the bones' surface."""
        uniform = round(count * UNIFORM_POINTS / (UNIFORM_POINTS + NEAR_SURFACE_POINTS))
        near = self._near_surface(rng, patient, geometry, count - uniform)
        points = np.concatenate([rng.random((count - len(near), 3)) - 0.5, near]).astype(np.float32)
        labels = self.person.labels
        places = patient.deformation.to_subject(geometry.ray_cube_to_ras(points))
        index = np.floor(labels.to_ijk(places) + 0.5).astype(np.int64)
        top = np.array(labels.array.shape[::-1]) - 1
        i, j, k = np.clip(index, 0, top).T
        found = labels.array[k, j, i]
        # Beside the scan is air, unless its border says that nothing is known; the same as in a warped volume.
        beside = ((index < 0) | (index > top))[:, :2].any(axis=1)
        beyond = (index[:, 2] < 0) | (index[:, 2] > top[2])
        known = ~_UNCLEAR[found] | (beside & (found != UNKNOWN))
        return OccupancySamples(points, known & _THORAX[found] & ~beside & ~beyond, known & ~beyond)

    def _near_surface(
        self, rng: np.random.Generator, patient: VirtualPatient, geometry: XRayGeometry, count: int
    ) -> np.ndarray:
        """Up to `count` points of the ray cube scattered about the surface of the bones."""
        chosen = self._border[rng.integers(len(self._border), size=2 * count)]
        placed = patient.deformation.to_patient(chosen) + rng.normal(0, _SPREAD_MM, chosen.shape)
        cube = geometry.ras_to_ray_cube(placed)
        return cube[(np.abs(cube) <= 0.5).all(axis=1)][:count]


def _border_voxels(person: Person) -> np.ndarray:
    """RAS places ``(N, 3)`` of the thorax's voxels that have a face neighbour which is none."""
    bone = _THORAX[person.labels.array]
    inner = bone.copy()
    for axis in range(3):
        for step in (-1, 1):
            inner &= np.roll(bone, step, axis)
    return person.labels.to_ras(np.argwhere(bone & ~inner)[:, ::-1])
