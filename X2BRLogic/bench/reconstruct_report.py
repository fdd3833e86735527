"""The benchmark of reconstructions as a page, a table for programs, and a plot."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from ..files import folder_written_whole

_PEERS_NOTE = (
    "Plain generation is that of Occupancy Networks: the decoder as it was trained, 100,000 points a call, on the "
    "dense grid or by MISE that splits the cells whose corners differ and looks no further. Seconds are from the film "
    "to marching cubes' mesh, runs taken in turn; beside them, with simplification and the check that the mesh is "
    "closed, which are the same for all. Refinement is left out, since plain generation has none."
)
_DECODER_NOTE = (
    "Folded is what runs: normalisations worked into the linear layers once per film, a few thousand points at a time, "
    "each piece on one core. The largest difference in probability is against the decoder as trained; more than 0.001 "
    "is not taken, and neither is what costs more to begin than it saves: a reconstruction at 128^3 asks for some "
    "70,000 points."
)
_MESH_NOTE = (
    "Distance of points on the faces from the isosurface (mean, 95 %) and angle between a face and the field there, to "
    "first order from the network's field; shape of triangles (mean, worst 1 %), 1 if equilateral and 0 if a needle; "
    "pairs of faces that pass through each other. Each step takes the mesh of the one above."
)
_COLOURS = ("#0b6e99", "#59b3d1", "#b3541e", "#d9a441")


def write(result: dict, folder: Path) -> dict[str, str]:
    """Write ``reconstruct.md``, ``.csv`` and ``.png``, all or none; paths. Raises `InputError` where it cannot."""
    with folder_written_whole(folder) as partial:
        (partial / "reconstruct.csv").write_text(as_csv(result), encoding="utf-8")
        drawn = _draw(result, partial / "reconstruct.png")
        (partial / "reconstruct.md").write_text(as_markdown(result, plot=drawn), encoding="utf-8")
    names = ["reconstruct.md", "reconstruct.csv"] + (["reconstruct.png"] if drawn else [])
    return {name: str(folder / name) for name in names}


def goals_list(result: dict) -> str:
    """The goals, Markdown."""
    return "\n".join(f"- {g['goal']}: {g['value']:.3g}, {'met' if g['met'] else 'not met'}" for g in result["goals"])


def warm_table(result: dict) -> str:
    """Warm jobs, Markdown."""
    stages = list(result["warm"][0]["stages"])
    lines = _head(
        ["model", "grid", "on", "seconds", *stages, "evaluations", "of dense", "faces", "pieces", "genus", "crossing"],
        3,
    )
    for row in result["warm"]:
        lines.append(
            _line(
                row["method"],
                f"{row['resolution']}^3",
                row["device"],
                f"{row['median_s']:.3f}",
                *(f"{row['stages'][stage]:.3f}" for stage in stages),
                f"{row['evaluations']:,}",
                f"{row['of_dense']:.1%}",
                f"{row['faces']:,}",
                row["pieces"],
                row["genus"],
                row["self_intersections"],
            )
        )
    return "\n".join(lines)


def cold_table(result: dict) -> str:
    """Fresh processes, Markdown."""
    lines = _head(["model", "grid", "to the first mesh, s", "peak memory, GiB"], 2)
    for row in result["cold"]:
        peak = "unknown" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 2**30:.2f}"
        lines.append(_line(row["method"], f"{row['resolution']}^3", f"{row['median_s']:.2f}", peak))
    return "\n".join(lines)


def peers_table(result: dict) -> str:
    """Against plain generation, Markdown."""
    lines = _head(["way", "seconds", "times X2BR's", "to a closed mesh, s", "evaluations", "faces"], 1)
    for row in result["peers"]:
        lines.append(
            _line(
                row["way"],
                f"{row['median_s']:.3f}",
                f"{row['times_first']:.2f}",
                f"{row['whole_median_s']:.3f}",
                f"{row['evaluations']:,}",
                f"{row['faces']:,}",
            )
        )
    return "\n".join(lines)


def decoder_table(result: dict) -> str:
    """Forms of the decoder, Markdown."""
    lines = _head(["decoder", "microseconds a point", "largest difference", "to begin, s"], 1)
    for row in result["decoder"]:
        if "not_run" in row:
            lines.append(_line(row["form"], f"not run: {row['not_run']}", "", ""))
            continue
        lines.append(
            _line(
                row["form"],
                f"{row['microseconds_a_point']:.2f}",
                f"{row['difference']:.1e}",
                f"{row['begin_s']:.2f}",
            )
        )
    return "\n".join(lines)


def mesh_table(table: dict) -> str:
    """One mesh step by step, Markdown."""
    lines = _head(
        [
            "step",
            "seconds",
            "faces",
            "distance, mm",
            "95 %",
            "angle",
            "shape",
            "worst 1 %",
            "crossing",
            "pieces",
            "genus",
        ],
        1,
    )
    for row in table["steps"]:
        lines.append(
            _line(
                row["step"],
                f"{row['seconds']:.3f}",
                f"{row['faces']:,}",
                f"{row['distance_mm']:.3f}",
                f"{row['distance_95_mm']:.3f}",
                f"{row['angle_deg']:.1f}",
                f"{row['shape']:.3f}",
                f"{row['shape_1_percent']:.3f}",
                row["self_intersections"],
                row["pieces"],
                row["genus"],
            )
        )
    return "\n".join(lines)


def _head(names: list[str], words: int) -> list[str]:
    """A table's first two lines; the first columns hold words, the others numbers."""
    return [_line(*names), "|" + "---|" * words + "---:|" * (len(names) - words)]


