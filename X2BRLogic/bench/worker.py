"""The worker over a day's work: does its memory grow, is Cancel quick, and does anything stay behind."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from ..files import folder_written_whole
from ..models import resources
from ..radiograph import Radiograph, read_radiograph
from ..reconstruction import RESOLUTION
from ..worker import Cancelled, WorkerError, WorkerReconstructor
from .machine import describe

#: Jobs after which memory is looked at; the first of these is past what libraries keep of their first uses.
_LOOKS = (1, 10, 50, 100, 200, 300, 400, 500, 600, 700, 800, 900)
_SOAK_RESOLUTION = 64
_MIB = 2**20


def run(jobs: int, interruptions: int, device: str, seed: int, say: Callable[[str], None]) -> dict:
    """Reconstruct the sample radiograph `jobs` times; cancel, then kill, so many more at random moments.

    Raises `InputError` where there is no model for the default method.
    """
    radiograph = read_radiograph(resources() / "SampleData" / "chest_ap.png")
    with WorkerReconstructor(device=device) as reconstructor:
        soak = _soak(reconstructor, radiograph, jobs, say)
        length = _median_seconds(reconstructor, radiograph)
        moments = random.Random(seed)
        cancelled = [
            _interrupt(reconstructor, radiograph, moments.uniform(0, length), _cancel, say)
            for _ in range(interruptions)
        ]
        killed = [
            _interrupt(reconstructor, radiograph, moments.uniform(0, length), _kill, say) for _ in range(interruptions)
        ]
        folder = Path(reconstructor.worker.facts["folder"])
    return {
        "machine": describe(),
        "soak": soak,
        "cancelled": cancelled,
        "killed": killed,
        "goals": _goals(soak, cancelled, killed, left=folder.exists()),
    }


def _soak(reconstructor: WorkerReconstructor, radiograph: Radiograph, jobs: int, say) -> list[dict]:
    looks, start, pid = [], time.perf_counter(), None
    for job in range(1, jobs + 1):
        reconstructor.reconstruct(radiograph, resolution=_SOAK_RESOLUTION)
        if job in (*_LOOKS, jobs):
            process = psutil.Process(reconstructor.worker.facts["pid"])
            pid = pid or process.pid
            looks.append(
                {
                    "jobs": job,
                    "worker_mib": process.memory_info().rss / _MIB,
                    "host_mib": psutil.Process().memory_info().rss / _MIB,
                    "threads": process.num_threads(),
                    "files_in_folder": len(_files(reconstructor)),
                    "same_process": process.pid == pid,
                    "seconds": time.perf_counter() - start,
                }
            )
            say(f"{job} jobs: worker {looks[-1]['worker_mib']:.0f} MiB, host {looks[-1]['host_mib']:.0f} MiB")
    return looks


def _median_seconds(reconstructor: WorkerReconstructor, radiograph: Radiograph) -> float:
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        reconstructor.reconstruct(radiograph, resolution=RESOLUTION)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def _interrupt(reconstructor: WorkerReconstructor, radiograph: Radiograph, moment: float, how, say) -> dict:
    """One job at full resolution, ended by `how` at a moment; then whether anything is left and the next one works."""
    before = reconstructor.worker.facts["pid"]
    job = reconstructor.submit(radiograph, resolution=RESOLUTION)
    time.sleep(moment)
    start = time.perf_counter()
    how(job, reconstructor)
    with suppress(Cancelled, WorkerError):
        job.wait()
    seconds = time.perf_counter() - start
    reconstructor.reconstruct(radiograph, resolution=_SOAK_RESOLUTION)
    row = {
        "at_s": moment,
        "ended_after_s": seconds,
        "state": job.state,
        "same_process": reconstructor.worker.facts["pid"] == before,
        "files_left": len(_files(reconstructor)),
    }
    say(f"{how.__name__[1:]} at {moment:.2f} s: {job.state} after {seconds:.3f} s")
    return row


def _cancel(job, reconstructor: WorkerReconstructor) -> None:
    job.cancel()


def _kill(job, reconstructor: WorkerReconstructor) -> None:
    psutil.Process(reconstructor.worker.facts["pid"]).kill()


def _files(reconstructor: WorkerReconstructor) -> list[Path]:
    """What is in the private folder, besides its lock."""
    return [path for path in Path(reconstructor.worker.facts["folder"]).iterdir() if path.name != "lock"]


def _goals(soak: list[dict], cancelled: list[dict], killed: list[dict], left: bool) -> list[dict]:
    first = next((look for look in soak if look["jobs"] >= 100), soak[0])
    growth = soak[-1]["worker_mib"] / first["worker_mib"]
    slowest = max((row["ended_after_s"] for row in cancelled), default=0.0)
    files = sum(row["files_left"] for row in cancelled + killed) + soak[-1]["files_in_folder"] + left
    return [
        {
            "goal": f"memory after {soak[-1]['jobs']} jobs, times that after {first['jobs']}: under 1.05",
            "value": growth,
            "met": growth < 1.05,
        },
        {"goal": "one process for all jobs", "value": 1, "met": all(look["same_process"] for look in soak)},
        {"goal": "seconds to the end of a cancelled job, at most: 1", "value": slowest, "met": slowest <= 1.0},
        {"goal": "files and folders left behind: 0", "value": files, "met": files == 0},
    ]


def write(result: dict, folder: Path) -> dict[str, str]:
    """Write ``worker.md``; its path. Raises `InputError` where it cannot."""
    with folder_written_whole(folder) as partial:
        (partial / "worker.md").write_text(as_markdown(result), encoding="utf-8")
    return {"worker.md": str(folder / "worker.md")}


def as_markdown(result: dict) -> str:
    """The page."""
    page = ["# The worker: memory, Cancel, and what stays behind", "", "Written by `x2br bench worker`.", ""]
    page += [f"- {key}: {value}" for key, value in result["machine"].items()]
    page += ["", tables(result), ""]
    return "\n".join(page)


def tables(result: dict) -> str:
    """The goals and the tables, Markdown."""
    lines = [f"- {g['goal']}: {g['value']:.3g}, {'met' if g['met'] else 'not met'}" for g in result["goals"]]
    lines += [
        "",
        f"The sample radiograph at {_SOAK_RESOLUTION} cells, one job after the other through one worker:",
        "",
        "| jobs | worker, MiB | host, MiB | threads | files left | seconds |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {row['jobs']} | {row['worker_mib']:.0f} | {row['host_mib']:.0f} | {row['threads']} "
        f"| {row['files_in_folder']} | {row['seconds']:.0f} |"
        for row in result["soak"]
    ]
    for title, key in (("Cancelled", "cancelled"), ("Killed (kill -9)", "killed")):
        lines += [
            "",
            f"{title} at random moments of a job at {RESOLUTION} cells; after each, another job is done:",
            "",
            "| at, s | ended after, s | state | process goes on | files left |",
            "|---:|---:|---|---|---:|",
        ]
        lines += [
            f"| {row['at_s']:.2f} | {row['ended_after_s']:.3f} | {row['state']} "
            f"| {'yes' if row['same_process'] else 'no, a new one'} | {row['files_left']} |"
            for row in result[key]
        ]
    return "\n".join(lines)
