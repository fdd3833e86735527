"""``python -m Testing.fuzz.guided``: libFuzzer guided by coverage, from the same whole files. Needs atheris from PyPI.

It learns which changes lead to new branches of the readers' Python code and goes on from there, which blind damage does
not. Linux or macOS; Python 3.11. Nothing of the readers may be imported before their branches are counted: so all
imports of theirs are in functions.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
#: Whose branches count.
_PACKAGES = ["X2BRLogic", "pydicom", "trimesh", "tomllib"]
#: What a run of each reader came to, for the table.
_STATE = _ROOT / "out" / "fuzz" / "guided.json"
_DONE = re.compile(r"#(\d+)\s+DONE\s+cov: (\d+)")


def main() -> int:
    """Run each chosen reader for some time; 1 where there is a finding."""
    parser = argparse.ArgumentParser(prog="python -m Testing.fuzz.guided", description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", metavar="TEXT", help="readers whose name holds it")
    parser.add_argument("--seconds", type=int, default=60, help="of each reader; default 60")
    parser.add_argument("--child", nargs=2, metavar=("READER", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return _fuzz(*options.child, options.seconds)
    from .readers import BY_NAME

    known = json.loads(_STATE.read_text()) if _STATE.is_file() else {}
    for name in (name for name in BY_NAME if options.only in name):
        known[name] = _run(name, options.seconds)
        print(f"{name}: {known[name]}", file=sys.stderr)
        _STATE.parent.mkdir(parents=True, exist_ok=True)
        _STATE.write_text(json.dumps(known, indent=1))
    return int(any(row["broken"] for row in known.values()))


def _run(name: str, seconds: int) -> dict:
    """One reader in a process that may crash: libFuzzer tells its figures on stderr."""
    with tempfile.TemporaryDirectory(prefix="x2br-guided-") as folder:
        arguments = ["--child", name, folder, "--seconds", str(seconds)]
        done = subprocess.run(
            [sys.executable, "-m", "Testing.fuzz.guided", *arguments], cwd=_ROOT, capture_output=True, text=True
        )
        found = Path(folder, "found")
        broken = found.read_text().splitlines() if found.is_file() else []
    end = _DONE.search(done.stderr)
    if end is None:
        broken.append(f"the process ended with {done.returncode}: {done.stderr[-300:]}")
    runs, cover = map(int, end.groups()) if end else (0, 0)
    return {"runs": runs, "cover": cover, "broken": len(broken), "seconds": seconds, "found": broken[:10]}


def _fuzz(name: str, folder: str, seconds: int) -> int:
    import atheris

    with atheris.instrument_imports(include=_PACKAGES):
        from .case import BROKEN, Cases
        from .readers import BY_NAME

        cases = Cases(BY_NAME[name], Path(folder, "cases"))
        cases.read_whole()
    corpus = Path(folder, "corpus")
    corpus.mkdir()
    path, _ = cases.originals()[0]
    for n, (file, content) in enumerate(cases.originals()):
        if file.suffix == path.suffix:
            (corpus / str(n)).write_bytes(content)

    def one(data: bytes) -> None:
        outcome = cases.judge(0, path, data)
        if outcome.kind == BROKEN:
            with open(Path(folder, "found"), "a", encoding="utf-8") as stream:
                stream.write(outcome.told + "\n")

    limits = ["-timeout=30", "-rss_limit_mb=8192", "-max_len=65536", "-close_fd_mask=0"]
    atheris.Setup([sys.argv[0], f"-max_total_time={seconds}", *limits, str(corpus)], one)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