def _line(*cells) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def as_csv(result: dict) -> str:
    """Every measured run and every number of the tables, one a line."""
    out = io.StringIO()
    table = csv.writer(out)
    table.writerow(["measurement", "name", "resolution", "what", "value"])
    for kind in ("warm", "cold"):
        for row in result[kind]:
            name = " ".join(filter(None, [row["method"], row.get("device")]))
            table.writerows([kind, name, row["resolution"], "seconds", s] for s in row["seconds"])
            what = {key: row[key] for key in ("evaluations", "of_dense", "peak_bytes") if row.get(key) is not None}
            stages = {f"{stage} seconds, median": s for stage, s in row.get("stages", {}).items()}
            table.writerows([kind, name, row["resolution"], key, value] for key, value in (what | stages).items())
    for row in result["peers"]:
        table.writerows(["peer", row["way"], "", "seconds", s] for s in row["seconds"])
        table.writerows(["peer", row["way"], "", "seconds to a closed mesh", s] for s in row["whole_seconds"])
        table.writerow(["peer", row["way"], "", "evaluations", row["evaluations"]])
    for row in result["decoder"]:
        table.writerows(["decoder", row["form"], "", key, value] for key, value in row.items() if key != "form")
    for mesh in result["mesh"]:
        for row in mesh["steps"]:
            name = f"{mesh['method']}: {row['step']}"
            table.writerows(
                ["mesh", name, mesh["resolution"], key, value] for key, value in row.items() if key != "step"
            )
    return out.getvalue()


def as_markdown(result: dict, plot: bool = True) -> str:
    """The page."""
    quick = " --quick: too coarse a grid for its figures to mean anything." if result["quick"] else "."
    page = [
        "# Reconstruction: from a radiograph to a mesh",
        "",
        f"Written by `x2br bench reconstruct`{quick}",
        "",
        *(f"- {key}: {value}" for key, value in result["machine"].items()),
    ]
    if result["load_before"] is not None:
        page.append(f"- load average before the run: {result['load_before']:.2f}")
    page += [
        "",
        f"Film: `{result['film']}`. Medians of {len(result['warm'][0]['seconds'])} run(s). Seconds of a warm model are "
        "from the film in memory to the closed, simplified, refined mesh.",
        "",
        goals_list(result),
        "",
        "## Warm",
        "",
        warm_table(result),
        "",
    ]
    if all(row["device"] == "cpu" for row in result["warm"]):
        page += ["No card was at hand: the speed on CUDA was not measured.", ""]
    page += [
        "## A fresh process",
        "",
        "From the start of the process to the first mesh in memory; the peak is over two more reconstructions.",
        "",
        cold_table(result),
        "",
    ]
    if result["peers"]:
        page += ["## Against plain occupancy-network generation (x2b)", "", _PEERS_NOTE, "", peers_table(result), ""]
    if result["decoder"]:
        page += ["## The decoder (x2b)", "", _DECODER_NOTE, "", decoder_table(result), ""]
    page += ["## The mesh, before and after", "", _MESH_NOTE, ""]
    for table in result["mesh"]:
        page += [f"{table['method']}, {table['resolution']}^3:", "", mesh_table(table), ""]
    if plot:
        page += ["![Seconds of each stage, and against plain generation](reconstruct.png)", ""]
    return "\n".join(page)


def _draw(result: dict, path: Path) -> bool:
    """The plot; ``False`` where matplotlib is not installed."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return False
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    names = [f"{row['method']}, {row['resolution']}^3, {row['device']}" for row in result["warm"]]
    begin = [0.0] * len(names)
    for stage, colour in zip(result["warm"][0]["stages"], _COLOURS, strict=True):
        seconds = [row["stages"][stage] for row in result["warm"]]
        left.barh(names, seconds, left=begin, color=colour, label=stage)
        begin = [b + s for b, s in zip(begin, seconds, strict=True)]
    left.invert_yaxis()
    left.set_xlabel("seconds, warm")
    left.legend(frameon=False, fontsize=8, ncols=len(_COLOURS), loc="lower left", bbox_to_anchor=(0, 1))
    peers = {row["way"]: row["median_s"] for row in result["peers"]}
    bars = right.barh(list(peers), list(peers.values()), color=_COLOURS[0])
    right.bar_label(bars, [f" {seconds:.2f}" for seconds in peers.values()])
    right.margins(x=0.12)
    right.invert_yaxis()
    right.set_xlabel("seconds from film to marching cubes' mesh, x2b")
    for axes in (left, right):
        axes.grid(True, axis="x", color="#e4e4e4", linewidth=0.7)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    machine = result["machine"]
    figure.suptitle(f"Reconstruction of {result['film']}, {machine['date']}: {machine['processor']}", fontsize=9)
    figure.savefig(path, dpi=140)
    return True
