"""``x2br bench 3ddx``: one face or two, CASI or not, with and without shape model; beside other methods."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import trimesh

from ..dataset.subject import find_subjects, read_subject
from ..dual_faces import BoneMaps, bone_maps, completed, solid
from ..errors import InputError
from ..evaluation import evaluate
from ..evaluation.suite import Case, real_case, virtual_case
from ..models import DUAL_FACES, names, weights_of
from ..networks import TAU, OccupancyField, load_model
from ..networks.dual_depth import SHEET
from ..radiograph import network_image
from ..shape_model import load_cage
from ..surface import logit
from . import machine

Progress = Callable[[str], None]

#: Samples by which the size and the place of a surface are told.
_SAMPLES = 20_000
#: What the titles of rows say beside the name of the weights.
COMPLETED, FRONT_ALONE = ", completed", ", its front faces alone"


def run(subjects: Path, variants: Path | None, held_out: str, virtual: int, seed: int, progress: Progress) -> dict:
    """Measure everything; a JSON-ready dict.

    Args:
        subjects: folders with CT and bones.
        variants: folder whose ``*.safetensors`` are further weights of 3DDX, each a row by its name.
        held_out: of whom neither weights nor shape model know.
        virtual: deformed copies of the others.
        seed: of the first copy.

    Raises:
        InputError: no such subject, or a shape model that was made from it.
    """
    folders = {folder.name: folder for folder in find_subjects(subjects)}
    if held_out not in folders or len(folders) < 2:
        raise InputError(f"no such subject beside others in {subjects}: {held_out}")
    if held_out in str(load_cage().facts["subjects"]):
        raise InputError(f"the installed shape model was made from {held_out}; hold out another subject")
    further = sorted(variants.glob("*.safetensors")) if variants else []
    files = {DUAL_FACES: weights_of(DUAL_FACES)} | {file.stem: file for file in further}
    others = [folder for name, folder in folders.items() if name != held_out]
    cases = [("left out", lambda: real_case(read_subject(folders[held_out])))]
    for n in range(virtual):
        cases.append(("virtual", lambda n=n: virtual_case(read_subject(others[n % len(others)]), seed + n)))
    rows, load = [], machine.busy()
    for kind, make in cases:
        case = make()
        for row in _compared(case, files):
            progress(f"{case.name}, {row['method']}: {row.get('asd_mm', float('nan')):.2f} mm, {row['seconds']:.1f} s")
            rows.append({"set": kind} | row)
    return {
        "schema": "x2br-bench-3ddx-1",
        "machine": machine.describe(),
        "load_before": load,
        "held_out": held_out,
        "virtual": virtual,
        "curves": load_cage().facts["curves"],
        "rows": rows,
    }


def _compared(case: Case, files: dict[str, Path]) -> Iterator[dict]:
    """A row for each variant of 3DDX and each other installed method, on one case."""
    from ..pipeline import Reconstructor

    geometry = case.radiograph.geometry
    for name, file in files.items():
        network = load_model(file).network
        start = time.perf_counter()
        image = network_image(case.radiograph, network.config.image_size)
        maps = bone_maps(OccupancyField(network, [image], next(network.parameters()).device).code, logit(TAU))
        told = time.perf_counter() - start
        ways = {name: network.config.faces == 2}
        if name == DUAL_FACES:
            ways[name + FRONT_ALONE] = False
        for title, both in ways.items():
            for suffix, bones in (("", _solids), (COMPLETED, _completed)):
                start = time.perf_counter()
                mesh = bones(maps, geometry, both)
                yield _row(case, title + suffix, mesh, told + time.perf_counter() - start)
    for method in names():
        if method != DUAL_FACES:
            reconstructor = Reconstructor(method, "cpu")
            start = time.perf_counter()
            yield _row(case, method, reconstructor.reconstruct(case.radiograph).mesh, time.perf_counter() - start)


def _solids(maps: dict[int, BoneMaps], geometry, both: bool) -> trimesh.Trimesh:
    if not both:
        maps = {label: BoneMaps(bone.margin, bone.front, bone.front - SHEET) for label, bone in maps.items()}
    return trimesh.util.concatenate([solid(bone, geometry) for bone in maps.values()])


def _completed(maps: dict[int, BoneMaps], geometry, both: bool) -> trimesh.Trimesh:
    return trimesh.util.concatenate(list(completed(maps, geometry, both=both).values()))


def _row(case: Case, method: str, mesh: trimesh.Trimesh, seconds: float) -> dict:
    found = evaluate(mesh, case.truth, "strict", region=case.region)
    figures = {key: found[key] for key in ("asd_mm", "hd95_mm", "dice") if found.get(key) is not None}
    return {"name": case.name, "method": method, "seconds": seconds} | figures | placed(mesh, case)


def placed(mesh: trimesh.Trimesh, case: Case) -> dict[str, float]:
    """How the surface differs from the truth as a whole, at the levels that the scan knows.

    ``scale_percent``: of the root mean square distance of its points from their centre, larger or smaller than it is;
    ``shift_mm``: along the central ray, and ``across_mm`` at right angles to it, of the centre.
    """
    points = []
    for surface in (mesh, case.truth):
        samples = trimesh.sample.sample_surface(surface, _SAMPLES, seed=0)[0]
        points.append(samples[((samples > case.region[0]) & (samples < case.region[1])).all(axis=1)])
    centres = [part.mean(axis=0) for part in points]
    sizes = [np.sqrt(np.square(part - centre).sum(axis=1).mean()) for part, centre in zip(points, centres, strict=True)]
    gap = (centres[0] - centres[1]) @ case.radiograph.geometry.cube_axes.T
    return {
        "scale_percent": float(100.0 * (sizes[0] / sizes[1] - 1.0)),
        "shift_mm": float(gap[1]),
        "across_mm": float(np.hypot(gap[0], gap[2])),
    }
