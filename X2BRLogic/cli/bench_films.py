"""``x2br bench films``: reconstruction from real films, of which no truth is known."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import InputError
from .arguments import add_command, count, require, say

_EXAMPLES = """\
  x2br bench films FILMS --out Documentation/benchmarks
  x2br bench films FILMS --films 24 --disturbed 12 --out Documentation/benchmarks

What is measured is kept in films.json in the folder of the results: interrupted, the same command goes on."""


def add_to(group) -> None:
    """Add the action to ``x2br bench``."""
    command = add_command(
        group, "films", run, tell, "Real films: agreement with boxes and edges, symmetry, stability.", _EXAMPLES
    )
    command.add_argument("folder", type=Path, metavar="FILMS", help="frontal chest films; *.csv: file, view")
    command.add_argument("--films", type=count, metavar="N", help="evenly chosen; default all")
    command.add_argument("--disturbed", type=count, default=12, metavar="N", help="of them for stability; default 12")
    command.add_argument("--weights", type=Path, metavar="FILE", help="of the coarse mesh, instead of the installed")
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="for films.md, films.csv, films.json")


def run(options: argparse.Namespace) -> dict:
    """Measure, and write the page."""
    if options.out.exists() and not options.out.is_dir():  # said now, not after minutes of work
        raise InputError(f"{options.out} is a file; give a folder for the results")
    if not require(options.folder).is_dir():
        raise InputError(f"{options.folder} is a file; give a folder of films")
    from ..bench.films import run as measure
    from ..bench.films_report import write

    result = measure(options.folder, options.films, options.disturbed, options.weights, options.out, say)
    return result | {"out": write(result, options.out)}


def tell(result: dict) -> str:
    """The tables."""
    from ..bench.films_report import tables

    return "\n\n".join([tables(result), "\n".join(result["out"].values())])
