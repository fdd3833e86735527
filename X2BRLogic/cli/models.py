"""``x2br models``: what is installed."""

from __future__ import annotations

import argparse

from .arguments import add_command

_EXAMPLES = """\
  x2br models
  x2br models --json"""


def add_to(subparsers) -> None:
    """Add the sub-command."""
    add_command(subparsers, "models", run, tell, "List the installed models.", _EXAMPLES)


def run(options: argparse.Namespace) -> dict:
    """Every installed model with its size, hash and card."""
    from ..models import installed
    from ..networks.weights import file_sha256

    return {
        "models": [
            {
                "method": model.method,
                "weights": str(model.weights),
                "megabytes": round(model.weights.stat().st_size / 1e6, 2),
                "sha256": file_sha256(model.weights),
                "card": str(model.card) if model.card.is_file() else None,
                "architecture": model.header["architecture"],
            }
            for model in installed().values()
        ]
    }


def tell(result: dict) -> str:
    """The result in words."""
    if not result["models"]:
        return "no model is installed"
    return "\n".join(f"{m['method']:12} {m['megabytes']:6.2f} MB  {m['card'] or 'no card'}" for m in result["models"])
