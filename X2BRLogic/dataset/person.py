"""A scanned person made ready for deformation, and virtual patients drawn from them."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import anatomy
from ..volume import Volume
from .continuation import continued, cut_bones
from .deformation import MIN_DETERMINANT, Deformation, grid
from .hounsfield import Tissue, draw_tissue, perfused
from .motion import (
    Armature,
    ShapeModel,
    acceptable,
    apply,
    armature,
    draw_local,
    draw_posture,
    flow_back,
    learn,
    measure,
    pose,
    trunk_motion,
)
from .resample import resample
from .subject import Subject, read_subject

#: Scans finer than the first are brought to the second, mm: films have pixels of 1.8 mm at the patient.
_FINEST_MM = 1.2
_WORKING_MM = 1.5
#: Each draw that fails is followed by one so much milder, on the whole and in the shoulders, which fold first.
_MILDER = 0.94
_MILDER_SHOULDERS = 0.6
#: File name of a shape model beside what is made with it.
SHAPE_MODEL = "shape_model.safetensors"
#: Registering more people would tell little more, and take longer: some 3 s each.
_MOST_LEARNED = 40


@dataclass(frozen=True)
class Person:
    """A labelled scan, continued beyond its ends, with what its deformations need.

    Attributes:
        name: of the subject.
        ct, labels: see `continuation.continued`; axes along R, A, S.
        perfusion: see `hounsfield.perfused`, on the same grid.
        bones: the armature.
        cut: labels of the bones that the scan cuts.
    """

    name: str
    ct: Volume
    labels: Volume
    perfusion: np.ndarray
    bones: Armature
    cut: tuple[int, ...]


@dataclass(frozen=True)
class VirtualPatient:
    """A person deformed and scanned anew.

    Attributes:
        person: who.
        deformation: from the virtual patient, centred on the RAS origin, to the person.
        tissue: of the new scan.
        centre: RAS mm, of the bounding box of the thoracic bones.
        measures: see `motion.measure`.
        strength, learned: how violent the random and the learned part were, 0 to 1.
    """

    person: Person
    deformation: Deformation
    tissue: Tissue
    centre: np.ndarray
    measures: dict[str, float]
    strength: float
    learned: float


_prepared: dict[int, Person] = {}


def prepare(subject: Subject) -> Person:
    """The person of a subject; kept as long as the subject is. Raises `InputError` if no bone is labelled."""
    key = id(subject)
    if key not in _prepared:
        ct, labels = _upright(subject.ct, subject.labels)
        bones = armature(labels)
        cut = cut_bones(labels)
        ct, labels = continued(ct, labels)
        _prepared[key] = Person(subject.name, ct, labels, perfused(ct, labels), bones, cut)
        weakref.finalize(subject, _prepared.pop, key, None)
    return _prepared[key]


def _upright(ct: Volume, labels: Volume) -> tuple[Volume, Volume]:
    """Both on a grid along R, A, S, not finer than needed; as they are if they lie so."""
    matrix, spacing = ct.ijk_to_ras[:3, :3], ct.spacing
    if np.allclose(matrix, np.diag(spacing)) and spacing.min() >= _FINEST_MM:
        return ct, labels
    return resample(ct, labels, max(float(spacing.min()), _WORKING_MM))


def learn_from(folders: list[Path], cache: Path) -> ShapeModel | None:
    """The shape model of the subjects in these folders and of nobody else; ``None`` if they are too few for one.

    Of a large collection, `_MOST_LEARNED` subjects evenly spread over the list stand for all.

    Args:
        cache: file to keep it in; made anew if it is of other subjects.
    """
    chosen = np.unique(np.linspace(0, len(folders) - 1, min(len(folders), _MOST_LEARNED)).round().astype(int))
    folders = [folders[n] for n in chosen]
    if cache.exists():
        model = ShapeModel.read(cache)
        if sorted(model.names) == sorted(folder.name for folder in folders):
            return model
    bones, cut = {}, {}
    for folder in folders:
        subject = read_subject(folder)
        _, labels = _upright(subject.ct, subject.labels)
        bones[folder.name], cut[folder.name] = armature(labels), cut_bones(labels)
    model = learn(bones, cut)
    if model:
        model.save(cache)
    else:
        cache.unlink(missing_ok=True)  # or others' would be taken for these subjects'
    return model


def draw_patient(
    person: Person, rng: np.random.Generator, model: ShapeModel | None = None, strength: float = 1.0
) -> VirtualPatient:
    """A virtual patient, determined by the state of `rng`.

    What the shape model draws and what is random are mixed in a random proportion. A draw is accepted when nothing
    folds (`MIN_DETERMINANT`) and every measure is in the range of adults, else a milder one follows.

    Args:
        person: whose scan it is.
        rng: what makes it repeatable.
        model: of people to be like; must not know anyone who is to be tested on.
        strength: of the whole; 0 gives the person as scanned.
    """
    bones = person.bones
    identity = np.broadcast_to(np.eye(4), (len(bones.labels), 4, 4))
    before = measure(bones, lambda _, points: points)
    nodes = grid()
    shoulders = 1.0
    while True:
        learned = float(rng.uniform(0.0, 1.0)) * strength if model else 0.0
        spread = strength * float(np.sqrt(1.0 - 0.6 * learned**2))
        earlier = model.draw(rng, bones, person.name, learned) if model else identity
        posture = draw_posture(rng, spread, shoulders)
        motions, overall = pose(bones, posture, earlier)
        local = draw_local(rng, nodes, spread)
        strength, shoulders = strength * _MILDER, shoulders * _MILDER_SHOULDERS
        if not acceptable(measure(bones, lambda n, points, m=motions: apply(m[n], points)), before):
            continue
        levels = trunk_motion(bones, motions, overall, posture.girth)
        deformation = Deformation.of(flow_back(bones, motions, levels, local) + bones.centre)
        if deformation.determinant <= MIN_DETERMINANT:
            continue
        # The map itself, local variation included, moves the bones a little further than was asked of it.
        measures = measure(bones, lambda _, points, d=deformation: d.to_patient(points + bones.centre))
        if acceptable(measures, before):
            break
    thorax = np.concatenate([p for n, p in zip(bones.labels, bones.points, strict=True) if n in anatomy.THORAX])
    thorax = deformation.to_patient(thorax + bones.centre)
    centre = (np.nanmin(thorax, axis=0) + np.nanmax(thorax, axis=0)) / 2
    return VirtualPatient(person, deformation, draw_tissue(rng), centre, measures, spread, learned)
