"""The benchmark of detection as a page, a table for programs, and a sheet of real films to look at."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..detection import detect
from ..detection.picture import draw_boxes
from ..files import folder_written_whole, written_whole
from ..radiograph import read_radiograph
from .detection_schemes import SCHEMES, ordered

_METHOD = (
    "Boxes are projected from bone labels; a bone of which less than a quarter is in the picture has none. Average "
    "precision is COCO's (faster-coco-eval), its mean over the bones that occur. For the rest, boxes with a confidence "
    "of 0.1 or more and bones of a group are paired so that they overlap most, whatever their levels (IoU 0.5). *Level "
    "accuracy*: the share of pairs that agree on the level. *Missed*: bones without a box; *doubled*: boxes on a bone "
    "that has one; both a film. *Virtual patients* are deformed copies, other than those trained on, of the people "
    "trained on, filmed as in training (collimation, tone, tubes, markers). *The person left out*: AP and PA DRRs at "
    "seven angles, plain and with CLAHE, of someone whom the weights do not know; the last set is deformed copies of "
    "that person."
)
_SCHEMES = (
    "The ways start from the same network and proposals. *One class a level*: boxes as the network calls them. *Then "
    "the order*: the dynamic programme of `X2BRLogic/detection/ordering.py` over the scores of all levels; this is "
    "what `x2br detect` does. *Groups, then the order*: levels from the order alone, the highest rib found being the "
    "first."
)
_REAL = (
    "No truth is known. *Complete*: ribs 1 to 10 on both sides and T1 to T10. *Consistent*: no level missing between "
    "others, each bone begins below the one before, rib k within a level of where T(k) has it. The prices of the "
    "ordering were chosen on validation films and on how many of these made sense."
)
_EDGE, _COLUMNS = 400, 8


def write(result: dict, folder: Path) -> dict[str, str]:
    """Write ``detection.md`` and ``detection.csv``, both or none; their paths. Raises `InputError` where it cannot."""
    with folder_written_whole(folder) as partial:
        (partial / "detection.csv").write_text(as_csv(result), encoding="utf-8")
        (partial / "detection.md").write_text(as_markdown(result), encoding="utf-8")
    return {name: str(folder / name) for name in ("detection.md", "detection.csv")}


def as_markdown(result: dict) -> str:
    """The page."""
    page = ["# Detection of ribs and vertebrae", "", "Written by `x2br bench detection`.", ""]
    page += [f"- {key}: {value}" for key, value in result["machine"].items()]
    if result["load_after"] is not None:
        page.append(f"- load average after the run: {result['load_after']:.2f}")
    page.append(f"- model: {result['model']}; {result['seconds']:.2f} s a film of 512 x 512, warm")
    return "\n".join([*page, "", _METHOD, "", _SCHEMES, "", tables(result), ""])


def tables(result: dict) -> str:
    """For each set the ways compared, then each bone's figures, then the real films; Markdown."""
    parts = []
    for title, schemes in result["sets"].items():
        films = next(iter(schemes.values()))["films"]
        who = f" ({result['held_out']})" if title == "the person left out" else ""
        parts += [f"## {title[0].upper()}{title[1:]}{who}, {films} films", "", _ways(schemes), ""]
    parts += ["## Each bone", "", _bones(result["sets"]), ""] if result["sets"] else []
    if result["radiographs"]:
        parts += ["## Real radiographs", "", _REAL, "", _real(result["radiographs"])]
    return "\n".join(parts)


def _ways(schemes: dict[str, dict]) -> str:
    rows = [
        [scheme, part, *(_cell(figures[key], 3) for key in ("ap50", "ap50_95", "level_accuracy")),
         *(_cell(figures[key], 2) for key in ("present", "missed", "doubled"))]
        for part in ("vertebrae", "ribs")
        for scheme, figures in ((name, scored["parts"][part]) for name, scored in schemes.items())
    ]  # fmt: skip
    titles = ["way", "bones", "mAP50", "mAP50-95", "level accuracy", "present", "missed", "doubled"]
    return _table(titles, rows, words=2)


def _bones(sets: dict[str, dict]) -> str:
    """AP50 and AP50-95 of each bone, by the way that ships, in every set."""
    shipped = next(name for name, scheme in SCHEMES.items() if scheme is ordered)
    classes = {title: schemes[shipped]["classes"] for title, schemes in sets.items()}
    names = dict.fromkeys(name for found in classes.values() for name in found)
    rows = [
        [name, *(_cell(found.get(name, {}).get(key), 2) for found in classes.values() for key in ("ap50", "ap50_95"))]
        for name in names
    ]
    return _table(["bone", *(f"{title}: {key}" for title in classes for key in ("AP50", "AP50-95"))], rows, words=1)


def _real(films: list[dict]) -> str:
    count = len(films)
    rows = [
        ["films", str(count)],
        *([word, f"{sum(film[word] for film in films)} ({np.mean([film[word] for film in films]):.0%})"]
          for word in ("complete", "consistent")),
        ["both", str(sum(film["complete"] and film["consistent"] for film in films))],
        *([f"{group}, mean found", f"{np.mean([film[group] for film in films]):.1f}"]
          for group in ("vertebrae", "ribs_left", "ribs_right")),
    ]  # fmt: skip
    return _table(["", ""], rows, words=1)


def _table(titles: list[str], rows: list[list[str]], words: int) -> str:
    ruler = [":--"] * words + ["--:"] * (len(titles) - words)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [titles, ruler, *rows])


def _cell(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def as_csv(result: dict) -> str:
    """One line a set, way and bone."""
    out = io.StringIO()
    table = csv.writer(out)
    table.writerow(["set", "way", "bone", "boxes", "ap50", "ap50_95"])
    for title, schemes in result["sets"].items():
        for scheme, scored in schemes.items():
            for name, row in scored["classes"].items():
                table.writerow([title, scheme, name, row["boxes"], f"{row['ap50']:.4f}", f"{row['ap50_95']:.4f}"])
    return out.getvalue()


def write_sheet(radiographs: Path, films: list[str], runtime: str, weights: Path | None, file: Path) -> Path:
    """All films of a folder with their boxes on one page, to be looked at; its path. Raises `InputError`."""
    tiles = []
    for name in films:
        film = read_radiograph(radiographs / name)
        picture = draw_boxes(film.pixels, detect(film, runtime=runtime, weights=weights).boxes, _EDGE)
        ImageDraw.Draw(picture).text(
            (4, 4), Path(name).stem[:40], fill=(255, 255, 255), font=ImageFont.load_default(11)
        )
        tiles.append(picture)
    page = Image.new("RGB", (_COLUMNS * _EDGE, -(-len(tiles) // _COLUMNS) * _EDGE))
    for n, tile in enumerate(tiles):
        page.paste(tile, (n % _COLUMNS * _EDGE, n // _COLUMNS * _EDGE))
    with written_whole(file) as partial:
        page.save(partial)
    return file
