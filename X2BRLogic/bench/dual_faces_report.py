"""The benchmark of 3DDX as a page, a table for programs and a plot."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from ..files import folder_written_whole
from ..models import DUAL_FACES
from .dual_faces import COMPLETED, FRONT_ALONE

#: Title, figure, decimals; a mean of absolute values where the title says so.
_FIGURES = (
    ("ASD, mm", "asd_mm", 2),
    ("HD95, mm", "hd95_mm", 1),
    ("Dice", "dice", 3),
    ("absolute scale error, %", "scale_percent", 1),
    ("absolute shift along the rays, mm", "shift_mm", 1),
    ("seconds", "seconds", 1),
)
_METHOD = """AP films of known geometry. Faces as they are predicted become closed meshes bone by bone
(`dual_faces.solid`); *completed*, the shape model is laid onto them instead (`dual_faces.completed`). *Its front faces
alone* uses one of the two depth maps of the same network, so that nothing else differs. ASD is the average surface
distance, HD95 the 95th percentile of the surface distance (`x2br evaluate`, protocol `strict`), where the scan covers
the bones. Scale: root mean square distance of the surface's points from their centre, against the truth's. The methods
below 3DDX are those that are installed. Neither weights nor shape model know the person left out; virtual patients are
new ones of the people trained on."""


def write(result: dict, folder: Path) -> dict[str, str]:
    """Write ``3ddx.md``, ``3ddx.csv`` and ``3ddx.png``, all or none; their paths.

    Raises `InputError` where it cannot.
    """
    written = ("3ddx.md", "3ddx.csv", "3ddx.png")
    with folder_written_whole(folder) as partial:
        (partial / written[0]).write_text(as_markdown(result), encoding="utf-8")
        (partial / written[1]).write_text(_csv(result["rows"]), encoding="utf-8")
        _plot(result, partial / written[2])
    return {name: str(folder / name) for name in written}


def as_markdown(result: dict) -> str:
    """The page."""
    page = ["# 3DDX: faces of bones, and whole bones from them", "", "Written by `x2br bench 3ddx`.", ""]
    page += [f"- {key}: {value}" for key, value in result["machine"].items()]
    if result["load_before"] is not None:
        page.append(f"- load average before the run: {result['load_before']:.2f}")
    return "\n".join([*page, "", _METHOD, "", tables(result), "", _curves(result["curves"]), ""])


def tables(result: dict) -> str:
    """For each set of cases one table, Markdown, means over the cases."""
    parts = []
    for kind in dict.fromkeys(row["set"] for row in result["rows"]):
        rows = [row for row in result["rows"] if row["set"] == kind]
        cases = len({row["name"] for row in rows})
        who = f"The person left out ({result['held_out']})" if kind == "left out" else f"{cases} virtual patient(s)"
        titles = ["method", *(title for title, _, _ in _FIGURES)]
        lines = [titles, [":--"] + ["--:"] * len(_FIGURES)]
        for method in dict.fromkeys(row["method"] for row in rows):
            mine = [row for row in rows if row["method"] == method]
            lines.append([method, *(_mean([row.get(key) for row in mine], digits) for _, key, digits in _FIGURES)])
        parts += [f"## {who}", "", "\n".join(f"| {' | '.join(cells)} |" for cells in lines), "", *_gains(rows), ""]
    return "\n".join(parts)


def _gains(rows: list[dict]) -> list[str]:
    """What each of the paper's two ideas does to the mean surface distance, as list items."""

    def distance(method: str) -> float | None:
        found = [row["asd_mm"] for row in rows if row["method"] == method and "asd_mm" in row]
        return float(np.mean(found)) if found else None

    front = f"{DUAL_FACES}{FRONT_ALONE}"
    pairs = (
        ("a second face", front, DUAL_FACES),
        ("a second face, completed", front + COMPLETED, DUAL_FACES + COMPLETED),
        ("completion by the shape model", DUAL_FACES, DUAL_FACES + COMPLETED),
    )
    known = [(title, distance(one), distance(other)) for title, one, other in pairs]
    return [
        f"- {title}: ASD from {before:.2f} to {after:.2f} mm ({100 * (after / before - 1):+.0f} %)"
        for title, before, after in known
        if before and after
    ]


def _mean(values: list, digits: int) -> str:
    known = [abs(float(value)) for value in values if value is not None]
    return f"{np.mean(known):.{digits}f}" if known else "–"


def _curves(curves: dict) -> str:
    lines = [
        "## The shape model",
        "",
        "Compactness: share of the variance in so many modes. Generalisation: mean distance of corresponding vertices",
        "of a person left out from the nearest shape that the others' model can make. Specificity: of shapes that the",
        "model draws, from the nearest of its people.",
        "",
        "| modes | compactness | generalisation, mm | specificity, mm |",
        "|--:|--:|--:|--:|",
    ]
    told = (["", *curves["compactness"]], curves["generalisation_mm"], ["", *curves["specificity_mm"]])
    for count in range(max(map(len, told))):
        cells = [column[count] if count < len(column) else "" for column in told]
        lines.append(f"| {count} | " + " | ".join(f"{c:.2f}" if c != "" else "" for c in cells) + " |")
    return "\n".join(lines)


def _csv(rows: list[dict]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _plot(result: dict, file: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows, curves = result["rows"], result["curves"]
    kinds = list(dict.fromkeys(row["set"] for row in rows))
    figure, axes = pyplot.subplots(1, len(kinds) + 1, figsize=(5 * (len(kinds) + 1), 4))
    for axis, kind in zip(axes, kinds, strict=False):
        methods = list(dict.fromkeys(row["method"] for row in rows if row["set"] == kind))[::-1]
        found = [[r["asd_mm"] for r in rows if (r["set"], r["method"]) == (kind, m) and "asd_mm" in r] for m in methods]
        axis.barh(methods, [np.mean(values) if values else 0.0 for values in found], color="#7aa6c2")
        axis.set_xlabel(f"average surface distance, mm: {kind}")
        axis.tick_params(axis="y", labelsize=7)
    axes[-1].plot(curves["generalisation_mm"], label="generalisation, mm")
    axes[-1].plot(range(1, len(curves["specificity_mm"]) + 1), curves["specificity_mm"], label="specificity, mm")
    axes[-1].set_xlabel("modes of the shape model")
    axes[-1].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(file, dpi=100)
    pyplot.close(figure)
