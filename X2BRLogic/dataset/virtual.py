"""Virtual patients: deformed copies of labelled CTs, radiographed from several angles, with occupancy truth.

A patient is one ``.npz`` file, written whole or not at all and fully determined by its seed and number:

``images``
    ``(V, S, S)`` uint8: what the network sees (`X2BRLogic.radiograph.normalise`), 255 for 1.
``points``
    ``(V, N, 3)`` uint16: ray-cube coordinates, 0 to 65535 for -0.5 to 0.5. The first `UNIFORM_POINTS` are uniform in
    the cube, so volumes can be estimated from them; the rest are near the bones' surface.
``occupied``, ``known``
    ``(V, N / 8)`` packed bits: inside a bone of the thorax; covered by the scan and not cartilage.
``record``
    JSON: subject, seed, number, deformation, the views' geometries.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import fields
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from scipy import ndimage

from .. import anatomy
from ..drr import RayTracer, Renderer, isocentre
from ..errors import InputError
from ..geometry import CUBE_EDGE_MM, XRayGeometry
from ..radiograph import normalise
from ..volume import Volume
from .deformation import UNKNOWN, Deformation, random_deformation, warp
from .subject import Subject, find_subjects, read_subject
from .truth import OccupancySamples, occupancy_samples

IMAGE_SIZE = 224
UNIFORM_POINTS = 6144
NEAR_SURFACE_POINTS = 10240
#: Grid of the warped CT, mm: as fine as the input image (1.8 mm), coarser than the scans.
_SPACING_MM = 2.0
#: A ray may run so far through what the scan did not cover before its pixel counts as cut off, mm.
_CUT_MM = 20.0


def random_geometry(rng: np.random.Generator, centre: np.ndarray) -> XRayGeometry:
    """A frontal film as they are taken: AP or PA, patient a little turned and off centre, any usual distance.

    Pixels are those of the network's input image. `centre`: RAS mm of the thorax.
    """
    sod = rng.uniform(1000.0, 1900.0)
    sid = sod + rng.uniform(150.0, 350.0)
    pixel = CUBE_EDGE_MM * sid / sod / IMAGE_SIZE
    return XRayGeometry.from_view(
        "AP" if rng.random() < 0.6 else "PA",
        angle=rng.normal(0, 5),
        tilt=rng.normal(0, 3),
        roll=rng.normal(0, 2),
        sid=sid,
        sod=sod,
        shape=(IMAGE_SIZE, IMAGE_SIZE),
        spacing=(pixel, pixel),
        isocentre=centre + rng.normal(0, (10, 10, 12)),
    )


def _coverage(labels: Volume, body: np.ndarray) -> RayTracer:
    """Path length through what the scan did not cover, at the depths where the body is."""
    missing = labels.array == UNKNOWN
    depths = np.flatnonzero(body.any(axis=(0, 2)))
    missing[:, : depths[0]] = False
    missing[:, depths[-1] + 1 :] = False
    return RayTracer(Volume(missing.view(np.uint8), labels.ijk_to_ras))


def _collimate(rng: np.random.Generator, cut_mm: np.ndarray) -> np.ndarray:
    """The exposed part of the film: all of it, or a rectangle within what the scan covers."""
    exposed = np.ones(cut_mm.shape, dtype=bool)
    if rng.random() < 0.6:
        covered = np.flatnonzero((cut_mm < _CUT_MM).mean(axis=1) > 0.98)
        if covered.size > IMAGE_SIZE // 3:
            exposed[: covered[0]] = False
            exposed[covered[-1] + 1 :] = False
    if rng.random() < 0.5:
        top, bottom, left, right = (rng.uniform(0, (0.06, 0.06, 0.1, 0.1)) * IMAGE_SIZE).astype(int)
        exposed[:top] = exposed[IMAGE_SIZE - bottom :] = False
        exposed[:, :left] = exposed[:, IMAGE_SIZE - right :] = False
    return exposed


def _expose(rng: np.random.Generator, integrals: np.ndarray, exposed: np.ndarray) -> np.ndarray:
    """Line integrals to the network's image: blur, scatter, tone curve and noise vary as they do between machines."""
    image = ndimage.gaussian_filter(integrals, rng.uniform(0.3, 1.0))
    # Scatter adds a smooth veil, which flattens contrast where the body is thick.
    veil = ndimage.gaussian_filter(image, 25.0)
    image = image - rng.uniform(0.0, 0.4) * veil
    low, high = image.min(), image.max()
    image = ((image - low) / max(high - low, 1e-6)) ** rng.uniform(0.7, 1.5)
    image = image + rng.normal(0, rng.uniform(0.0, 0.015), image.shape)
    return normalise(image.astype(np.float32), exposed)


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


