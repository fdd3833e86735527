"""``python -m Testing.fuzz``: go on with the campaign, and write its table. ``make fuzz`` is the same."""

from __future__ import annotations

import argparse
import datetime
import json
import sys
import time
from pathlib import Path

from . import campaign, report
from .readers import BY_NAME

#: What earlier runs did: a line each, so that a campaign may be run in pieces and goes on where it stopped.
_STATE = Path("out/fuzz/tallies.jsonl")


def main() -> int:
    """Run what is missing, as long as there is time, then write the table. 1 where there is a finding."""
    parser = argparse.ArgumentParser(prog="python -m Testing.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=119_300, help="of all readers together; default 119300")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop then; default when all is done")
    parser.add_argument("--only", default="", metavar="TEXT", help="readers whose name holds it")
    parser.add_argument("--again", action="store_true", help="forget what was done, of these readers")
    parser.add_argument("--state", type=Path, default=_STATE, help=f"default {_STATE}")
    parser.add_argument("--tests", action="store_true", help="also run the tests that the table counts")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write robustness.md and robustness.csv there")
    options = parser.parse_args()
    chosen = [name for name in BY_NAME if options.only in name]
    tallies = [t for t in read(options.state) if not (options.again and t["reader"] in chosen)]
    write(options.state, tallies)
    plan = {}
    for name, count in sorted(campaign.share(options.cases).items(), key=lambda item: -item[1]):  # the quick ones first
        done = max((t["first"] + t["cases"] for t in tallies if t["reader"] == name), default=0)
        if name in chosen and done < count:
            plan[name] = range(done, count)
    try:
        for tally in campaign.run(plan, time.monotonic() + options.seconds):
            tallies.append(tally.to_dict() | {"date": datetime.date.today().isoformat()})
            write(options.state, tallies)
            print(f"{tally.reader}: {tally.cases} cases, {dict(tally.kinds)}, {tally.seconds:.0f} s", file=sys.stderr)
            for finding in tally.findings[:10]:
                print(f"  case {finding['number']}: {finding['told']}", file=sys.stderr)
    finally:
        if options.tests:
            report.run_tests()
        if options.out:
            report.write(tallies, options.out)
    return int(any(tally["findings"] for tally in tallies))


def read(state: Path) -> list[dict]:
    """The tallies of earlier runs."""
    return [json.loads(line) for line in state.read_text().splitlines()] if state.is_file() else []


def write(state: Path, tallies: list[dict]) -> None:
    """Keep them."""
    state.parent.mkdir(parents=True, exist_ok=True)
    partial = state.with_suffix(".partial")
    partial.write_text("".join(json.dumps(tally) + "\n" for tally in tallies))
    partial.replace(state)


if __name__ == "__main__":
    sys.exit(main())
