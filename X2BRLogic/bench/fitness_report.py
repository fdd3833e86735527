"""The benchmark of the check of films as a page, and a table for programs."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from ..files import folder_written_whole
from ..fitness.evidence import CHEST, NOTHING
from ..fitness.heart import MIRRORED
from ..radiograph.placement import CASSETTE_MM

#: Shares of a cassette's edge that a picture may show.
_CUTS = (1.0, 0.9, 0.8, 0.7)
_METHOD = (
    "*Bones seen*: the confidences of the detected ribs and thoracic vertebrae added up, 36 at most. A film with fewer "
    "than {chest:g} is looked at in eight ways (turned by quarters, and as a negative); with fewer than {nothing:g} as "
    "it is and no chest in any other way it is refused, else the user is warned. Thresholds were set by one half of "
    "the patients (every second one by name) and figures are of the other half, patients apart; the lower threshold "
    "lies above what photographs and noise show. Nothing was trained on any of these pictures."
)


def write(result: dict, folder: Path) -> dict[str, str]:
    """Write ``fitness.md`` and ``fitness.csv``, both or none; their paths. Raises `InputError` where it cannot."""
    with folder_written_whole(folder) as partial:
        (partial / "fitness.csv").write_text(as_csv(result), encoding="utf-8")
        (partial / "fitness.md").write_text(as_markdown(result), encoding="utf-8")
    return {name: str(folder / name) for name in ("fitness.md", "fitness.csv")}


def as_csv(result: dict) -> str:
    """A row for each film and picture."""
    out = io.StringIO()
    table = csv.writer(out)
    table.writerow(["kind", "name", "half", "bones_seen", "most_in_another_way", "heart", "heart_mirrored"])
    tuning = tuning_patients(result)
    for row in result["films"]:
        half = "tuning" if row["patient"] in tuning else "test"
        other = max((value for how, value in row["seen"].items() if how), default=None)
        numbers = (row["seen"][""], other, row["heart"], row["heart_mirrored"])
        table.writerow(["chest film", row["film"], half, *(_cell(number) for number in numbers)])
    for row in result["others"]:
        table.writerow([row["kind"], row["name"], "", _cell(row["seen"]), _cell(row["most"]), "", ""])
    return out.getvalue()


def as_markdown(result: dict) -> str:
    """The page."""
    page = ["# Is it a frontal chest film?", "", "Written by `x2br bench fitness`.", ""]
    page += [f"- {key}: {value}" for key, value in result["machine"].items()]
    page += [f"- detector: {result['detector']}", "", _METHOD.format(chest=CHEST, nothing=NOTHING), "", tables(result)]
    return "\n".join([*page, ""])


def tables(result: dict) -> str:
    """The tables, Markdown."""
    parts = [_others(result), _lying(result), _heart(result)]
    return "\n\n".join(parts + [_scale(result)] * bool(result["scale"]))


def tuning_patients(result: dict) -> set[str]:
    """Every second patient: on whose films thresholds were set."""
    return set(sorted({row["patient"] for row in result["films"]})[::2])


def auc(positive: np.ndarray, negative: np.ndarray) -> float:
    """Area under the ROC curve: how often a positive has the higher value than a negative, ties by half."""
    above = positive[:, None] > negative[None]
    return float((above + 0.5 * (positive[:, None] == negative[None])).mean())


def _test_films(result: dict) -> list[dict]:
    tuning = tuning_patients(result)
    return [row for row in result["films"] if row["patient"] not in tuning]


def _others(result: dict) -> str:
    films = _test_films(result)
    chest = np.array([row["seen"][""] for row in films])
    tuned = np.array([row["seen"][""] for row in result["films"] if row not in films])
    lines = [
        "## Chest films and other pictures",
        "",
        "| picture | n | bones seen, median (most) | AUC against chest films | told of | of these refused |",
        "| :-- | --: | --: | --: | --: | --: |",
    ]
    for name, values in (("chest films of the tuning half", tuned), ("chest films of the other half", chest)):
        told, refused = int((values < CHEST).sum()), int((values < NOTHING).sum())
        lines.append(f"| {name} | {len(values)} | {_spread(values)} | | {told} | {refused} |")
    rows = result["others"]
    for kind in [*dict.fromkeys(row["kind"] for row in rows), "all"]:
        of_kind = [row for row in rows if kind in (row["kind"], "all")]
        values = np.array([row["seen"] for row in of_kind])
        refused = sum(row["seen"] < NOTHING and row["most"] < CHEST for row in of_kind)
        told = sum(row["seen"] < CHEST for row in of_kind)
        name = f"**{kind}**" if kind == "all" else kind
        lines.append(f"| {name} | {len(of_kind)} | {_spread(values)} | {auc(chest, values):.3f} | {told} | {refused} |")
    return "\n".join(lines)


def _lying(result: dict) -> str:
    """What is proposed for films stored each way: all eight sets of eight views are the same eight pictures."""
    lines = [
        "## Films stored the wrong way",
        "",
        f"Of {len(_test_films(result))} films of the test half, each stored in that way on purpose.",
        "",
        "| stored | right remedy told | only warned | not noticed | wrong remedy | refused |",
        "| :-- | --: | --: | --: | --: | --: |",
    ]
    for turn in (0, 90, 180, 270):
        for invert in (False, True):
            counts = dict.fromkeys(("right", "warned", "unnoticed", "wrong", "refused"), 0)
            for row in _test_films(result):
                counts[_verdict(row["seen"], turn, invert)] += 1
            stored = ", ".join([f"turned by {turn}"] * bool(turn) + ["negative"] * invert) or "as it should be"
            lines.append(f"| {stored} | {' | '.join(str(count) for count in counts.values())} |")
    return "\n".join(lines)


def _verdict(seen: dict[str, float], turn: int, invert: bool) -> str:
    """Of a film that was stored turned by `turn`, and as a negative; `seen` is of the film as it should be."""

    def of(further: int, negative: bool) -> float:
        options = [f"--turn {(turn + further) % 360}"] * bool((turn + further) % 360)
        return seen[" ".join(options + ["--invert"] * (invert != negative))]

    ways = {(further, negative): of(further, negative) for further in (0, 90, 180, 270) for negative in (False, True)}
    as_is, best = ways[0, False], max(ways, key=ways.get)
    if as_is >= CHEST:
        return "unnoticed" if turn or invert else "right"
    if best != (0, False) and ways[best] >= max(CHEST, 2 * as_is):
        return "right" if best == (-turn % 360, invert) else "wrong"
    return "refused" if as_is < NOTHING else "warned"


def _heart(result: dict) -> str:
    films = _test_films(result)
    told = {}
    for key in ("heart", "heart_mirrored"):
        values = np.array([row[key] for row in films if row[key] is not None and row["seen"][""] >= CHEST])
        told[key] = int((values < MIRRORED).sum()), len(values), float(np.median(values)) if len(values) else np.nan
    (false, n, middle), (true, m, mirrored) = told["heart"], told["heart_mirrored"]
    return "\n".join(
        [
            "## Mirrored films",
            "",
            "By the side of the heart's shadow, 1 for the mean of virtual patients and -1 for its mirror image; told "
            f"below {MIRRORED:g}.",
            "",
            "| films of the test half | n | median | told of as mirrored |",
            "| :-- | --: | --: | --: |",
            f"| as they are | {n} | {middle:.2f} | {false} |",
            f"| mirrored on purpose | {m} | {mirrored:.2f} | {true} |",
        ]
    )


def _scale(result: dict) -> str:
    lines = [
        "## The scale of a film that does not say it",
        "",
        "Mean absolute error of the pixel spacing, over films of virtual patients, that show what a cassette shows or "
        f"were cut down to less of it. *Cassette*: the longer edge taken for {CASSETTE_MM:g} mm.",
        "",
        "| virtual patients of | n | by the bones | "
        + " | ".join(f"cassette, {cut:.0%} of it" for cut in _CUTS)
        + " |",
        "| :-- | --: | --: |" + " --: |" * len(_CUTS),
    ]
    groups = {
        "the people that the detector knows": lambda row: row["subject"] != result["held_out"],
        "the person left out": lambda row: row["subject"] == result["held_out"],
    }
    for name, belongs in groups.items():
        rows = [row for row in result["scale"] if belongs(row) and row["bones"] is not None]
        if not rows:
            continue
        cells = [_error([row["bones"] for row in rows])]
        cells += [_error([np.log(CASSETTE_MM / (cut * row["edge_mm"])) for row in rows]) for cut in _CUTS]
        lines.append(f"| {name} | {len(rows)} | {' | '.join(cells)} |")
    ratios = np.array([row["spacing_of_cassette"] for row in result["films"] if row["spacing_of_cassette"]])
    if len(ratios):
        low, middle, high = np.percentile(ratios, (5, 50, 95))
        lines += [
            "",
            f"On {len(ratios)} real films, of which the truth is not known, bones give {middle:.2f} times the spacing "
            f"of the cassette (5th to 95th percentile {low:.2f} to {high:.2f}).",
        ]
    return "\n".join(lines)


def _error(logarithms: list[float]) -> str:
    return f"{float(np.mean(np.abs(np.expm1(logarithms)))):.1%}"


def _spread(values: np.ndarray) -> str:
    return f"{np.median(values):.1f} ({values.max():.1f})" if len(values) else ""


def _cell(number: float | None) -> str:
    return "" if number is None else f"{number:.3f}"
