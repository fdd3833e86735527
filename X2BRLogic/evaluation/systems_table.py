"""The comparison of all systems as a table, a list and a plot."""

from __future__ import annotations

import csv
import io
from itertools import pairwise
from pathlib import Path

import numpy as np

from ..errors import InputError
from .systems import NO_EVIDENCE, REAL, VIRTUAL

_LEFT_OUT = "leave one out"
_TITLES = {
    REAL: "Real CTs of people whom no weights saw",
    _LEFT_OUT: "Leave one person out: each met by weights that were trained on all others",
    VIRTUAL: "Unseen virtual patients of the people trained on",
}
_PREAMBLE = """# All systems

`x2br evaluate suite`: AP films of known geometry, with a left lateral one for two views; the truth is the labelled
ribs, sternum and thoracic vertebrae, compared only at levels that the scan covers. `strict`: the shapes where they
are, voxels of 1.5 mm; `paper`: each in its unit box, 32^3 voxels. Means and standard deviations over cases, ranked
by the average surface distance (ASD). "No evidence" is another person's thorax, centred on this one's without
looking at the film. Each model was tested only on people whom its training left out; what a row was trained with
says its weights' header, and `X2BRLogic/training/configs/compared` has the recipes: the same data and batch, and
four minutes on two cores for each. The field is cut where its Dice on validation patients is best, that of x2b_aligned
by group of bones and where its F1.4 is (`training/calibration.py`): short training leaves whole ribs out at the best
Dice, which costs little of it and tens of millimetres of surface distance."""

#: Columns of each protocol: key, title, decimals.
_METRICS = {
    "strict": (
        ("dice", "Dice", 3),
        ("iou", "IoU", 3),
        ("f_score", "F@0.02", 3),
        ("chamfer_l1_mm", "CD-L1 mm", 2),
        ("normal_consistency", "NC", 3),
        ("hd95_mm", "HD95 mm", 1),
        ("asd_mm", "ASD mm", 2),
        ("seconds", "s", 2),
    ),
    "paper": (
        ("iou", "IoU", 3),
        ("chamfer_l1_unit", "CD-L1", 4),
        ("f_score", "F@0.02", 3),
        ("normal_consistency", "NC", 3),
        ("maxe_mm", "maxe mm", 2),
        ("maye_mm", "maye mm", 2),
        ("maze_mm", "maze mm", 2),
    ),
}
#: Columns of a ``systems.csv`` that are no numbers.
_WORDS = ("set", "name", "method", "system", "protocol")
_NAMED = (
    ("dice_ribs", "rib Dice", 3),
    ("dice_vertebrae", "vertebra Dice", 3),
    ("dice_sternum", "sternum Dice", 3),
    ("dice_cartilages", "cartilage Dice", 3),
    ("ribs_right", "ribs right", 2),
    ("vertebrae_right", "vertebrae right", 2),
)


def write_table(rows: list[dict], out: Path) -> dict[str, str]:
    """Write ``systems.csv`` (every case), ``systems.md`` and ``systems.png`` into a folder; their paths by name."""
    (out / "systems.csv").write_text(_csv(rows), encoding="utf-8")
    (out / "systems.md").write_text(markdown(rows), encoding="utf-8")
    _plot(rows, out / "systems.png")
    return {name: str(out / name) for name in ("systems.csv", "systems.md", "systems.png")}


def read_rows(path: Path) -> list[dict]:
    """The rows of a ``systems.csv``, numbers as numbers. Raises `InputError` for a file that is none."""
    try:
        with open(path, encoding="utf-8", newline="") as stream:
            rows = [{key: _value(key, text) for key, text in row.items() if text} for row in csv.DictReader(stream)]
    except OSError as error:
        raise InputError(f"cannot read the table {path}: {error}") from None
    except (ValueError, TypeError, csv.Error):  # words for a number, or a line longer than the first
        rows = []
    if not rows or not all({"set", "name", "system", "protocol"} <= set(row) for row in rows):
        raise InputError(f"{path} is no table of systems; give a systems.csv of x2br evaluate suite")
    return rows


def _value(key: str, text: str) -> str | float:
    return text if key in _WORDS else float(text)


def markdown(rows: list[dict]) -> str:
    """The tables, one for each set and protocol, ranked by surface distance; means and standard deviations."""
    parts = [_PREAMBLE]
    for kind, mine in _sets(rows).items():
        names = sorted({row["name"].split(" deformed")[0] for row in mine})
        cases = len({row["name"] for row in mine})
        counted = f"{cases} case{'s' if cases > 1 else ''}"
        parts.append(f"## {_TITLES[kind]}\n\n{counted}: {', '.join(names)}.")
        ranked = ranking(mine)
        for protocol, columns in _METRICS.items():
            parts.append(f"`{protocol}`\n\n{_table(mine, protocol, columns, ranked)}")
        named = [system for system in ranked if _values(mine, system, "strict", "dice_ribs").size]
        if named:
            parts.append(f"Named bones\n\n{_table(mine, 'strict', _NAMED, named)}")
        parts.append(_neighbours(mine, ranked))
    return "\n\n".join([*parts, _costs(rows)]) + "\n"


