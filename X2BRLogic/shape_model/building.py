"""From labelled people, and virtual patients made of them, to the shape model of the thorax."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import trimesh

from .. import __version__
from ..anatomy import BY_LABEL, THORAX
from ..dataset.person import draw_patient, prepare
from ..dataset.subject import Subject, find_subjects, read_subject
from ..errors import InputError
from ..surface import simplify
from ..template import load_template
from ..template.building.correspondence import completed
from ..template.building.mean import HALF, Shapes, halves, similarity
from ..template.building.person import Person, read_person
from ..template.parts import mirrored_name
from .cage import Cage
from .linear import aligned
from .quality import compactness, generalisation, specificity

#: Faces of a bone of the model.
_FACES = 700
_MIRROR = np.array([-1.0, 1.0, 1.0])
#: Modes up to which generalisation is told.
_TOLD = 16


def learn_cage(
    folder: Path, *, exclude: Iterable[str] = (), virtual: int = 12, seed: int = 0, say: Callable[[str], None] = print
) -> Cage:
    """The shape model of the labelled people in a folder; deterministic.

    The bones of the skeleton template, with fewer vertices, are registered to everybody's, as when the template is made
    (`template.building`), so that vertices correspond between people; a virtual patient's are the person's own, moved
    by the known deformation. Everybody counts a second time in the mirror.

    Args:
        folder: holds a folder for each person, with CT and bones.
        exclude: names of people to leave out.
        virtual: patients made of each person.
        seed: of these.
        say: told how far it is.

    Raises:
        InputError: fewer than two people are left, or one to exclude is not there.
    """
    folders = find_subjects(Path(folder), exclude)
    if len(folders) < 2:
        raise InputError("a shape model needs two people or more; exclude fewer")
    names = [BY_LABEL[label].name for label in THORAX]
    bones = {name: simplify(load_template().bones[name], _FACES) for name in names if name in HALF}
    mean, faces = ({name: getattr(mesh, what) for name, mesh in bones.items()} for what in ("vertices", "faces"))
    samples = halves([read_person(path) for path in folders])
    found = completed(mean, faces, [_pose(bones, sample) for sample in samples], samples, say)
    people = []
    for n, sample in enumerate(samples[::2]):
        own, image = found[2 * n][0], found[2 * n + 1][0]
        # A midline bone's vertices are found anew in the mirror: its left ones would not correspond to right ones.
        sides = [_both_sides(own, image, names), _both_sides(image, own, names)]
        variants = _virtual(read_subject(Path(folder) / sample.name), sides, virtual, seed)
        people.append([*sides, *variants])
        say(f"{sample.name}: {len(people[-1])} shapes")
    faces = {mirrored_name(name): triangles[:, ::-1] for name, triangles in faces.items()} | faces
    everybody = [shape for shapes in people for shape in shapes]
    facts = {
        "built_with": f"X2BR {__version__}",
        "subjects": [sample.facts for sample in samples[::2]],
        "excluded": sorted(exclude),
        "virtual": virtual,
        "seed": seed,
        "shapes": len(everybody),
    }
    cage = Cage.learn(everybody, {name: faces[name] for name in names}, facts)
    cage.facts["curves"] = _curves(cage, [np.stack([_joined(s, names) for s in shapes]) for shapes in people])
    return cage


def _curves(cage: Cage, people: list[np.ndarray]) -> dict[str, list[float]]:
    curves = {
        "compactness": compactness(cage.whole),
        "generalisation_mm": generalisation(people, _TOLD) if len(people) > 2 else [],
        "specificity_mm": specificity(cage.whole, aligned(np.concatenate(people))),
    }
    return {name: [round(value, 4) for value in values] for name, values in curves.items()}


def _pose(bones: dict[str, trimesh.Trimesh], sample: Person) -> np.ndarray:
    """The 4x4 similarity that takes bones to a person, by the centres of those that the scan shows whole."""
    shared = [name for name in bones if name in sample.whole]
    there, here = (np.array([part[name].center_mass for name in shared]) for part in (bones, sample.bones))
    return similarity(there, here)


def _both_sides(half: Shapes, image: Shapes, names: list[str]) -> Shapes:
    """A whole thorax of a half as it is and of the mirror image's half."""
    return {name: half[name] if name in half else image[mirrored_name(name)] * _MIRROR for name in names}


def _virtual(subject: Subject, sides: list[Shapes], count: int, seed: int) -> Iterator[Shapes]:
    """The bones of so many virtual patients of a person, given as they are and in the mirror, and so for each."""
    person = prepare(subject)
    for number in range(count):
        rng = np.random.default_rng((seed, number, zlib.crc32(subject.name.encode())))
        deformation = draw_patient(person, rng).deformation
        for bones, flip in zip(sides, (np.ones(3), _MIRROR), strict=True):
            moved = {name: deformation.to_patient(vertices * flip) * flip for name, vertices in bones.items()}
            # Vertices that the deformation does not reach become no numbers.
            if all(np.isfinite(vertices).all() for vertices in moved.values()):
                yield moved


def _joined(shapes: Shapes, names: list[str]) -> np.ndarray:
    return np.concatenate([shapes[name] for name in names])
