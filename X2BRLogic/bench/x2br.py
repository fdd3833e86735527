"""``x2br bench x2br``: named bones beside the coarse mesh, in the form of table 3 of X2BR (arXiv:2504.08675)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import trimesh

from .. import anatomy
from ..dataset.subject import find_subjects, read_subject
from ..detection import Box, detect
from ..drr.boxes import project_boxes
from ..errors import InputError
from ..evaluation import PROTOCOLS, evaluate, realism, reprojection
from ..evaluation.named import whole_bones
from ..evaluation.suite import Case, real_case, virtual_case
from ..models import DEFAULT_METHOD
from ..pipeline import Reconstructor
from ..registration import DEFAULTS, warm_up
from ..template import Skeleton, fit_template, load_template
from ..x2br import complete
from ..x2br.settling import THORAX
from . import machine

Progress = Callable[[str], None]

#: CPD as published sums over all pairs; of shapes as large as these over random ones, and fewer times.
CPD = replace(DEFAULTS["cpd"], nystrom_g=200, nystrom_p=300, local=False, iterations=60)
#: Of disturbed boxes: share missing, share on the next level, noise of the edges in pixels.
DISTURBANCE = (0.2, 0.1, 3.0)


def run(subjects: Path, held_out: str, virtual: int, seed: int, progress: Progress) -> dict:
    """Measure everything; a JSON-ready dict.

    Args:
        subjects: folders with CT and bones.
        held_out: of which neither weights nor template know.
        virtual: deformed copies of the others.
        seed: of the copies and of the disturbance of boxes.

    Raises:
        InputError: no such subject, no other one, or a template that was made from it.
    """
    folders = {folder.name: folder for folder in find_subjects(subjects)}
    if held_out not in folders:
        raise InputError(f"no such subject in {subjects}: {held_out}")
    others = [name for name in folders if name != held_out]
    if virtual and not others:
        raise InputError("the only subject is held out; virtual patients need another one, or give --virtual 0")
    template = load_template()
    if held_out in str(template.facts):
        raise InputError(f"the installed template was made from {held_out}; hold out another subject")
    warm_up()
    reconstructor = Reconstructor(DEFAULT_METHOD)
    cases = [("left out", lambda: real_case(read_subject(folders[held_out])))]
    for n in range(virtual):
        name = others[n % len(others)]
        cases.append(("virtual", lambda name=name, n=n: virtual_case(read_subject(folders[name]), seed + n)))
    rows = []
    load = machine.busy()
    for number, (kind, make) in enumerate(cases):
        for row in _compared(make(), reconstructor, template, seed + number, all_methods=kind == "left out"):
            progress(
                f"{kind} {number}, {row['method']}: {row['seconds']:.1f} s, {row['realism']['bone_asd_mm']:.1f} mm"
            )
            rows.append(row | {"set": kind})
    return {
        "schema": "x2br-bench-x2br-1",
        "machine": machine.describe(),
        "load_before": load,
        "held_out": held_out,
        "virtual": virtual,
        "rows": rows,
    }


def _compared(
    case: Case, reconstructor: Reconstructor, template: Skeleton, seed: int, all_methods: bool
) -> Iterator[dict]:
    """A row for each way to bones, on one case."""
    truth = whole_bones(case.labels)
    boxes = project_boxes(case.labels, case.radiograph.geometry)
    start = time.perf_counter()
    coarse = reconstructor.reconstruct(case.radiograph).mesh
    yield _row(case, "coarse mesh", coarse, truth, boxes, time.perf_counter() - start)

    start = time.perf_counter()
    fit = fit_template(template, boxes, case.radiograph.geometry)
    yield _row(case, "template in its boxes", _thorax(fit.skeleton), truth, boxes, time.perf_counter() - start)

    ways = {"X2BR, GBCPD++": ("gbcpd++", None, boxes)}
    if all_methods:
        ways |= {"X2BR, CPD": ("cpd", CPD, boxes), "X2BR, NDP": ("ndp", DEFAULTS["ndp"], boxes)}
    ways |= {
        "X2BR, GBCPD++, no boxes": ("gbcpd++", None, []),
        "X2BR, GBCPD++, disturbed boxes": ("gbcpd++", None, disturbed(boxes, seed)),
        "X2BR, GBCPD++, detected boxes": ("gbcpd++", None, detect(case.radiograph).boxes),
    }
    complete(case.radiograph, coarse, boxes, skeleton=template)  # warm
    for name, (method, settings, given) in ways.items():
        start = time.perf_counter()
        done = complete(case.radiograph, coarse, given, skeleton=template, method=method, settings=settings)
        yield _row(case, name, _thorax(done.skeleton), truth, boxes, time.perf_counter() - start)


def disturbed(boxes: list[Box], seed: int) -> list[Box]:
    """Boxes as a poor detector gives them: `DISTURBANCE`."""
    missing, wrong, noise = DISTURBANCE
    random = np.random.default_rng(seed)
    found = []
    for box in boxes:
        if random.random() < missing:
            continue
        low, high = np.sort((box.edges + random.normal(0, noise, 4)).reshape(2, 2), axis=0)
        level = box.level
        if level is not None and random.random() < wrong:
            other = level + int(random.choice([-1, 1]))
            level = other if any(b.group == box.group and b.level == other for b in anatomy.BONES) else level
        found.append(Box(box.group, level, *low, *np.maximum(high, low + 1.0), box.confidence))
    return found


def _thorax(skeleton: Skeleton) -> dict[str, trimesh.Trimesh]:
    return {name: mesh for name, mesh in skeleton.bones.items() if name in THORAX}


def _row(case: Case, method: str, found, truth: dict, boxes: list[Box], seconds: float) -> dict:
    united = trimesh.util.concatenate(list(found.values())) if isinstance(found, dict) else found
    figures = realism(found, truth)
    del figures["bones"]
    row = {"name": case.name, "method": method, "seconds": seconds, "realism": figures}
    row |= {protocol: evaluate(united, case.truth, protocol, region=case.region) for protocol in PROTOCOLS}
    named = found if isinstance(found, dict) else {}
    return row | {"reprojection": reprojection(named, case.radiograph, boxes) if named else {}}
