"""The benchmark on real films as a page, and a table for programs."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from ..files import written_whole

#: Figure, what it is, decimals.
_FIGURES = (
    ("bones_seen", "bones that the detector sees, of 36", 1),
    ("bones", "bones reconstructed", 0),
    ("boxes", "boxes that bones were fitted to", 0),
    ("box_iou", "IoU of projected bones' boxes with the detected", 2),
    ("box_edge_px", "their edges apart, pixels", 1),
    ("box_edge_mm", "their edges apart, mm on the detector", 1),
    ("outline_mm", "projected outlines to the film's nearest edge, median, mm", 2),
    ("outline_by_chance_mm", "the same for outlines moved away, mm", 2),
    ("edge_strength", "gradient across ribs' outlines, in times that of outlines moved away", 2),
    ("rib_volume", "left and right ribs: volumes differ by", 3),
    ("rib_length", "left and right ribs: lengths differ by", 3),
    ("warnings", "warnings", 0),
    ("seconds", "seconds", 1),
)
_CHANGES = {
    "crop": "4 % cut off at each edge",
    "shift": "moved by 10 mm on the detector",
    "darker": "gamma 1.25",
    "brighter": "gamma 0.8",
    "noise": "noise of 2 % of the range",
}
_METHOD = (
    "No truth is known of these films. Named bones (method x2br) from each, with its view as the table of the films "
    "has it, the pixel spacing taken from the bones, SID and SOD assumed. Boxes were used for the fit, so their "
    "agreement is no independent test; the film's edges were not. *Stability*: the coarse mesh of the film changed a "
    "little against that of the film as it is, mean symmetric surface distance."
)


def write(result: dict, folder: Path) -> dict[str, str]:
    """Write ``films.md`` and ``films.csv``; their paths. Raises `InputError` where it cannot."""
    for name, text in (("films.csv", as_csv(result)), ("films.md", as_markdown(result))):
        with written_whole(folder / name) as partial:
            partial.write_text(text, encoding="utf-8")
    return {name: str(folder / name) for name in ("films.md", "films.csv")}


def as_csv(result: dict) -> str:
    """A row for each film."""
    out = io.StringIO()
    names = ["film", "status", "view", *(key for key, _, _ in _FIGURES), *_CHANGES, "reason"]
    table = csv.DictWriter(out, names, restval="", extrasaction="ignore")
    table.writeheader()
    for row in result["films"]:
        figures = row | row.get("stability", {})
        table.writerow({k: round(v, 4) if isinstance(v, float) else v for k, v in figures.items() if v is not None})
    return out.getvalue()


def as_markdown(result: dict) -> str:
    """The page."""
    page = ["# Real radiographs", "", "Written by `x2br bench films`.", ""]
    page += [f"- {key}: {value}" for key, value in result["machine"].items()]
    if result["load_after"] is not None:
        page.append(f"- load average after the run: {result['load_after']:.2f}")
    page.append(f"- weights of the coarse mesh: SHA-256 {result['model'][:16]}")
    return "\n".join([*page, "", _METHOD, "", tables(result), ""])


def tables(result: dict) -> str:
    """The tables, Markdown."""
    films = result["films"]
    done = [row for row in films if row["status"] == "done"]
    by_view = {view: [row for row in done if row["view"] == view] for view in ("AP", "PA")}
    lines = [
        f"{len(done)} of {len(films)} films were reconstructed ({len(by_view['AP'])} AP, {len(by_view['PA'])} PA). "
        "Medians over films, and in brackets the 10th and 90th percentile.",
        "",
        "| figure | all | AP | PA |",
        "| :-- | --: | --: | --: |",
    ]
    for key, title, decimals in _FIGURES:
        cells = [_spread([row.get(key) for row in rows], decimals) for rows in (done, *by_view.values())]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    failed = [f"- {row['film']}: {row['reason']}" for row in films if row["status"] != "done"]
    shaken = [row["stability"] for row in done if "stability" in row]
    parts = ["\n".join(lines), *(["Not reconstructed:\n\n" + "\n".join(failed)] if failed else [])]
    if shaken:
        lines = [f"Stability, {len(shaken)} films:", "", "| the film | surfaces apart, mm |", "| :-- | --: |"]
        lines += [f"| {words} | {_spread([row[key] for row in shaken], 2)} |" for key, words in _CHANGES.items()]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _spread(values: list[float | None], decimals: int) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    low, middle, high = np.percentile(known, (10, 50, 90))
    return f"{middle:.{decimals}f} ({low:.{decimals}f}–{high:.{decimals}f})"
