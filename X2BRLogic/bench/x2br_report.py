"""The benchmark of named bones as a page, and a table for programs."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from ..files import folder_written_whole

#: Title, part of the row, figure, decimals.
_TABLE_3 = (
    ("IoU", "iou", 3),
    ("Chamfer-L1, edge", "chamfer_l1_unit", 4),
    ("F-score", "f_score", 3),
    ("NC", "normal_consistency", 3),
    ("maxe, mm", "maxe_mm", 1),
    ("maye, mm", "maye_mm", 1),
    ("maze, mm", "maze_mm", 1),
    ("ASD, mm", "asd_mm", 2),
    ("HD95, mm", "hd95_mm", 1),
)
_REALISM = (
    ("bones found", "found", 2),
    ("whole", "whole", 2),
    ("separate", "separate", 2),
    ("parts a bone", "parts_a_bone", 2),
    ("ribs in order", "ribs_in_order", 2),
    ("rib spacing, mm", "rib_spacing_mm", 1),
    ("rib curvature, 1/m", "rib_curvature_per_m", 1),
    ("rib length, mm", "rib_length_mm", 1),
    ("vertebral angle, deg", "vertebral_angle_deg", 1),
    ("overlap, ml", "penetration_ml", 3),
    ("bone ASD, mm", "bone_asd_mm", 2),
)
_FILM = (("box edge, px", "box_edge_px", 1), ("box IoU", "box_iou", 2), ("outline, mm", "outline_mm", 2),
         ("by chance, mm", "outline_by_chance_mm", 2))  # fmt: skip
_METHOD = (
    "Table 3 of X2BR (arXiv:2504.08675) in form: what GBCPD++, CPD and NDP make of the same template and the same "
    "coarse mesh; every way uses the same steps before and after the registration. Seconds of the coarse mesh are the "
    "model's, those of the others come on top of them. *No boxes*: the coarse mesh alone places the template. "
    "*Disturbed*: 20 % of the boxes missing, 10 % of the rest on the next level, edges off by 3 pixels (standard "
    "deviation). *Detected*: those of `x2br detect`, while all others are projected from the labels, as a perfect "
    "detector would give them. Neither the weights nor the template nor the detector know the person left out; the "
    "others, whose deformed copies are the virtual patients, are in all three."
)
_HOW = (
    "Errors are mean absolute ones against the bones that the scan shows whole; the coarse mesh, which has no names, "
    "is divided among the true bones, which favours it. `X2BRLogic/evaluation/realism.py` defines each figure."
)


def write(result: dict, folder: Path) -> dict[str, str]:
    """Write ``x2br.md`` and ``x2br.csv``, both or none; their paths. Raises `InputError` where it cannot."""
    with folder_written_whole(folder) as partial:
        (partial / "x2br.csv").write_text(as_csv(result), encoding="utf-8")
        (partial / "x2br.md").write_text(as_markdown(result), encoding="utf-8")
    return {name: str(folder / name) for name in ("x2br.md", "x2br.csv")}


def as_markdown(result: dict) -> str:
    """The page."""
    page = ["# X2BR: named bones beside the coarse mesh", "", "Written by `x2br bench x2br`.", ""]
    page += [f"- {key}: {value}" for key, value in result["machine"].items()]
    if result["load_before"] is not None:
        page.append(f"- load average before the run: {result['load_before']:.2f}")
    return "\n".join([*page, "", _METHOD, "", tables(result), "", _HOW, ""])


def tables(result: dict) -> str:
    """For each set of cases: both protocols, realism, agreement with the film; Markdown, means over the cases."""
    parts = []
    for kind in dict.fromkeys(row["set"] for row in result["rows"]):
        rows = [row for row in result["rows"] if row["set"] == kind]
        cases = len({row["name"] for row in rows})
        who = f"The person left out ({result['held_out']})" if kind == "left out" else f"{cases} virtual patients"
        parts += [f"## {who}", "", "### Protocol `strict`", "", _table(rows, "strict", _TABLE_3, seconds=True), ""]
        parts += ["### Protocol `paper`", "", _table(rows, "paper", _TABLE_3), ""]
        parts += ["### Is it a thorax?", "", _table(rows, "realism", _REALISM), ""]
        parts += ["### Does it agree with the film?", "", _table(rows, "reprojection", _FILM), ""]
    return "\n".join(parts)


def _table(rows: list[dict], part: str, figures, seconds: bool = False) -> str:
    titles = ["method", *(title for title, _, _ in figures), *(["seconds"] * seconds)]
    lines = [titles, [":--"] + ["--:"] * (len(titles) - 1)]
    for method in dict.fromkeys(row["method"] for row in rows):
        mine = [row for row in rows if row["method"] == method]
        cells = [method]
        cells += [_mean([row[part].get(key) for row in mine], digits) for _, key, digits in figures]
        cells += [_mean([row["seconds"] for row in mine], 1)] * seconds
        lines.append(cells)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _mean(values: list, digits: int) -> str:
    known = [float(value) for value in values if value is not None]
    return f"{np.mean(known):.{digits}f}" if known else "–"


def as_csv(result: dict) -> str:
    """One line a case and way."""
    flat = []
    for row in result["rows"]:
        line = {key: row[key] for key in ("set", "name", "method", "seconds")}
        for part in ("strict", "paper", "realism", "reprojection"):
            for key, value in row[part].items():
                if value is None or isinstance(value, int | float):
                    line[f"{part}_{key}"] = value
        flat.append(line)
    out = io.StringIO()
    table = csv.DictWriter(out, list(dict.fromkeys(key for line in flat for key in line)))
    table.writeheader()
    table.writerows(flat)
    return out.getvalue()
