"""``x2br bench reconstruct``: from a radiograph to a mesh, how fast, with how much memory, and how good a mesh."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from ..errors import InputError
from ..models import fields, installed, resources
from ..networks import TAU, OccupancyField, load_model
from ..networks.cores import each_on_a_core
from ..pipeline import FACES, SPECK_MM3, Reconstructor
from ..radiograph import Radiograph, network_image, read_radiograph
from ..surface import drop_specks, extract, logit, make_watertight, mise, simplify
from . import machine
from .reconstruct_mesh import steps
from .reconstruct_peers import POINTS_IN_A_CALL, classical_mise, dense, in_one_piece, unfolded_field

#: The goals, seconds: warm, by resolution; where one pass gives whole rays; on a card; from the start of a process.
GOAL_SECONDS = {128: 3.0, 256: 12.0}
GOAL_WHOLE_RAYS = 1.0
GOAL_CARD = 0.15
GOAL_COLD = 12.0
GOAL_BYTES = 2 * 2**30
GOAL_EVALUATIONS = 0.12
#: How many times faster than these, and for which model that is asked.
GOAL_TIMES = {"dense": 5.0, "classical MISE": 2.0}
COMPARED = "x2b"

#: Of the points that decoders are timed with: 3,125 in each, which is about what ours takes at a time.
_PIECES = 32

Progress = Callable[[str], None]


def sample_radiograph() -> Path:
    """The film that ships."""
    return resources() / "SampleData" / "chest_ap.png"


def run(file: Path | None, repeats: int, quick: bool, progress: Progress) -> dict:
    """Measure everything; a JSON-ready dict (see the keys below). `quick` takes a coarse grid.

    Raises `InputError` for a radiograph that cannot be used, or where no model is installed.
    """
    file = file or sample_radiograph()
    radiograph = read_radiograph(file)
    methods = list(fields())
    if not methods:
        raise InputError("no model is installed; see x2br models")
    resolutions = [64] if quick else [128, 256]
    before = machine.busy()
    result = {
        "schema": "x2br-bench-reconstruct-1",
        "machine": machine.describe(),
        "load_before": before,
        "film": file.name,
        "quick": quick,
        # Fresh processes first: this one holds no memory and no threads yet.
        "cold": [cold(m, r, file, repeats, progress) for m in methods for r in resolutions],
        "warm": warm(radiograph, methods, resolutions, repeats, progress),
        "peers": generation(radiograph, resolutions[0], repeats, progress) if COMPARED in methods else [],
        "decoder": decoders(radiograph, repeats, quick, progress) if COMPARED in methods else [],
        "mesh": [mesh_steps(radiograph, m, r, progress) for m in methods for r in resolutions],
    }
    return result | {"goals": goals(result)}


# --- whole jobs -----------------------------------------------------------------------------------------------------


def cold(method: str, resolution: int, file: Path, repeats: int, progress: Progress) -> dict:
    """A process from its start to its first mesh, and its peak of memory; ``None`` where the system does not tell."""
    child = [sys.executable, "-m", "X2BRLogic.bench.reconstruct_child", method, str(resolution), str(file)]
    seconds, peaks = [], []
    for _ in range(repeats):
        start = time.perf_counter()
        process = subprocess.Popen(child, stdout=subprocess.PIPE, cwd=Path(__file__).resolve().parents[2])
        process.stdout.readline()
        seconds.append(time.perf_counter() - start)
        peaks.append(_peak_when_done(process))
        progress(f"{method} at {resolution}, a fresh process: {seconds[-1]:.2f} s to the first mesh")
    known = [peak for peak in peaks if peak is not None]
    return {
        "method": method,
        "resolution": resolution,
        "seconds": seconds,
        "median_s": float(np.median(seconds)),
        "peak_bytes": max(known) if known else None,
    }


def _peak_when_done(process: subprocess.Popen) -> int | None:
    """Largest resident memory of a child, bytes. Raises `RuntimeError` where it failed."""
    process.stdout.close()
    if not hasattr(os, "wait4"):
        status, peak = process.wait(), None
    else:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)  # told, so that Popen does not wait again
        peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    if status:
        raise RuntimeError("the reconstruction in a fresh process failed; its error is above")
    return peak


def warm(
    radiograph: Radiograph, methods: list[str], resolutions: list[int], repeats: int, progress: Progress
) -> list[dict]:
    """Loaded models, film by film: seconds of each stage, evaluations, and what the mesh is like; all in turn."""
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    rows = []
    for method in methods:
        for device in devices:
            ready = Reconstructor(method, device)
            for resolution in resolutions:
                row = {"method": method, "device": device, "resolution": resolution, "seconds": [], "stages": []}
                rows.append((ready, row))
                ready.reconstruct(radiograph, resolution=resolution)  # what comes up once does not count
    for _ in range(repeats):
        for ready, row in rows:
            start = time.perf_counter()
            done = ready.reconstruct(radiograph, resolution=row["resolution"])
            row["seconds"].append(time.perf_counter() - start)
            row["stages"].append(done.summary["seconds"])
            row["summary"] = done.summary
            progress(f"{row['method']} at {row['resolution']} on {row['device']}: {row['seconds'][-1]:.2f} s")
    for ready, row in rows:
        summary, stages = row.pop("summary"), row.pop("stages")
        row["median_s"] = float(np.median(row["seconds"]))
        row["stages"] = {name: float(np.median([s[name] for s in stages])) for name in stages[0] if name != "total"}
        row["evaluations"] = summary["field"]["evaluations"]
        row["of_dense"] = summary["field"]["evaluations"] / summary["field"]["dense"]
        row |= {key: summary[key] for key in ("faces", "pieces", "genus", "self_intersections", "watertight")}
        row["whole_rays"] = knows_its_surface(ready, radiograph)
    return [row for _, row in rows]


def knows_its_surface(reconstructor: Reconstructor, radiograph: Radiograph) -> bool:
    """Whether the network gives whole rays in one pass, and with them points of its surface."""
    field = field_of(reconstructor.method, radiograph)[1]
    return len(field.surface_points(logit(TAU))) > 0


def field_of(method: str, radiograph: Radiograph) -> tuple[torch.nn.Module, OccupancyField]:
    """An installed network, and what it says of the film, on the CPU."""
    network = load_model(installed()[method].weights).network
    image = network_image(radiograph, network.config.image_size)
    return network, OccupancyField(network, [image], torch.device("cpu"))


def mesh_steps(radiograph: Radiograph, method: str, resolution: int, progress: Progress) -> dict:
    """The mesh after each step, at one resolution."""
    progress(f"{method} at {resolution}: the mesh, step by step")
    network, field = field_of(method, radiograph)
    rows = steps(field, radiograph, resolution, network.coarse_cells)
    return {"method": method, "resolution": resolution, "steps": rows}


# --- against plain generation -----------------------------------------------------------------------------------------


def generation(radiograph: Radiograph, resolution: int, repeats: int, progress: Progress) -> list[dict]:
    """From the film to marching cubes' mesh, and on to a simplified closed one, by each way of asking the field."""
    network = load_model(installed()[COMPARED].weights).network
    size, to_ras = network.config.image_size, radiograph.geometry.ray_cube_to_ras

    def ours():
        field = OccupancyField(network, [network_image(radiograph, size)], torch.device("cpu"))
        seeds = field.surface_points(logit(TAU))
        found = mise(field, resolution, network.coarse_cells, TAU, field.batch, seeds)
        return found.grid, found.evaluations

    def plain(way: Callable) -> Callable:
        return lambda: way(unfolded_field(network, network_image(radiograph, size)), resolution)

    ways = {"X2BR": ours, "classical MISE": plain(classical_mise), "dense": plain(dense)}
    rows = [{"way": way, "seconds": [], "whole_seconds": []} for way in ways]
    for turn in range(repeats + 1):
        for row in rows:
            start = time.perf_counter()
            grid, row["evaluations"] = ways[row["way"]]()
            mesh = extract(grid, TAU, to_ras)
            middle = time.perf_counter()
            mesh = make_watertight(simplify(drop_specks(mesh, SPECK_MM3), FACES))
            if turn:  # the first does not count
                row["seconds"].append(middle - start)
                row["whole_seconds"].append(time.perf_counter() - start)
                progress(f"{COMPARED}, {row['way']}: {row['seconds'][-1]:.2f} s")
            row["faces"] = len(mesh.faces)
    for row in rows:
        row["median_s"] = float(np.median(row["seconds"]))
        row["whole_median_s"] = float(np.median(row["whole_seconds"]))
        row["times_first"] = row["median_s"] / rows[0]["median_s"]
    return rows