def _costs(rows: list[dict]) -> str:
    lines = {row["system"]: f"{row['parameters_m']:.2f} | {row['gflop']:.1f}" for row in rows if "gflop" in row}
    body = [f"| {system} | {cost} |" for system, cost in sorted(lines.items())]
    return "\n".join(["| system | parameters, M | GFLOP a mesh |", "|:--|--:|--:|", *body])


def _sets(rows: list[dict]) -> dict[str, list[dict]]:
    """The rows of each table that has any: among real people, those whom every system met, and, of systems that met
    others besides, all of them."""
    real = [row for row in rows if row["set"] == REAL]
    met: dict[str, set[str]] = {}
    for row in real:
        met.setdefault(row["system"], set()).add(row["name"])
    shared = set.intersection(*met.values()) if met else set()
    wide = {system for system, names in met.items() if len(names) > len(shared)}
    found = {
        REAL: [row for row in real if row["name"] in shared],
        _LEFT_OUT: [row for row in real if row["system"] in wide],
        VIRTUAL: [row for row in rows if row["set"] == VIRTUAL],
    }
    if wide <= {NO_EVIDENCE}:
        del found[_LEFT_OUT]
    return {kind: mine for kind, mine in found.items() if mine}


def ranking(rows: list[dict]) -> list[str]:
    """Systems by their mean surface distance in the strict protocol, the best first."""
    systems = {row["system"] for row in rows}

    def distance(system: str) -> float:
        values = _values(rows, system, "strict", "asd_mm")
        return float(values.mean()) if values.size else np.inf

    return sorted(systems, key=distance)


def paired_p(rows: list[dict], one: str, other: str) -> tuple[float | None, int]:
    """p of Wilcoxon's signed-rank test of the surface distances on cases that both have, and their number.

    ``None`` for fewer than five pairs: not even the clearest of results could be significant.
    """
    from scipy.stats import wilcoxon

    by_case = [
        {row["name"]: row["asd_mm"] for row in rows if row["system"] == system and _has(row, "strict", "asd_mm")}
        for system in (one, other)
    ]
    shared = sorted(set(by_case[0]) & set(by_case[1]))
    if len(shared) < 5:
        return None, len(shared)
    differences = [by_case[0][name] - by_case[1][name] for name in shared]
    return (float(wilcoxon(differences).pvalue) if any(differences) else 1.0), len(shared)


def _has(row: dict, protocol: str, key: str) -> bool:
    return row["protocol"] == protocol and row.get(key) is not None


def _values(rows: list[dict], system: str, protocol: str, key: str) -> np.ndarray:
    return np.array([row[key] for row in rows if row["system"] == system and _has(row, protocol, key)])


def _table(rows: list[dict], protocol: str, columns: tuple, systems: list[str]) -> str:
    head = ["system", "cases", *(title for _, title, _ in columns)]
    lines = [head, [":--"] + ["--:"] * (len(head) - 1)]
    for system in systems:
        cases = {row["name"] for row in rows if row["system"] == system}
        cells = [system, str(len(cases))]
        for key, _, digits in columns:
            values = _values(rows, system, protocol, key)
            spread = f" ± {values.std(ddof=1):.{digits}f}" if values.size > 1 else ""
            cells.append(f"{values.mean():.{digits}f}{spread}" if values.size else "–")
        lines.append(cells)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _neighbours(rows: list[dict], ranked: list[str]) -> str:
    lines = [
        "Neighbours in the ranking; surface distance, Wilcoxon's signed-rank test on the cases that both have:",
        "",
    ]
    for one, other in pairwise(ranked):
        if NO_EVIDENCE in (one, other):  # has several rows a case
            continue
        p, pairs = paired_p(rows, one, other)
        told = f"p = {p:.2g}" if p is not None else "too few to test"
        lines.append(f"- {one} before {other}: {pairs} cases, {told}")
    return "\n".join(lines)


def _csv(rows: list[dict]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row if key not in ("voxels", "warnings", "samples")))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _plot(rows: list[dict], file: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    sets = _sets(rows)
    figure, axes = pyplot.subplots(len(sets), 2, figsize=(11, 3.2 * len(sets)), squeeze=False)
    panels = (("asd_mm", "average surface distance, mm"), ("dice", "Dice, 1.5 mm voxels"))
    for line, (kind, mine) in zip(axes, sets.items(), strict=True):
        ranked = ranking(mine)[::-1]
        for axis, (key, title) in zip(line, panels, strict=True):
            values = [_values(mine, system, "strict", key) for system in ranked]
            axis.barh(ranked, [v.mean() if v.size else 0.0 for v in values], color="#7aa6c2")
            for place, points in enumerate(values):
                axis.plot(points, np.full(points.size, place), "k.", markersize=3, alpha=0.6)
            axis.set_title(_TITLES[kind], fontsize=8)
            axis.set_xlabel(title)
    figure.tight_layout()
    figure.savefig(file, dpi=110)
    pyplot.close(figure)
