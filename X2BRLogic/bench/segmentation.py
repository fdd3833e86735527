"""The weight-free segmentation against labels, each person named by a skeleton made without them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from .. import anatomy
from ..dataset.subject import find_subjects, read_subject
from ..errors import InputError
from ..segmentation.atlas import Atlas, atlas_from_labels, label_by_atlas

#: A reference bone with fewer voxels than this (a sliver at the border of the scan) is not scored.
LEAST_VOXELS = 200
#: How the atlas for a person is made: the mean skeleton of the others, or the labels of one other person.
ATLASES = ("template", "person")
SCORED = {
    "ribs_left": anatomy.labels_of_group("ribs_left"),
    "ribs_right": anatomy.labels_of_group("ribs_right"),
    "thoracic vertebrae": anatomy.THORACIC_VERTEBRAE,
    "vertebrae": anatomy.VERTEBRAE,
    "sternum": (anatomy.STERNUM,),
    "cartilages": (anatomy.CARTILAGES,),
}


def leave_one_out(folder: Path, atlas: str = "template", say: Callable[[str], None] = print) -> Iterator[dict]:
    """A row for every case: subject, atlas, seconds and the scores of `scores`.

    Args:
        folder: labelled CTs (`find_subjects`), two at least.
        atlas: one of `ATLASES`. With ``person`` every other person is the atlas once, so N subjects give N(N-1) rows.
        say: told what is being done.

    Raises:
        InputError: fewer than two subjects.
    """
    folders = find_subjects(folder)
    if len(folders) < 2:
        raise InputError(f"{folder} holds one subject; leaving one out takes two at least")
    for path in folders:
        subject = read_subject(path)
        for name, build in _atlases(folder, folders, path, atlas):
            say(f"{path.name} by {name}")
            skeleton = build()
            start = time.perf_counter()
            row = {"subject": path.name, "atlas": name}
            try:
                found, notes = label_by_atlas(subject.ct, skeleton)
            except InputError as error:
                yield row | {"failed": str(error)}
                continue
            row |= {"seconds": time.perf_counter() - start, "notes": list(notes)}
            yield row | scores(found.array, subject.labels.array)


def _atlases(folder: Path, folders: list[Path], left_out: Path, kind: str) -> Iterator[tuple[str, Callable[[], Atlas]]]:
    if kind == "person":
        for other in folders:
            if other != left_out:
                yield other.name, lambda other=other: atlas_from_labels(read_subject(other).labels)
        return
    from ..template.building import build_template

    yield "the others' mean", lambda: atlas_from_labels(build_template(folder, exclude=[left_out.name]).label_map())


def scores(found: np.ndarray, truth: np.ndarray) -> dict:
    """Dice by group (the mean over its bones), and how often a name is right.

    Args:
        found, truth: labels of `anatomy` on one grid.

    Returns:
        ``dice`` by group; ``rib_voxels``: of the voxels that are rib in both, the share with the right number;
        ``ribs``: of the reference ribs, the share whose voxels mostly carry their number; ``vertebrae_voxels`` and
        ``vertebrae_levels`` the same for vertebrae; ``bones`` Dice by bone.
    """
    size = np.bincount(truth.ravel(), minlength=256)
    joint = np.bincount(256 * truth.ravel().astype(np.int64) + found.ravel(), minlength=65536).reshape(256, 256)
    dice = {
        bone.name: float(2 * joint[bone.label, bone.label] / (size[bone.label] + joint[:, bone.label].sum()))
        for bone in anatomy.BONES
        if size[bone.label] >= LEAST_VOXELS
    }
    by_group = {}
    for group, labels in SCORED.items():
        present = [dice[anatomy.BY_LABEL[n].name] for n in labels if anatomy.BY_LABEL[n].name in dice]
        by_group[group] = float(np.mean(present)) if present else None
    voxels, bones = _named(joint, size, anatomy.RIBS)
    spine_voxels, levels = _named(joint, size, anatomy.VERTEBRAE)
    return {
        "dice": by_group,
        "rib_voxels": voxels,
        "ribs": bones,
        "vertebra_voxels": spine_voxels,
        "vertebrae": levels,
        "bones": dice,
    }


def _named(joint: np.ndarray, size: np.ndarray, labels: tuple[int, ...]) -> tuple[float, float]:
    """Share of voxels of one kind of bone with the right number, and of bones that mostly carry theirs."""
    among = joint[np.ix_(labels, labels)]
    present = [n for n, label in enumerate(labels) if size[label] >= LEAST_VOXELS]
    right = [among[n].sum() > 0 and among[n].argmax() == n for n in present]
    return float(np.trace(among) / max(among.sum(), 1)), float(np.mean(right)) if right else 0.0


def as_markdown(rows: list[dict]) -> str:
    """The cases as a table, and their mean."""
    columns = [
        *SCORED,
        "rib numbers (voxels)",
        "rib numbers (ribs)",
        "levels (voxels)",
        "levels (vertebrae)",
        "seconds",
    ]
    lines = [f"| subject | atlas | {' | '.join(columns)} |", "|:--|:--|" + "--:|" * len(columns)]
    scored = [row for row in rows if "failed" not in row]
    for row in scored:
        lines.append(f"| {row['subject']} | {row['atlas']} | {' | '.join(_cells(row))} |")
    if len(scored) > 1:
        lines.append(f"| mean | | {' | '.join(_cells(_mean(scored)))} |")
    lines += [f"\n{row['subject']} by {row['atlas']}: {row['failed']}" for row in rows if "failed" in row]
    return "\n".join(lines) + "\n"


def _values(row: dict) -> list[float | None]:
    names = ("rib_voxels", "ribs", "vertebra_voxels", "vertebrae", "seconds")
    return [*(row["dice"][group] for group in SCORED), *(row[name] for name in names)]


def _cells(row: dict) -> list[str]:
    *shares, seconds = _values(row)
    return ["" if value is None else f"{value:.3f}" for value in shares] + [f"{seconds:.0f}"]


def _mean(rows: list[dict]) -> dict:
    def mean(values: list) -> float | None:
        known = [value for value in values if value is not None]
        return float(np.mean(known)) if known else None

    names = ("rib_voxels", "ribs", "vertebra_voxels", "vertebrae", "seconds")
    row: dict = {name: mean([r[name] for r in rows]) for name in names}
    return row | {"dice": {group: mean([r["dice"][group] for r in rows]) for group in SCORED}}


def as_csv(rows: list[dict]) -> str:
    """One line a case and bone, for programs."""
    lines = ["subject,atlas,bone,dice"]
    for row in rows:
        lines += [f"{row['subject']},{row['atlas']},{bone},{dice:.4f}" for bone, dice in row.get("bones", {}).items()]
    return "\n".join(lines) + "\n"
