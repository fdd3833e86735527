"""The test set: people and virtual patients that a model never saw, radiographed and reconstructed."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import trimesh

from .. import anatomy
from ..dataset.deformation import UNKNOWN
from ..dataset.subject import Subject
from ..dataset.virtual import deform
from ..drr import Renderer, as_radiograph, isocentre
from ..errors import InputError
from ..geometry import XRayGeometry
from ..pipeline import Reconstructor
from ..radiograph import Radiograph
from ..surface import labels_to_mesh
from ..volume import Volume
from .naming import naming
from .protocol import PROTOCOLS, evaluate

#: Within this of the scan's top and bottom nothing is compared: there the scan cuts the bones, mm.
_MARGIN_MM = 4.0


@dataclass(frozen=True)
class Case:
    """Two films of known geometry and what is true.

    Attributes:
        name: of the person.
        radiograph, lateral: AP, and left lateral.
        truth: the bones of the thorax, RAS mm.
        region: the box, RAS mm, in which the scan knows them.
        labels: of the bones.
    """

    name: str
    radiograph: Radiograph
    lateral: Radiograph
    truth: trimesh.Trimesh
    region: np.ndarray
    labels: Volume


def _case(name: str, ct: Volume, labels: Volume) -> Case:
    centre, renderer = isocentre(ct, labels), Renderer(ct)
    known = dict.fromkeys(("sid", "sod", "spacing", "view"), True)
    films = []
    for view in ("AP", "LAT"):
        geometry = XRayGeometry.from_view(view, isocentre=centre)
        pixels = as_radiograph(renderer.line_integrals(geometry)).astype(np.float32)
        films.append(Radiograph(pixels, geometry, known, name))
    mesh = labels_to_mesh(labels, anatomy.THORAX)
    return Case(name, *films, mesh, _scanned(labels, mesh), labels)


def _scanned(labels: Volume, mesh: trimesh.Trimesh) -> np.ndarray:
    """The levels at which the scan covers all of the bones' breadth and depth, as a box, a margin inside the scan."""
    unknown = labels.to_ras(np.argwhere(labels.array == UNKNOWN)[:, ::-1])
    beside = (np.abs(unknown - mesh.bounds.mean(0)) < mesh.extents / 2)[:, :2].all(1)
    levels = unknown[beside, 2]
    bottom, top = labels.corners[:, 2].min(), labels.corners[:, 2].max()
    middle = mesh.bounds[:, 2].mean()
    bottom = max(bottom, levels[levels < middle].max(initial=-np.inf)) + _MARGIN_MM
    top = min(top, levels[levels > middle].min(initial=np.inf)) - _MARGIN_MM
    return np.array([[-np.inf, -np.inf, bottom], [np.inf, np.inf, top]])


def real_case(subject: Subject) -> Case:
    """The person as scanned."""
    return _case(subject.name, subject.ct, subject.labels)


def virtual_case(subject: Subject, seed: int) -> Case:
    """A deformed copy, another one for each seed and subject."""
    rng = np.random.default_rng((seed, zlib.crc32(subject.name.encode())))
    ct, labels, _ = deform(subject, rng)
    return _case(f"{subject.name} deformed {seed}", ct, labels)


def scores(case: Case, reconstructor: Reconstructor, views: int = 1) -> Iterator[dict]:
    """One row of metrics a protocol, in ``strict`` also the `naming` of named bones and the seconds that it took.

    A film in which the model sees nothing is a row without metrics.
    """
    row = {"name": case.name, "method": reconstructor.method, "views": views}
    try:
        found = reconstructor.reconstruct(case.radiograph, second=case.lateral if views == 2 else None)
    except InputError as error:
        yield from (row | {"protocol": protocol, "warnings": [str(error)]} for protocol in PROTOCOLS)
        return
    about = {"seconds": found.summary["seconds"]["total"]}
    if found.bones:
        about |= naming(found.bones, case.labels, case.region)
    for protocol in PROTOCOLS:
        yield row | evaluate(found.mesh, case.truth, protocol, region=case.region) | about
        about = {}


def no_evidence(case: Case, others: list[Subject]) -> Iterator[dict]:
    """What is reached without looking at the film: each other person's thorax, its box centred on this one's."""
    for other in others:
        mesh = labels_to_mesh(other.labels, anatomy.THORAX)
        mesh.apply_translation(case.truth.bounds.mean(0) - mesh.bounds.mean(0))
        for protocol in PROTOCOLS:
            row = {"name": case.name, "method": f"no evidence: {other.name}"}
            yield row | evaluate(mesh, case.truth, protocol, region=case.region)
