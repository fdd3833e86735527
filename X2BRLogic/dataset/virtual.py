"""Virtual patients as volumes: deformed copies of labelled CTs, to be radiographed like any CT."""

from __future__ import annotations

import numpy as np

from ..drr import Renderer
from ..geometry import XRayGeometry
from ..volume import Volume
from .deformation import Deformation, warp
from .hounsfield import rescanned
from .motion import ShapeModel
from .person import VirtualPatient, draw_patient, prepare
from .rays import missing, ray_lattice
from .subject import Subject
from .training_film import collimate, expose, random_geometry

#: Grid of the warped CT, mm: as fine as the input image (1.8 mm), coarser than the scans.
_SPACING_MM = 2.0


def warped(patient: VirtualPatient) -> tuple[Volume, Volume]:
    """The virtual patient's CT and labels, centred on the origin."""
    person = patient.person
    ct = rescanned(person.ct, person.labels, person.perfusion, patient.tissue)
    return warp(ct, person.labels, patient.deformation, _SPACING_MM)


def deform(
    subject: Subject, rng: np.random.Generator, model: ShapeModel | None = None
) -> tuple[Volume, Volume, Deformation]:
    """A virtual patient's CT, labels (`UNKNOWN` above and below the scan) and deformation, centred on the origin."""
    patient = draw_patient(prepare(subject), rng, model)
    return *warped(patient), patient.deformation


def film_of(patient: VirtualPatient, renderer: Renderer, rng: np.random.Generator) -> tuple[np.ndarray, XRayGeometry]:
    """A radiograph of the patient as the network sees it, ``(S, S)`` in [0, 1], and how it was taken.

    Args:
        renderer: of the patient's warped CT.
    """
    person = patient.person
    geometry = random_geometry(rng, patient.centre)
    lattice = ray_lattice(geometry, patient.deformation, person.ct)
    exposed = collimate(rng, missing(lattice, person.labels.array))
    return expose(rng, renderer.line_integrals(geometry), exposed), geometry
