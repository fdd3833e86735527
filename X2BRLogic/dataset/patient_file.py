"""The file of a virtual patient: films from several angles with their truth.

A patient is one ``.npz`` file, written whole or not at all and fully determined by its seed and number. Of V views each
is a frontal film and a lateral one, so it holds 2 V films; film 2 n + 1 is the lateral one beside film 2 n:

``images``
    ``(2 V, S, S)`` uint8: what the network sees (`X2BRLogic.radiograph.normalise`), 255 for 1.
``points``
    ``(2 V, N, 3)`` uint16: ray-cube coordinates, 0 to 65535 for -0.5 to 0.5. The first `UNIFORM_POINTS` are uniform in
    the cube, so volumes can be estimated from them; the rest are near the bones' surface.
``occupied``, ``known``
    ``(2 V, N / 8)`` packed bits: inside a bone of the thorax; covered by the scan and not cartilage. Beyond the cut end
    of a bone nothing is known, so no loss and no score punishes a model for completing it.
``labels_0`` to ``labels_(2 V - 1)``
    `rays.LABEL_CELLS` uint8: the label at the centres of the ray cube's cells, `UNKNOWN` where the scan does not tell.
    One array a film, so that one film can be read without the others.
``cut``
    ``(C,)`` uint8: labels of the bones that the scan cuts.
``record``
    JSON: subject, deformation, tissue, measures of the thorax, the films' geometries.
"""

from __future__ import annotations

import json
import zlib
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from .. import anatomy
from ..errors import InputError
from ..geometry import XRayGeometry
from .motion import ShapeModel
from .on_the_fly import NEAR_SURFACE_POINTS, UNIFORM_POINTS, Source
from .person import VirtualPatient


def make_patient(
    source: Source, rng: np.random.Generator, views: int, model: ShapeModel | None = None
) -> dict[str, np.ndarray]:
    """One virtual patient as the arrays of its file (see the module).

    Args:
        views: pairs of a frontal and a lateral film.
        model: how people differ (`motion.learn`); without it every deformation is random.
    """
    patient, films = source.samples(rng, views, UNIFORM_POINTS + NEAR_SURFACE_POINTS, model)
    record = record_of(patient) | {"geometries": [film.geometry.to_dict() for film in films]}
    arrays = {
        "images": np.stack([np.round(film.image * 255).astype(np.uint8) for film in films]),
        "points": np.stack([_to_uint16(film.truth.points) for film in films]),
        "occupied": np.stack([np.packbits(film.truth.occupied) for film in films]),
        "known": np.stack([np.packbits(film.truth.known) for film in films]),
        "cut": np.array(patient.person.cut, dtype=np.uint8),
        "record": np.array(json.dumps(record)),
    }
    return arrays | {f"labels_{n}": film.labels for n, film in enumerate(films)}


def _to_uint16(points: np.ndarray) -> np.ndarray:
    return np.round((np.clip(points, -0.5, 0.5) + 0.5) * 65535).astype(np.uint16)


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


@dataclass(frozen=True)
class Film:
    """One film of a patient's file.

    Attributes:
        image: ``(S, S)`` float32 in [0, 1].
        second: the film beside it, at right angles, in the same form.
        points: ``(N, 3)`` float32, ray cube of `image`.
        occupied, known: ``(N,)`` bool.
        labels: `rays.LABEL_CELLS` uint8.
    """

    image: np.ndarray
    second: np.ndarray
    points: np.ndarray
    occupied: np.ndarray
    known: np.ndarray
    labels: np.ndarray


class PatientFile:
    """A virtual patient on disk, read film by film. What cannot be read raises `InputError`, here or in `film`."""

    def __init__(self, path: Path):
        self._path = path
        with self._readable():
            self._stored = np.load(path, allow_pickle=False)
            self._images = self._stored["images"]

    def __len__(self) -> int:
        """Number of films: frontal ones at even numbers, each followed by its lateral one."""
        return len(self._images)

    @property
    def subject(self) -> str:
        """Name of the person it was made from."""
        with self._readable():
            return json.loads(str(self._stored["record"]))["subject"]

    def geometry(self, number: int) -> XRayGeometry:
        """How film `number` was taken."""
        with self._readable():
            return XRayGeometry.from_dict(json.loads(str(self._stored["record"]))["geometries"][number])

    def film(self, number: int) -> Film:
        """Film `number`, its truth included."""
        image, second = (self._images[n].astype(np.float32) / 255.0 for n in (number, number ^ 1))
        with self._readable():
            points = self._stored["points"][number].astype(np.float32) / 65535.0 - 0.5
            occupied, known = (
                np.unpackbits(self._stored[name][number], count=len(points)).astype(bool)
                for name in ("occupied", "known")
            )
            return Film(image, second, points, occupied, known, self._stored[f"labels_{number}"])

    @contextmanager
    def _readable(self):
        try:
            yield
        except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error) as error:
            raise InputError(f"{self._path} is no virtual patient ({error}); delete it and build again") from None
