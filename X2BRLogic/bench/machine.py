"""Where and with what a benchmark ran."""

from __future__ import annotations

import datetime
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .. import __version__

_LIBRARIES = ("numpy", "numba", "SimpleITK", "torch", "plastimatch", "diffdrr", "nanodrr")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe() -> dict[str, str]:
    """Date, processor, cores, memory, accelerator, system and versions, in words."""
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "date": datetime.date.today().isoformat(),
        "processor": f"{_processor()}, {cores()} core(s)",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"
        if hasattr(os, "sysconf")
        else "unknown",
        "system": f"{platform.system()}, Python {platform.python_version()}",
        "versions": ", ".join([f"x2br {__version__}", *(f"{name} {v}" for name, v in found.items())]),
    }


def free_memory() -> int | None:
    """Bytes that a process may take now without harm to others, or ``None`` where the system does not say."""
    listed = Path("/proc/meminfo")
    if not listed.is_file():
        return None
    fields = dict(line.split(":", 1) for line in listed.read_text().splitlines())
    return int(fields["MemAvailable"].split()[0]) * 1024


def busy() -> float | None:
    """How many cores others kept busy over the last minute, or ``None`` where the system does not say."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def _processor() -> str:
    """The processor's name; the operating system's word for it where there is no /proc."""
    listed = Path("/proc/cpuinfo")
    if listed.is_file():
        fields = dict(line.partition(":")[::2] for line in listed.read_text().split("\n\n")[0].splitlines())
        fields = {key.strip(): value.strip() for key, value in fields.items()}
        if "model name" in fields:
            family = f"family {fields.get('cpu family', '?')}, model {fields.get('model', '?')}"
            return f"{fields['model name']} ({family})"
    return platform.processor() or platform.machine()
