"""``x2br bench register``: is it equal to the author's program, is it as fast, and how does it grow."""

from __future__ import annotations

import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import trimesh

from ..errors import InputError
from ..files import reason, require_file
from ..registration import DEFAULTS, Registration, Settings, register, warm_up
from ..registration.distance import symmetric_distance
from ..registration.files import read_shape
from ..surface import simplify
from . import machine

Progress = Callable[[str], None]

#: How near, and how fast, ours must be: distance over the reference's, displacement over the diagonal, time over time.
GOALS = {"distance_ratio": 1.05, "apart_share": 0.02, "time_ratio": 1.0}
#: Vertices of the shapes over which growth is measured.
_SIZES = (2_000, 6_000, 20_000, 60_000, 200_000)
#: Above so many vertices CPD takes Nystrom's products: its exact sums grow with the square.
_LARGE = 10_000

_LETTERS = {
    "w": ("omega", float), "b": ("beta", float), "l": ("lambda_", float), "g": ("gamma", float), "k": ("kappa", float),
    "J": ("nystrom_p", int), "K": ("nystrom_g", int), "u": ("normalise", str), "D": ("downsample", str),
    "c": ("tolerance", float), "n": ("iterations", int), "N": ("minimum_iterations", int), "r": ("seed", int),
    "d": ("local_sigmas", float), "e": ("local_radius", float), "f": ("local_below", float), "z": ("epsilon", float),
    "T": ("transformation", str),
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A pair of shapes, the options given to the author's program, and what that made of them."""

    name: str
    moving: trimesh.Trimesh
    fixed: trimesh.Trimesh
    options: list[str]
    tau: float
    deformed: np.ndarray
    seconds: float

    @property
    def method(self) -> str:
        """GBCPD, or GBCPD++ where the program was told to thin the shapes."""
        return "gbcpd++" if any(option.startswith("-D") for option in self.options) else "gbcpd"

    @property
    def settings(self) -> Settings:
        """The program's options as ours; what they leave out is what the program presets."""
        found = {"omega": 0.0, "beta": 2.0, "lambda_": 2.0, "tolerance": 1e-4, "local": "-p" in self.options}
        for option in self.options:
            if option != "-p":
                name, kind = _LETTERS[option[1]]
                found[name] = kind(option[2:])
        return Settings(**found, tau=self.tau)


def read_cases(folder: Path) -> list[Case]:
    """The reference cases in `folder`, the smallest first. Raises `InputError` for none, or a broken one."""
    cases = []
    for file in sorted(folder.glob("*/case.json")):
        try:
            record = json.loads(file.read_text(encoding="utf-8"))
            case = Case(
                name=record["name"],
                moving=read_shape(file.with_name("moving.ply")),
                fixed=read_shape(file.with_name("fixed.ply")),
                options=record["options"],
                tau=record["geodesic_tau"],
                deformed=np.load(file.with_name("deformed.npy")).astype(np.float64),
                seconds=statistics.median(record["optimisation_seconds"]),
            )
        except (KeyError, ValueError, OSError) as error:
            raise InputError(f"{file.parent} is no reference case ({reason(error)}); copy it again") from None
        cases.append(case)
    if not cases:
        raise InputError(f"there are no reference cases in {folder}; give --reference the folder that holds them")
    return sorted(cases, key=lambda case: len(case.moving.vertices))


def run(reference: Path, program: Path | None, quick: bool, progress: Progress) -> dict:
    """Measure everything; a JSON-ready dict.

    Args:
        reference: the folder of reference cases.
        program: the author's program, to run beside ours; its recorded times and results else.
        quick: the two smallest cases, once each, and growth to 6,000 vertices: to see that all runs.
    """
    cases = read_cases(reference)
    if program:
        program = require_file(program).resolve()
    progress(f"compiled kernels ready in {(warming := warm_up()):.2f} s")
    runs = 1 if quick else 3
    chosen = cases[:2] if quick else cases
    rows = [_compared(case, program, runs, progress) for case in chosen]
    return {
        "schema": "x2br-bench-register-1",
        "machine": machine.describe(),
        "load_before": machine.busy(),
        "quick": quick,
        "live": program is not None,
        "warm_up_s": warming,
        "cases": rows,
        "goals": _goals(rows),
        "methods": [row for case in chosen for row in _methods(case, progress)],
        "growth": _growth(cases[-1], _SIZES[:2] if quick else _SIZES, progress),
    }


def _compared(case: Case, program: Path | None, runs: int, progress: Progress) -> dict:
    """Ours beside the program on one case; medians of `runs`, taken in turn."""
    ours, busy, theirs, deformed = [], [], [], case.deformed
    for _ in range(runs):
        start = time.process_time()
        result = register(case.moving, case.fixed, case.method, case.settings)
        busy.append(time.process_time() - start)
        ours.append(result.seconds)
        if program:
            deformed, seconds = run_program(program, case)
            theirs.append(seconds)
    fixed = case.fixed.vertices
    diagonal = float(np.linalg.norm(np.ptp(fixed, axis=0)))
    distance, reference = symmetric_distance(result.vertices, fixed), symmetric_distance(deformed, fixed)
    seconds, reference_seconds = statistics.median(ours), statistics.median(theirs or [case.seconds])
    progress(f"{case.name}: {seconds:.2f} s against {reference_seconds:.2f} s")
    return {
        "case": case.name,
        "vertices": len(case.moving.vertices),
        "distance_before_mm": symmetric_distance(case.moving.vertices, fixed),
        "distance_mm": distance,
        "reference_distance_mm": reference,
        "distance_ratio": distance / reference,
        "apart_mm": float(np.linalg.norm(result.vertices - deformed, axis=1).mean()),
        "apart_share": float(np.linalg.norm(result.vertices - deformed, axis=1).mean()) / diagonal,
        "iterations": result.iterations,
        "seconds": ours,
        "median_s": seconds,
        "processor_s": statistics.median(busy),
        "reference_s": reference_seconds,
        "time_ratio": seconds / reference_seconds,
        "stages": result.stages,
    }


def run_program(program: Path, case: Case) -> tuple[np.ndarray, float]:
    """The author's program on a case: deformed vertices, and its own count of seconds without files.

    Raises `InputError` where it does not run.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savetxt(folder / "x.txt", case.fixed.vertices, fmt="%.9g", delimiter="\t")
        np.savetxt(folder / "y.txt", case.moving.vertices, fmt="%.9g", delimiter="\t")
        np.savetxt(folder / "faces.txt", case.moving.faces + 1, fmt="%d", delimiter="\t")
        command = [str(program), "-x", "x.txt", "-y", "y.txt", "-o", "o_", "-q", "-s0", *case.options]
        command.append(f"-Ggeodesic,{case.tau},faces.txt")
        try:
            subprocess.run(
                [*command, f"-Ggeodesic,{case.tau},faces.txt"],
                cwd=folder,
                check=True,
                capture_output=True,
                timeout=1800,
            )
            # Lines of wall and processor seconds: kernel, downsampling, iterations, interpolation; then the files.
            times = np.array((folder / "o_comptime.txt").read_text().split(), dtype=float).reshape(-1, 2)
            return np.loadtxt(folder / "o_y.txt"), float(times[:4, 0].sum())
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            raise InputError(f"{program} did not run as bcpd does ({reason(error)}); build it again") from None


def _goals(rows: list[dict]) -> list[dict]:
    words = {
        "distance_ratio": "mean distance to the target, times the reference's",
        "apart_share": "mean distance of vertices to the reference's, share of the diagonal",
        "time_ratio": "wall time, times the reference's",
    }
    worst = {name: max(row[name] for row in rows) for name in GOALS}
    return [
        {"goal": f"{words[name]}: at most {most:g}", "value": worst[name], "met": worst[name] <= most}
        for name, most in GOALS.items()
    ]


def _methods(case: Case, progress: Progress) -> list[dict]:
    """The case's own method and settings beside the other methods with theirs."""
    cpd = DEFAULTS["cpd"]
    if len(case.moving.vertices) > _LARGE:
        cpd = replace(cpd, nystrom_p=300, local_below=0.2)
    rows = []
    for method, settings in ((case.method, case.settings), ("cpd", cpd), ("ndp", DEFAULTS["ndp"])):
        result: Registration = register(case.moving, case.fixed, method, settings)
        distance = symmetric_distance(result.vertices, case.fixed.vertices)
        progress(f"{case.name}, {method}: {distance:.2f} mm in {result.seconds:.1f} s")
        rows.append(
            {
                "case": case.name,
                "method": method,
                "distance_mm": distance,
                "seconds": result.seconds,
                "iterations": result.iterations,
                "reason": result.reason,
            }
        )
    return rows


def _growth(case: Case, sizes: tuple[int, ...], progress: Progress) -> list[dict]:
    """GBCPD++ with the case's settings on its shapes made of fewer and of more vertices; medians of three."""
    rows = []
    for size in sizes:
        moving, fixed = resized(case.moving, size), resized(case.fixed, size)
        runs = [register(moving, fixed, "gbcpd++", case.settings) for _ in range(3)]
        seconds = [result.seconds for result in runs]
        progress(f"{len(moving.vertices):,} vertices: {statistics.median(seconds):.2f} s")
        rows.append(
            {
                "vertices": len(moving.vertices),
                "median_s": statistics.median(seconds),
                "iterations": runs[0].iterations,
                "stages": runs[0].stages,
            }
        )
    return rows


def resized(mesh: trimesh.Trimesh, vertices: int) -> trimesh.Trimesh:
    """The same surface with about so many vertices."""
    while len(mesh.vertices) < vertices:
        mesh = trimesh.Trimesh(*trimesh.remesh.subdivide(mesh.vertices, mesh.faces), process=False)
    return simplify(mesh, 2 * vertices)
