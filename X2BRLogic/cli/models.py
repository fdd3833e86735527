"""``x2br models``: what is installed."""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import add_command

_EXAMPLES = """\
  x2br models
  x2br models --json"""


def add_to(subparsers) -> None:
    """Add the sub-command."""
    add_command(subparsers, "models", run, tell, "List the installed models.", _EXAMPLES)


def run(options: argparse.Namespace) -> dict:
    """Every installed model and detector with its size, hash and card."""
    from ..detection import weights as detectors
    from ..models import installed

    return {
        "models": [
            {"method": model.method, **_about(model.weights), "architecture": model.header["architecture"]}
            for model in installed().values()
        ],
        "detectors": [{"detector": file.stem, **_about(file)} for file in detectors.installed()],
    }


def _about(weights: Path) -> dict:
    from ..networks.weights import file_sha256

    card = weights.with_suffix(".md")
    return {
        "weights": str(weights),
        "megabytes": round(weights.stat().st_size / 1e6, 2),
        "sha256": file_sha256(weights),
        "card": str(card) if card.is_file() else None,
    }


def tell(result: dict) -> str:
    """The result in words."""
    lines = [(m["method"], m) for m in result["models"]]
    lines += [(d["detector"], d) for d in result["detectors"]]
    if not lines:
        return "no model is installed"
    return "\n".join(f"{name:12} {m['megabytes']:6.2f} MB  {m['card'] or 'no card'}" for name, m in lines)
