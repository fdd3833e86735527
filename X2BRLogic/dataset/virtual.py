"""Virtual patients: deformed copies of labelled CTs, radiographed from several angles, with occupancy truth.

A patient is one ``.npz`` file, written whole or not at all and fully determined by its seed and number:

``images``
    ``(V, S, S)`` uint8: what the network sees (`X2BRLogic.radiograph.normalise`), 255 for 1.
``points``
    ``(V, N, 3)`` uint16: ray-cube coordinates, 0 to 65535 for -0.5 to 0.5. The first `UNIFORM_POINTS` are uniform in
    the cube, so volumes can be estimated from them; the rest are near the bones' surface.
``occupied``, ``known``
    ``(V, N / 8)`` packed bits: inside a bone of the thorax; covered by the scan and not cartilage. Beyond the cut end
    of a bone nothing is known, so no loss and no score punishes a model for completing it.
``cut``
    ``(C,)`` uint8: labels of the bones that the scan cuts.
``record``
    JSON: subject, deformation, tissue, measures of the thorax, the views' geometries.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields

import numpy as np

from .. import anatomy
from ..drr import Renderer
from ..geometry import XRayGeometry
from ..volume import Volume
from .continuation import UNKNOWN
from .deformation import Deformation, warp
from .hounsfield import rescanned
from .motion import ShapeModel
from .person import VirtualPatient, draw_patient, prepare
from .rays import missing, ray_lattice
from .subject import Subject
from .training_film import collimate, expose, random_geometry
from .truth import OccupancySamples, occupancy_samples

UNIFORM_POINTS = 6144
NEAR_SURFACE_POINTS = 10240
#: Grid of the warped CT, mm: as fine as the input image (1.8 mm), coarser than the scans.
_SPACING_MM = 2.0


def _sample_truth(rng: np.random.Generator, labels: Volume, geometry: XRayGeometry) -> OccupancySamples:
    """Uniform points, then points near the surface."""
    parts = [
        occupancy_samples(
            labels,
            geometry=geometry,
            count=count,
            near_surface_fraction=near,
            seed=int(rng.integers(2**31)),
            ignored=(anatomy.CARTILAGES, UNKNOWN),
        )
        for count, near in ((UNIFORM_POINTS, 0.0), (NEAR_SURFACE_POINTS, 1.0))
    ]
    return OccupancySamples(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(OccupancySamples)))


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


def make_patient(
    subject: Subject, rng: np.random.Generator, views: int, model: ShapeModel | None = None
) -> dict[str, np.ndarray]:
    """One virtual patient as the arrays of its file (see the module).

    Args:
        model: how people differ (`motion.learn`); without it every deformation is random.
    """
    patient = draw_patient(prepare(subject), rng, model)
    ct, labels = warped(patient)
    renderer = Renderer(ct)
    arrays: dict[str, list] = {"images": [], "points": [], "occupied": [], "known": []}
    geometries = []
    for _ in range(views):
        image, geometry = film_of(patient, renderer, rng)
        truth = _sample_truth(rng, labels, geometry)
        arrays["images"].append(np.round(image * 255).astype(np.uint8))
        arrays["points"].append(np.round((np.clip(truth.points, -0.5, 0.5) + 0.5) * 65535).astype(np.uint16))
        arrays["occupied"].append(np.packbits(truth.occupied))
        arrays["known"].append(np.packbits(truth.known))
        geometries.append(geometry.to_dict())
    record = record_of(patient) | {"geometries": geometries}
    stacked = {name: np.stack(values) for name, values in arrays.items()}
    return stacked | {"cut": np.array(patient.person.cut, dtype=np.uint8), "record": np.array(json.dumps(record))}


def record_of(patient: VirtualPatient) -> dict:
    """What a patient is made of, JSON-ready."""
    return {
        "subject": patient.person.name,
        "determinant": patient.deformation.determinant,
        "strength": patient.strength,
        "learned": patient.learned,
        "tissue": asdict(patient.tissue),
        "measures": patient.measures,
        "cut": [anatomy.BY_LABEL[label].name for label in patient.person.cut],
    }
