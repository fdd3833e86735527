"""From labelled people to the template."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import trimesh

from ... import __version__
from ...dataset.subject import find_subjects
from ...errors import InputError
from .. import parts
from ..contact import joints_of, separated
from ..skeleton import Skeleton
from .correspondence import completed, reference_bones, seen_whole
from .finish import cleaned, mean_volume, refined, with_volume
from .mean import HALF, halves, procrustes_mean
from .modelled import costal_cartilages, neighbours_of_the_thorax
from .person import read_person

METHOD = (
    "Each bone of a half thorax (left ribs and midline) was registered with BCPD++ and brought onto the surface of "
    "the same bone of every person and of every person's mirror image. Generalised Procrustes analysis took place, "
    "turn and size away. The mean of the vertices, smoothed by Taubin's filter and given the mean volume, is the bone; "
    "the right ribs are the left ones' mirror image. What a scan does not show was carried on from what it shows by a "
    "biharmonic spline. Neighbours were pushed apart where they overlapped."
)
MODELLED = {
    "cartilage": "modelled: a tube swept from the rib's end to the sternum or to the cartilage above",
    "neighbour": "modelled: a copy of the nearest measured vertebra, scaled by published lengths",
}


def build_template(folder: Path, *, exclude: Iterable[str] = (), say: Callable[[str], None] = print) -> Skeleton:
    """The mean skeleton of the labelled people in a folder.

    Deterministic: the same people give the same skeleton.

    Args:
        folder: holds a folder for each person, with ``bones.nii.gz`` and ``subject.json``.
        exclude: names of people to leave out.
        say: told how far it is.

    Raises:
        InputError: no person is left, one to exclude is not there, or a bone is not whole in anybody.
    """
    folders, excluded = find_subjects(Path(folder)), set(exclude)
    missing = excluded - {path.name for path in folders}
    if missing:
        raise InputError(f"cannot leave out {sorted(missing)[0]}: it is not in {folder}")
    people = [read_person(path) for path in folders if path.name not in excluded]
    if not people:
        raise InputError(f"nobody is left in {folder} to build a template from; exclude fewer")
    samples = halves(people)

    coarse = reference_bones(samples)
    mean, poses = procrustes_mean(seen_whole(coarse, samples, say), samples)
    first = {name: refined(name, vertices, coarse[name].faces) for name, vertices in mean.items()}
    mean, faces = ({name: getattr(mesh, what) for name, mesh in first.items()} for what in ("vertices", "faces"))
    found = completed(mean, faces, poses, samples, say)
    mean, _ = procrustes_mean([shapes for shapes, _, _ in found], samples)

    half = {name: with_volume(cleaned(mean[name], faces[name]), mean_volume(name, samples)) for name in HALF}
    bones = separated(_both_sides(half))
    neighbours = neighbours_of_the_thorax(bones)
    cartilages = costal_cartilages(bones)
    bones = separated({**bones, **neighbours, **cartilages}, fixed=frozenset(bones))
    details = {name: _details(name, found) for name in bones}
    facts = {
        "method": METHOD,
        "built_with": f"X2BR {__version__}",
        "subjects": [person.facts for person in people],
        "bones": details,
    }
    skeleton = Skeleton(bones, joints_of(bones), facts)
    place = np.eye(4)
    place[1:3, 3] = -skeleton.centre[1:]  # x = 0 is the plane of symmetry
    return skeleton.transformed(place)


def _both_sides(half: dict[str, trimesh.Trimesh]) -> dict[str, trimesh.Trimesh]:
    flip = np.diag([-1.0, 1.0, 1.0, 1.0])
    images = {parts.mirrored_name(n): m.copy().apply_transform(flip) for n, m in half.items() if parts.side_of(n)}
    return {**half, **images}


def _details(name: str, found: list) -> dict:
    """How a bone was made, and in how many people it was seen whole and in part (on either side)."""
    if name.startswith("costal_cartilage"):
        return {"made": MODELLED["cartilage"]}
    half = name if name in HALF else parts.mirrored_name(name)
    if half not in HALF:
        return {"made": MODELLED["neighbour"]}
    pairs = list(zip(found[::2], found[1::2], strict=True))
    whole = [any(half in names for _, names, _ in pair) for pair in pairs]
    partly = [any(half in names for _, _, names in pair) and not seen for pair, seen in zip(pairs, whole, strict=True)]
    return {"made": "mean", "seen": {"people": len(pairs), "whole": sum(whole), "in_part": sum(partly)}}
