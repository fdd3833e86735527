"""The benchmark of registrations as a page, a table for programs, and a plot."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from ..files import folder_written_whole

_METHOD = (
    "Times are wall time from meshes in memory to deformed vertices in memory, the median of three runs, reading and "
    "writing of files left out on both sides; ours also has the expected place on the target and the uncertainty of "
    "each vertex in it. *cpu* is ours in processor seconds, which other work on the machine stretches less. Distance "
    "is the mean of both directed mean nearest-vertex distances. *Apart* is the mean distance between our vertices and "
    "the reference's, and its share of the target's bounding-box diagonal. Samples are drawn with the program's own "
    "generator in its own order, so that the same seed gives the same result."
)
_OTHERS = (
    "Each method with its own presets (CPD: exact sums up to 10,000 vertices, Nystrom's products with 300 points "
    "above; NDP: 2,000 points, on the processor), one run."
)


def write(result: dict, folder: Path) -> dict[str, str]:
    """Write ``register.md``, ``.csv`` and ``.png``, all or none; their paths. Raises `InputError` where it cannot."""
    with folder_written_whole(folder) as partial:
        (partial / "register.csv").write_text(as_csv(result), encoding="utf-8")
        drawn = _draw(result, partial / "register.png")
        (partial / "register.md").write_text(as_markdown(result, plot=drawn), encoding="utf-8")
    names = ["register.md", "register.csv"] + (["register.png"] if drawn else [])
    return {name: str(folder / name) for name in names}


def as_markdown(result: dict, plot: bool = True) -> str:
    """The page."""
    page = ["# Registration: equality with the author's program, speed and growth", ""]
    page += ["Written by `x2br bench register`" + (" --quick: too little for its figures." if result["quick"] else ".")]
    page += ["", *(f"- {key}: {value}" for key, value in result["machine"].items())]
    if result["load_before"] is not None:
        page.append(f"- load average before the run: {result['load_before']:.2f}")
    page.append(f"- compiled kernels ready in {result['warm_up_s']:.2f} s, once a process, not counted below")
    beside = "run beside ours" if result["live"] else "recorded on two cores of an idle machine"
    page += ["", f"Reference: the author's program bcpd 0.98 (C, OpenMP, OpenBLAS), {beside}.", ""]
    page += [tables(result), "", _METHOD, "", "## Beside other methods", "", methods_table(result), "", _OTHERS, ""]
    page += ["## How it grows", "", growth_table(result), ""]
    if plot:
        page += ["![Seconds a case, and seconds over vertices](register.png)", ""]
    return "\n".join(page)


def tables(result: dict) -> str:
    """Ours beside the reference, and which goals that meets, Markdown."""
    lines = [
        "| case | vertices | before | ours, mm | theirs, mm | apart, mm | apart | ours, s | theirs, s | ratio | cpu |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {row['case']} | {row['vertices']:,} | {row['distance_before_mm']:.2f} | {row['distance_mm']:.4f} "
        f"| {row['reference_distance_mm']:.4f} | {row['apart_mm']:.3f} | {row['apart_share']:.3%} "
        f"| {row['median_s']:.2f} | {row['reference_s']:.2f} | {row['time_ratio']:.2f} "
        f"| {row['processor_s']:.2f} |"
        for row in result["cases"]
    ]
    goals = [f"- {g['goal']}: {g['value']:.3g}, {'met' if g['met'] else 'not met'}" for g in result["goals"]]
    return "\n".join([*lines, "", *goals])


def methods_table(result: dict) -> str:
    """Every method on every case, Markdown."""
    lines = ["| case | method | distance, mm | seconds | iterations | end |", "|---|---|--:|--:|--:|---|"]
    lines += [
        f"| {row['case']} | {row['method']} | {row['distance_mm']:.3f} | {row['seconds']:.2f} | {row['iterations']} "
        f"| {row['reason']} |"
        for row in result["methods"]
    ]
    return "\n".join(lines)


def growth_table(result: dict) -> str:
    """Seconds over vertices, Markdown."""
    stages = list(result["growth"][0]["stages"])
    lines = [f"| vertices | seconds | iterations | {' | '.join(stages)} |", "|--:|--:|--:|" + "--:|" * len(stages)]
    lines += [
        f"| {row['vertices']:,} | {row['median_s']:.2f} | {row['iterations']} | "
        + " | ".join(f"{row['stages'][stage]:.3f}" for stage in stages)
        + " |"
        for row in result["growth"]
    ]
    return "\n".join(lines)


def as_csv(result: dict) -> str:
    """One line a measurement."""
    out = io.StringIO()
    table = csv.writer(out)
    table.writerow(["measurement", "name", "method", "vertices", "seconds", "distance_mm", "apart_mm"])
    for row in result["cases"]:
        for seconds in row["seconds"]:
            table.writerow(["case", row["case"], "ours", row["vertices"], seconds, row["distance_mm"], row["apart_mm"]])
        reference = [row["reference_s"], row["reference_distance_mm"], 0.0]
        table.writerow(["case", row["case"], "reference", row["vertices"], *reference])
    for row in result["methods"]:
        table.writerow(["method", row["case"], row["method"], "", row["seconds"], row["distance_mm"], ""])
    for row in result["growth"]:
        table.writerow(["growth", "", "gbcpd++", row["vertices"], row["median_s"], "", ""])
    return out.getvalue()


def _draw(result: dict, path: Path) -> bool:
    """The plot; ``False`` where matplotlib is not installed."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return False
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    at = range(len(result["cases"]))
    left.barh([n + 0.2 for n in at], [row["reference_s"] for row in result["cases"]], 0.38, color="#b3541e")
    left.barh([n - 0.2 for n in at], [row["median_s"] for row in result["cases"]], 0.38, color="#0b6e99")
    left.set_yticks(list(at), [row["case"] for row in result["cases"]], fontsize=8)
    left.legend(["author's program", "X2BR"], frameon=False, fontsize=8)
    left.set_xlabel("seconds")
    vertices, seconds = zip(*((row["vertices"], row["median_s"]) for row in result["growth"]), strict=True)
    right.loglog(vertices, seconds, color="#0b6e99", marker="o", label="X2BR, GBCPD++")
    guide = [seconds[-1] * n / vertices[-1] for n in vertices]
    right.loglog(vertices, guide, color="#999999", linestyle=":", label="proportional")
    right.set_xlabel("vertices of each shape")
    right.set_ylabel("seconds")
    right.legend(frameon=False, fontsize=8)
    for axes in (left, right):
        axes.grid(True, which="major", color="#e4e4e4", linewidth=0.7)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"Registration, {result['machine']['date']}: {result['machine']['processor']}", fontsize=9)
    figure.savefig(path, dpi=140)
    return True
