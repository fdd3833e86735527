"""``x2br bench confidence``: are reconstructions as far off as they say?"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path

from ..dataset.subject import find_subjects, read_subject
from ..errors import InputError
from ..evaluation.reliability import Reliability, true_bones
from ..evaluation.suite import Case, real_case, virtual_case
from ..files import folder_written_whole
from ..models import DEFAULT_METHOD, X2BR
from ..pipeline import Reconstructor
from . import machine

Progress = Callable[[str], None]

#: Method and number of films.
METHODS = ((DEFAULT_METHOD, 1), (DEFAULT_METHOD, 2), (X2BR, 1))
_SETS = {"real": "The person left out", "virtual": "Unseen virtual patients of the others"}


def run(subjects: Path, held_out: str, virtual: int, seed: int, progress: Progress) -> dict:
    """Reconstruct and judge; a JSON-ready dict with a row for each set and method, and its bins.

    Args:
        subjects: folders with CT and bones.
        held_out: whom neither the weights nor their calibration saw.
        virtual: patients made of the others.
        seed: of the first; not one that the calibration used.

    Raises:
        InputError: no such subject, or a model that was not calibrated.
    """
    folders = {folder.name: folder for folder in find_subjects(subjects)}
    if held_out not in folders or len(folders) < 2:
        raise InputError(f"no such subject beside others in {subjects}: {held_out}")
    models = {method: Reconstructor(method, "cpu") for method in dict(METHODS)}
    if "expected_error" not in models[DEFAULT_METHOD].metadata:
        raise InputError("the installed model does not know its errors; calibrate it with x2br calibrate")
    found: dict[tuple, list] = {}
    for kind, case in _cases(folders, held_out, virtual, seed):
        progress(case.name)
        truth = true_bones(case.labels)
        for method, films in METHODS:
            second = case.lateral if films == 2 else None
            bones = models[method].reconstruct(case.radiograph, second=second).bones
            found.setdefault((kind, method, films), []).append((bones, truth, case.region))
    rows = []
    for (kind, method, films), cases in found.items():
        reliability = Reliability.of(cases)
        about = {"set": kind, "method": method, "films": films, "cases": len(cases)}
        rows.append(about | reliability.summary() | {"bins": reliability.bins()})
    return {"machine": machine.describe(), "held_out": held_out, "rows": rows}


def _cases(folders: dict[str, Path], held_out: str, virtual: int, seed: int) -> Iterator[tuple[str, Case]]:
    yield "real", real_case(read_subject(folders[held_out]))
    others = [folder for name, folder in folders.items() if name != held_out]
    for n in range(virtual):
        yield "virtual", virtual_case(read_subject(others[n % len(others)]), seed + n)


def markdown(result: dict) -> str:
    """The summary, then the bins of each row."""
    titles = ["set", "method", "films", "vertices", "bones", "expected mm", "observed mm", "calibration error mm"]
    titles += ["rank correlation of vertices", "of bones"]
    parts = [f"| {' | '.join(titles)} |", "|:--|:--|" + "--:|" * 8]
    for row in result["rows"]:
        parts.append(
            f"| {_SETS[row['set']]} | {row['method']} | {row['films']} | {row['vertices']:,} | {row['bones']} "
            f"| {row['expected_mm']:.2f} | {row['observed_mm']:.2f} | {row['calibration_error_mm']:.2f} "
            f"| {row['correlation_vertices']:.2f} | {row['correlation_bones']:.2f} |"
        )
    for row in result["rows"]:
        parts += ["", f"{_SETS[row['set']]}, {row['method']}, {row['films']} film(s):", ""]
        parts += ["| expected mm | observed mm | within 5 mm |", "|--:|--:|--:|"]
        parts += [f"| {b['expected_mm']:.2f} | {b['observed_mm']:.2f} | {b['within_5_mm']:.0%} |" for b in row["bins"]]
    return "\n".join([*parts, "", *(f"- {name}: {value}" for name, value in result["machine"].items())]) + "\n"


def write(result: dict, out: Path) -> dict[str, str]:
    """Write ``confidence.csv``, ``confidence.md`` and ``confidence.png`` into a folder; their paths by name."""
    names = ("confidence.csv", "confidence.md", "confidence.png")
    with folder_written_whole(out) as partial:
        with open(partial / names[0], "w", encoding="utf-8", newline="") as stream:
            lines = [
                {key: row[key] for key in ("set", "method", "films")} | line
                for row in result["rows"]
                for line in row["bins"]
            ]
            writer = csv.DictWriter(stream, lines[0])
            writer.writeheader()
            writer.writerows(lines)
        (partial / names[1]).write_text(markdown(result), encoding="utf-8")
        _plot(result, partial / names[2])
    return {name: str(out / name) for name in names}


def _plot(result: dict, file: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    kinds = list(dict.fromkeys(row["set"] for row in result["rows"]))
    figure, axes = pyplot.subplots(1, len(kinds), figsize=(5 * len(kinds), 4.4), squeeze=False)
    for axis, kind in zip(axes[0], kinds, strict=True):
        most = 1.0
        for row in (row for row in result["rows"] if row["set"] == kind):
            expected, observed = ([line[key] for line in row["bins"]] for key in ("expected_mm", "observed_mm"))
            axis.plot(expected, observed, "o-", label=f"{row['method']}, {row['films']} film(s)")
            most = max(most, *expected, *observed)
        axis.plot([0, most], [0, most], "k:", linewidth=1)
        axis.set(title=_SETS[kind], xlabel="expected error, mm", ylabel="observed error, mm")
        axis.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(file, dpi=110)
    pyplot.close(figure)
