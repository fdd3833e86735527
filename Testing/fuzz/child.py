"""``python -m Testing.fuzz.child FOLDER``: cases in a process that may crash; their outcomes on stdout."""

import faulthandler
import json
import os
import resource
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import psutil

from .case import MEMORY, Cases
from .readers import BY_NAME

#: Address space beyond what the libraries take: allocations that are absurd fail at once.
_ROOM = 4 * MEMORY


def main(folder: str) -> None:
    """Run what is planned: ``[[reader, first number, count], ...]``."""
    plan = json.load(sys.stdin)
    told = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    faulthandler.enable()
    for n, (name, first, count) in enumerate(plan):
        tempfile.tempdir = None
        cases = Cases(BY_NAME[name], Path(folder, str(n)))
        cases.read_whole()
        if sys.platform == "linux":
            limit = psutil.Process().memory_info().vms + _ROOM
            resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
        told.write("ready\n")
        for number in range(first, first + count):
            told.write(json.dumps(asdict(cases.run(number))) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
