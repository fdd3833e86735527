"""The benchmark of DRRs as a page, a table for programs, and a plot."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from ..files import folder_written_whole
from .peers import Ours

_SERIES = {
    "first": ("X2BR, first view", "#0b6e99", "o"),
    "further": ("X2BR, further views", "#59b3d1", "s"),
    "plastimatch_exact": ("plastimatch exact", "#b3541e", "^"),
}
_PANELS = ("rays", "voxels", "threads")
_METHOD = (
    "The median of runs taken in turn. X2BR's first view is everything from Hounsfield units in memory to line "
    "integrals, running sums included; further views of the same CT need no new sums. The others get linear "
    "attenuation coefficients in the form they want, made before the clock starts. plastimatch is a program: it reads "
    "an uncompressed volume from memory (tmpfs), and the time of the same run with a detector of one pixel, which "
    "only reads, is taken off; the whole process is beside it. DiffDRR runs once, as its "
    "documentation calls it and in patches. nanodrr interpolates at 500 points a ray, which is not exact. NCC is "
    "of line integrals, against the first row's; plastimatch drops part of a voxel where rays leave through the top or "
    "bottom of the CT."
)
_NO_CARD = (
    "The speed on CUDA was not measured: there was no card. That the CUDA kernel gives the same integrals is tested "
    "without one, in Triton's interpreter."
)


def write(result: dict, folder: Path) -> dict[str, str]:
    """Write ``drr.md``, ``drr.csv`` and ``drr.png``, all or none; their paths. Raises `InputError` where it cannot."""
    with folder_written_whole(folder) as partial:
        (partial / "drr.csv").write_text(as_csv(result), encoding="utf-8")
        drawn = _draw(result, partial / "drr.png")
        (partial / "drr.md").write_text(as_markdown(result, plot=drawn), encoding="utf-8")
    names = ["drr.md", "drr.csv"] + (["drr.png"] if drawn else [])
    return {name: str(folder / name) for name in names}


def peers_table(result: dict) -> str:
    """The peers, Markdown."""
    first = next((row["peer"] for row in result["peers"] if "median_s" in row), Ours.label)
    lines = [
        f"| renderer | seconds | times {first.split(',')[0]}'s first | whole process, s | agreement (NCC) | runs |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for row in result["peers"]:
        if "median_s" not in row:
            lines.append(f"| {row['peer']} | not run: {row['not_run']} | | | | |")
            continue
        process = f"{row['process_median_s']:.3f}" if row["process_median_s"] else ""
        lines.append(
            f"| {row['peer']} | {row['median_s']:.4f} | {row['times_first']:.2f} | {process} | {row['ncc']:.6f} "
            f"| {len(row['seconds'])} |"
        )
    return "\n".join(lines)


def goals_list(result: dict) -> str:
    """The goals, Markdown."""
    return "\n".join(f"- {g['goal']}: {g['value']:.3g}, {'met' if g['met'] else 'not met'}" for g in result["goals"])


def command_table(result: dict) -> str:
    """The whole processes, Markdown."""
    lines = ["| command | seconds |", "|---|---:|"]
    lines += [f"| `{name}` | {row['median_s']:.2f} |" for name, row in result["command"].items()]
    return "\n".join(lines)


def preview_table(result: dict) -> str:
    """The previews, Markdown."""
    lines = [
        "| reduced by | voxels | frames a second | first frame, ms | slowest, ms | reducing the CT, ms |",
        "|---:|---|---:|---:|---:|---:|",
    ]
    for row in result["preview"]:
        ms = [f"{1000 * row[key]:.1f}" for key in ("first_frame_s", "slowest_frame_s", "reduce_s")]
        size = " x ".join(map(str, row["voxels"]))
        lines.append(f"| {row['factor']} | {size} | {row['frames_per_second']:.0f} | {' | '.join(ms)} |")
    return "\n".join(lines)


def scaling_table(result: dict, name: str) -> str:
    """Seconds over rays, voxels or threads, Markdown."""
    points = result["scaling"][name]
    series = [key for key in _SERIES if key in points[0]]
    lines = [f"| {name} | {' | '.join(_SERIES[key][0] for key in series)} |", "|---:|" + "---:|" * len(series)]
    lines += [f"| {p['at']:,} | {' | '.join(f'{p[key]:.4f}' for key in series)} |" for p in points]
    return "\n".join(lines)


def as_csv(result: dict) -> str:
    """Every measured run: peer, seconds, seconds of the whole process, agreement."""
    out = io.StringIO()
    table = csv.writer(out)
    table.writerow(["measurement", "name", "at", "seconds", "process_seconds", "ncc"])
    for row in result["peers"]:
        for n, seconds in enumerate(row.get("seconds", ())):
            process = row["process_seconds"][n] if row["process_seconds"] else ""
            table.writerow(["peer", row["peer"], "", seconds, process, row["ncc"]])
    for name, row in result["command"].items():
        table.writerows(["command", name, "", "", seconds, ""] for seconds in row.get("seconds", ()))
    for name, points in result["scaling"].items():
        table.writerows([name, key, p["at"], p[key], "", ""] for p in points for key in _SERIES if key in p)
    for row in result["preview"]:
        table.writerow(["preview", "mean frame", row["factor"], 1 / row["frames_per_second"], "", ""])
    return out.getvalue()


def as_markdown(result: dict, plot: bool = True) -> str:
    """The page."""
    ct, geometry = result["ct"], result["geometry"]
    voxels = " x ".join(map(str, ct["voxels"]))
    spacing = " x ".join(f"{v:g}" for v in ct["spacing_mm"])
    pixels = f"{geometry['columns']} x {geometry['rows']} pixels of {geometry['spacing_mm'][0]:g} mm"
    page = [
        "# DRRs: speed and agreement",
        "",
        "Written by `x2br bench drr`"
        + (" --quick: too small a case for its figures to mean anything." if result["quick"] else "."),
        "",
        *(f"- {key}: {value}" for key, value in result["machine"].items()),
        f"- load average before the run: {result['load_before']:.2f}" if result["load_before"] is not None else "",
        "",
        f"CT: `{ct['file']}`, {voxels} voxels of {spacing} mm, as int16 Hounsfield units. View: AP, "
        f"{pixels}, SID {geometry['sid_mm']:g} mm, SOD {geometry['sod_mm']:g} mm.",
        "",
        peers_table(result),
        "",
        goals_list(result),
        "",
        _METHOD,
        "",
    ]
    if any("CUDA device" in row.get("not_run", "") for row in result["peers"]):
        page += [_NO_CARD, ""]
    if result["command"] and "not_run" not in result["command"]:
        page += ["## The whole command, from a compressed NIfTI file to an image", "", command_table(result), ""]
    page += [
        "## A preview that follows a slider",
        "",
        "256 x 256 pixels, turned once around the patient in steps of 3 degrees, each frame rendered and made a "
        "picture; the running sums are made in the frames that first need them.",
        "",
        preview_table(result),
        "",
        "## How it grows",
        "",
        "Seconds, the median of five runs, one renderer after the other.",
        "",
    ]
    for name in _PANELS:
        page += [scaling_table(result, name), ""]
    if plot:
        page += ["![Seconds over rays, voxels and threads](drr.png)", ""]
    return "\n".join(page)


def _draw(result: dict, path: Path) -> bool:
    """The plot; ``False`` where matplotlib is not installed."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.ticker import NullFormatter, NullLocator
    except ImportError:
        return False
    figure = Figure(figsize=(11, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(_PANELS), sharey=True)
    for axes, name in zip(panels, _PANELS, strict=True):
        points = result["scaling"][name]
        at = [point["at"] for point in points]
        for key, (text, colour, marker) in _SERIES.items():
            if key in points[0]:
                axes.plot(at, [point[key] for point in points], color=colour, marker=marker, markersize=5, label=text)
        slope = -1 if name == "threads" else 1
        guide = [points[-1]["further"] * (x / at[-1]) ** slope for x in at]
        axes.plot(at, guide, color="#999999", linestyle=":", linewidth=1, label="proportional")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks(at, [_short(x) for x in at])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(name)
        axes.grid(True, which="major", color="#e4e4e4", linewidth=0.7)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("seconds a view")
    panels[0].legend(frameon=False, fontsize=8)
    machine = result["machine"]
    figure.suptitle(f"DRR of {result['ct']['file']}, {machine['date']}: {machine['processor']}", fontsize=9)
    figure.savefig(path, dpi=140)
    return True


def _short(n: int) -> str:
    """4096 as 4.1k."""
    for factor, letter in ((1e6, "M"), (1e3, "k")):
        if n >= factor:
            return f"{n / factor:.0f}{letter}" if n >= 10 * factor else f"{n / factor:.1f}{letter}"
    return str(n)