@torch.inference_mode()
def decoders(radiograph: Radiograph, repeats: int, quick: bool, progress: Progress) -> list[dict]:
    """Microseconds a point of the decoder in several forms, what each changes, and what it costs to begin."""
    network, field = field_of(COMPARED, radiograph)
    image = network_image(radiograph, network.config.image_size)
    code = network.encode(torch.from_numpy(image)[None, None])
    points = torch.rand(POINTS_IN_A_CALL, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    folded = network.field(code)

    def compiled():
        function = torch.compile(in_one_piece(folded, torch.float32), dynamic=False)
        return lambda p: torch.cat([function(piece) for piece in p.chunk(_PIECES)])

    forms = {
        "as trained": lambda: lambda p: network.decode(code, p[None])[0],
        "folded": lambda: lambda p: torch.from_numpy(field(p.numpy())),
        "folded, bfloat16": lambda: on_cores(in_one_piece(folded, torch.bfloat16)),
        "folded, torch.compile": compiled,
    }
    if quick:
        del forms["folded, torch.compile"]
    truth, rows = forms["as trained"]()(points).sigmoid(), []
    for form, make in forms.items():
        start = time.perf_counter()
        try:
            function = make()
            answer = function(points).sigmoid()
        except Exception as error:  # no compiler on this machine, say
            rows.append({"form": form, "not_run": f"{type(error).__name__}"})
            continue
        begun = time.perf_counter() - start
        seconds = []
        for _ in range(repeats):
            start = time.perf_counter()
            function(points)
            seconds.append(time.perf_counter() - start)
        median = float(np.median(seconds))
        rows.append(
            {
                "form": form,
                "microseconds_a_point": 1e6 * median / len(points),
                "difference": float((answer - truth).abs().max()),
                "begin_s": max(begun - median, 0.0),
            }
        )
        progress(f"decoder, {form}: {rows[-1]['microseconds_a_point']:.2f} microseconds a point")
    return rows


def on_cores(function: Callable) -> Callable:
    """A function of points called as ours is: pieces that stay in the cache, each on one core."""
    return lambda points: torch.cat(each_on_a_core(function, points.chunk(_PIECES)))


# --- goals ------------------------------------------------------------------------------------------------------------


def goals(result: dict) -> list[dict]:
    """Which goals this run met; those that it did not measure are left out."""
    found = []

    def at_most(what: str, limit: float, value: float, unit: str) -> None:
        found.append({"goal": f"{what}: at most {limit:g} {unit}", "value": value, "met": value <= limit})

    for row in result["warm"]:
        name = f"{row['method']}, {row['resolution']}^3, warm"
        if row["device"] != "cpu":
            if row["resolution"] == 128:
                at_most(f"{name}, on {row['device']}", GOAL_CARD, row["median_s"], "s")
            continue
        if (limit := GOAL_SECONDS.get(row["resolution"])) is None:
            continue
        whole_rays = row["whole_rays"] and row["resolution"] == 128
        at_most(name, GOAL_WHOLE_RAYS if whole_rays else limit, row["median_s"], "s")
        if row["resolution"] == 128:
            at_most(f"{name}, evaluations", 100 * GOAL_EVALUATIONS, 100 * row["of_dense"], "% of the dense grid")
    for row in result["cold"]:
        if row["resolution"] not in GOAL_SECONDS:
            continue
        name = f"{row['method']}, {row['resolution']}^3"
        if row["resolution"] == 128:
            at_most(f"{name}, from process start to first mesh", GOAL_COLD, row["median_s"], "s")
        if row["peak_bytes"] is not None:
            at_most(f"{name}, peak memory", GOAL_BYTES / 2**30, row["peak_bytes"] / 2**30, "GiB")
    for row in [] if result["quick"] else result["peers"]:
        if (times := GOAL_TIMES.get(row["way"])) is not None:
            what = f"{COMPARED}: at least {times:g} times faster than {row['way']} with the decoder as trained"
            found.append({"goal": what, "value": row["times_first"], "met": row["times_first"] >= times})
    return found
