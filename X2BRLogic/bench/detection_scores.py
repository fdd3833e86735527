"""How well boxes were found: average precision as COCO defines it, levels, and what was missed or found twice."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from ..detection import Box
from ..detection.candidates import overlap
from ..detection.classes import CLASSES, RUNS
from ..errors import InputError

#: A box is found when it overlaps a true one by this much at least.
_FOUND = 0.5
#: Boxes that are less sure do not count for levels, missed and doubled bones; average precision takes all.
_SURE = 0.1
#: What the tables are about: title, and the classes.
PARTS: dict[str, list[str]] = {
    "vertebrae": list(CLASSES[RUNS["vertebrae"]]),
    "ribs": [*CLASSES[RUNS["ribs_left"]], *CLASSES[RUNS["ribs_right"]]],
}


@dataclass(frozen=True)
class Scored:
    """A film's true boxes, and those that were found."""

    truth: Sequence[Box]
    found: Sequence[Box]


def scores(films: Sequence[Scored]) -> dict:
    """All figures over some films, JSON-ready.

    ``classes``: by bone ``ap50``, ``ap50_95``, number of true boxes. ``parts``: of `PARTS` the mean of these over
    the bones that occur. Boxes and bones of a group are paired so that they overlap most, whatever their levels:
    ``level_accuracy`` is the share of pairs that agree on it; a film's mean number of bones is ``present``, of those
    without a box ``missed``, and of boxes on a bone that has one ``doubled``.

    Raises `InputError` where the scorer is not installed.
    """
    classes = average_precision(films)
    parts = {}
    for title, names in PARTS.items():
        mine = [classes[name] for name in names if name in classes]
        mean = {key: float(np.mean([row[key] for row in mine])) if mine else None for key in ("ap50", "ap50_95")}
        parts[title] = mean | _counts(films, set(names))
    return {"films": len(films), "classes": classes, "parts": parts}


def average_precision(films: Sequence[Scored]) -> dict[str, dict]:
    """Average precision at IoU 0.5, and its mean over 0.5 to 0.95, of each bone that occurs, by faster-coco-eval."""
    try:
        from faster_coco_eval import COCO, COCOeval_faster
    except ImportError:
        raise InputError(
            "faster-coco-eval is not installed, which scores boxes: pip install faster-coco-eval"
        ) from None
    truth = [_row(n, box, id=0, iscrowd=0) for n, film in enumerate(films) for box in film.truth]
    found = [_row(n, box, score=box.confidence) for n, film in enumerate(films) for box in film.found]
    for number, row in enumerate(truth, start=1):
        row["id"] = number
    about = {
        "images": [{"id": n, "width": 1, "height": 1} for n in range(len(films))],
        "categories": [{"id": n, "name": name} for n, name in enumerate(CLASSES)],
        "annotations": truth,
    }
    counts = np.bincount([row["category_id"] for row in truth], minlength=len(CLASSES))
    if not found:
        return {
            name: {"ap50": 0.0, "ap50_95": 0.0, "boxes": int(n)} for name, n in zip(CLASSES, counts, strict=True) if n
        }
    with contextlib.redirect_stdout(io.StringIO()):
        reference = COCO(about)
        evaluation = COCOeval_faster(reference, reference.loadRes(found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    precision = np.asarray(evaluation.eval["precision"])[:, :, :, 0, -1]  # IoU, recall, class
    return {
        name: {
            "ap50": float(precision[0, :, n].mean()),
            "ap50_95": float(precision[:, :, n].mean()),
            "boxes": int(counts[n]),
        }
        for n, name in enumerate(CLASSES)
        if counts[n]
    }


def _row(film: int, box: Box, **more) -> dict:
    low, high = box.edges[:2], box.edges[2:]
    extent = high - low
    row = {"image_id": film, "category_id": CLASSES.index(box.name), "bbox": [*map(float, low), *map(float, extent)]}
    return row | {"area": float(extent.prod())} | more


def _counts(films: Sequence[Scored], names: set[str]) -> dict:
    present = missed = doubled = on_bone = right = 0
    for film in films:
        groups = {box.group for box in film.truth if box.name in names}
        for group in groups:
            truth = [box for box in film.truth if box.group == group]
            found = [box for box in film.found if box.group == group and box.confidence >= _SURE]
            present += len(truth)
            if not found:
                missed += len(truth)
                continue
            shared = overlap(np.array([b.edges for b in truth]), np.array([b.edges for b in found]))
            pairs = [(t, f) for t, f in zip(*linear_sum_assignment(-shared), strict=True) if shared[t, f] >= _FOUND]
            paired = {f for _, f in pairs}
            missed += len(truth) - len(pairs)
            doubled += sum(f not in paired and shared[:, f].max() >= _FOUND for f in range(len(found)))
            on_bone += len(pairs)
            right += sum(truth[t].level == found[f].level for t, f in pairs)
    count = max(len(films), 1)
    return {
        "level_accuracy": right / on_bone if on_bone else None,
        "present": present / count,
        "missed": missed / count,
        "doubled": doubled / count,
    }