def deform(subject: Subject, rng: np.random.Generator) -> tuple[Volume, Volume, Deformation]:
    """A virtual patient's CT, labels (`UNKNOWN` above and below the scan) and deformation, centred on the origin."""
    deformation = random_deformation(rng, isocentre(subject.ct, subject.labels))
    ct, labels = warp(subject.ct, subject.labels, deformation, _SPACING_MM)
    bone = (labels.array > 0) & (labels.array < UNKNOWN)
    density = rng.uniform(0.75, 1.25)
    ct.array[bone] = np.clip(ct.array[bone] * np.float32(density), -1024, 3071)
    return ct, labels, deformation


def make_patient(subject: Subject, rng: np.random.Generator, views: int) -> dict[str, np.ndarray]:
    """One virtual patient as the arrays of its file (see the module)."""
    ct, labels, deformation = deform(subject, rng)
    renderer, coverage = Renderer(ct), _coverage(labels, ct.array > -300)
    centre = isocentre(ct, labels)
    arrays: dict[str, list] = {"images": [], "points": [], "occupied": [], "known": []}
    geometries = []
    for _ in range(views):
        geometry = random_geometry(rng, centre)
        exposed = _collimate(rng, coverage.integrate(geometry))
        image = _expose(rng, renderer.line_integrals(geometry), exposed)
        truth = _sample_truth(rng, labels, geometry)
        arrays["images"].append(np.round(image * 255).astype(np.uint8))
        arrays["points"].append(np.round((np.clip(truth.points, -0.5, 0.5) + 0.5) * 65535).astype(np.uint16))
        arrays["occupied"].append(np.packbits(truth.occupied))
        arrays["known"].append(np.packbits(truth.known))
        geometries.append(geometry.to_dict())
    record = {"subject": subject.name, "determinant": deformation.determinant, "geometries": geometries}
    return {name: np.stack(values) for name, values in arrays.items()} | {"record": np.array(json.dumps(record))}


_subjects: dict[Path, Subject] = {}


def _write_patient(folders: list[Path], out: Path, number: int, seed: int, views: int) -> Path:
    target = out / f"patient_{number:06d}.npz"
    folder = folders[number % len(folders)]
    if folder not in _subjects:
        _subjects[folder] = read_subject(folder)
    arrays = make_patient(_subjects[folder], np.random.default_rng((seed, number)), views)
    partial = target.with_suffix(".partial")
    with open(partial, "wb") as stream:
        np.savez(stream, **arrays)
    os.replace(partial, target)
    return target


def _one_thread_each() -> None:
    import numba

    numba.set_num_threads(1)


def build(
    subjects: Path, out: Path, *, count: int, seed: int = 0, views: int = 4, workers: int = 1, exclude: tuple = ()
) -> Iterator[Path]:
    """Write patients 0 to `count` - 1 and yield each file as it is done; those that are there already are kept.

    Args:
        subjects: folder of labelled CTs (`find_subjects`).
        out: folder to write to, made if missing.
        exclude: names of subjects to leave out, so that they can be tested on.

    Raises:
        InputError: no subject, or an excluded one that does not exist.
    """
    folders = find_subjects(subjects)
    unknown = set(exclude) - {f.name for f in folders}
    if unknown:
        raise InputError(f"cannot leave out {', '.join(sorted(unknown))}: no such subject in {subjects}")
    folders = [f for f in folders if f.name not in exclude]
    out.mkdir(parents=True, exist_ok=True)
    missing = [n for n in range(count) if not (out / f"patient_{n:06d}.npz").exists()]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_one_thread_each) as pool:
        jobs = [pool.submit(_write_patient, folders, out, n, seed, views) for n in missing]
        try:
            for job in as_completed(jobs):
                yield job.result()
        finally:
            pool.shutdown(cancel_futures=True)
