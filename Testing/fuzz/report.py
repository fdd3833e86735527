"""The campaign as a page and a table for programs."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

from X2BRLogic.bench.machine import describe
from X2BRLogic.files import folder_written_whole, read_json

from .campaign import ROOT
from .case import BROKEN, MEMORY, READ, REFUSED, SECONDS
from .readers import BY_NAME

_HERE = Path(__file__).parent
#: Tests that are counted with the campaign, and the sentence for each of their groups.
_TESTS = {
    "core/test_broken_files.py": {
        "": "broken files through the command (cut, patched, absurd sizes, wrong kinds, bombs)"
    },
    "fuzz/test_circumstances.py": {
        "TestDecompressionBombs": "decompression bombs: PNG pixels and text, deflated DICOM, NPZ",
        "TestPathsThatLeadAway": "path traversal: detached voxels, names of bones and boxes, members of archives",
        "TestSymbolicLinks": "symbolic links: loops, to nowhere, as output, out of the folder",
        "TestEnormousHeaders": "enormous headers: NRRD, MetaImage, NIfTI, safetensors, JSON, TOML",
        "TestTwoAtOnce": "two runs into one folder",
        "TestFullAndReadOnlyDisks": "full disks, limits on file sizes, read-only disks",
        "TestNames": "names: unicode in both forms, emoji, right to left, line ends, 255 bytes, 1000 characters",
        "TestSystems": "decimal comma, locales, time zones, closed streams, no home, nowhere to keep kernels",
    },
}
_HEAD = f"""\
# Hostile and unlucky input

Written by `make fuzz`. Each case is one damaged file: bits, bytes, numbers in headers, lines and blocks are changed,
lost or doubled, also below packing and checksums (gzip, PNG chunks, deflated DICOM, ZIP, the JSON in safetensors); JSON
trees lose, swap and change their values. A case is a function of the reader and its number, so any can be run again. It
must be **read** or be **refused** with one sentence (`InputError`); anything else is **broken**: another exception, a
crash, words of a library on stderr, a file left behind, over {SECONDS:.0f} s, or over {MEMORY >> 30} GiB of memory.
"""


def write(tallies: list[dict], folder: Path) -> None:
    """Write ``robustness.md`` and ``robustness.csv``, with the tests as `run_tests` has found them."""
    with folder_written_whole(folder) as partial:
        rows = _rows(tallies)
        (partial / "robustness.csv").write_text(_as_csv(rows), encoding="utf-8")
        (partial / "robustness.md").write_text(_as_markdown(rows, _tested()), encoding="utf-8")


def _rows(tallies: list[dict]) -> list[dict]:
    rows = []
    for name in BY_NAME:
        mine = [tally for tally in tallies if tally["reader"] == name]
        kinds = sum((Counter(tally["kinds"]) for tally in mine), Counter())
        if mine:
            rows.append(
                {
                    "reader": name,
                    "cases": sum(kinds.values()),
                    **{kind: kinds[kind] for kind in (READ, REFUSED, BROKEN)},
                    "slowest_s": round(max(tally["slowest"] for tally in mine), 2),
                    "memory_mib": max(tally["peak"] for tally in mine) >> 20,
                    "seconds": round(sum(tally["seconds"] for tally in mine)),
                    "date": max(tally["date"] for tally in mine),
                }
            )
    return rows


def run_tests() -> None:
    """Run the tests that are counted with the cases."""
    for file in _TESTS:
        _report_of(file).parent.mkdir(parents=True, exist_ok=True)
        arguments = ["-q", "-n", "0", f"--junit-xml={_report_of(file)}", str(ROOT / "Testing" / file)]
        subprocess.run([sys.executable, "-m", "pytest", *arguments], cwd=ROOT, stdout=subprocess.DEVNULL, check=False)


def _report_of(file: str) -> Path:
    return ROOT / "out" / "fuzz" / f"{Path(file).stem}.xml"


def _tested() -> list[tuple[str, Counter]]:
    """How the counted tests end: passed, failed, skipped."""
    found = []
    for file, groups in _TESTS.items():
        if not _report_of(file).is_file():
            continue
        cases = list(ElementTree.parse(_report_of(file)).iter("testcase"))
        for group, told in groups.items():
            mine = [case for case in cases if not group or case.get("classname", "").endswith(group)]
            found.append((told, Counter(_ended(case) for case in mine)))
    return found


def _ended(case: ElementTree.Element) -> str:
    kinds = {child.tag for child in case}
    return "skipped" if "skipped" in kinds else "failed" if kinds & {"failure", "error"} else "passed"


def _as_csv(rows: list[dict]) -> str:
    out = io.StringIO()
    table = csv.DictWriter(out, list(rows[0]) if rows else ["reader"], lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return out.getvalue()


def _as_markdown(rows: list[dict], tested: list[tuple[str, Counter]]) -> str:
    total = Counter()
    for row in rows:
        total.update({kind: row[kind] for kind in ("cases", READ, REFUSED, BROKEN, "seconds")})
    slowest, most = max(row["slowest_s"] for row in rows), max(row["memory_mib"] for row in rows)
    lines = [
        _HEAD,
        *(f"- {name}: {value}" for name, value in describe().items()),
        "",
        f"**{total['cases']:,} cases: {total[READ]:,} read, {total[REFUSED]:,} refused, {total[BROKEN]} broken;** the "
        f"slowest took {slowest:.1f} s, the largest {most} MiB more than before.",
        "",
        "| reader | cases | read | refused | broken | slowest, s | memory, MiB | seconds | date |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    for row in rows:
        counts = " | ".join(f"{row[kind]:,}" for kind in ("cases", READ, REFUSED, BROKEN))
        lines.append(
            f"| {row['reader']} | {counts} | {row['slowest_s']:.2f} | {row['memory_mib']} | {row['seconds']} "
            f"| {row['date']} |"
        )
    lines += [
        "",
        "Circumstances, as tests of `make test`; a skipped one needs rights or a locale that the machine lacks:",
        "",
        "| what | cases | as it should | otherwise | skipped |",
        "|---|---:|---:|---:|---:|",
    ]
    for told, ended in tested:
        counts = f"{ended.total()} | {ended['passed']} | {ended['failed']} | {ended['skipped']}"
        lines.append(f"| {told} | {counts} |")
    lines += ["", *_guided(), "", (_HERE / "found.md").read_text(encoding="utf-8").rstrip()]
    return "\n".join(lines) + "\n"


def _guided() -> list[str]:
    """What `guided` has left: runs that follow coverage."""
    file = ROOT / "out" / "fuzz" / "guided.json"
    if not file.is_file():
        return ["Runs guided by coverage (atheris; `python -m Testing.fuzz.guided`) were not made for this page."]
    lines = [
        "Guided by coverage (atheris, libFuzzer; `python -m Testing.fuzz.guided`), from the same whole files:",
        "",
        "| reader | executions | branches reached | broken | seconds |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, row in read_json(file).items():
        lines.append(f"| {name} | {row['runs']:,} | {row['cover']:,} | {row['broken']} | {row['seconds']} |")
    return lines
