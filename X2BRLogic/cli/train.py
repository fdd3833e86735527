"""``x2br train``: a network from virtual patients, or a detector from their films."""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import add_command

_EXAMPLES = """\
  x2br dataset virtual SUBJECTS out/virtual --count 1000
  x2br train X2BRLogic/training/configs/x2b.toml      (again after an interruption: it goes on)

  x2br dataset boxes SUBJECTS out/boxes --count 340
  x2br train X2BRLogic/training/configs/yolov9t.toml  (a detector: writes yolov9t.onnx; needs ultralytics, AGPL-3.0)"""


def add_to(subparsers) -> None:
    """Add the sub-command."""
    command = add_command(
        subparsers, "train", run, tell, "Train a network; goes on from the last checkpoint if there is one.", _EXAMPLES
    )
    command.add_argument("config", type=Path, metavar="CONFIG", help="a TOML file; see X2BRLogic/training/configs")
    command.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default auto")


def run(options: argparse.Namespace) -> dict:
    """Train to the end of the configuration."""
    from ..detection.config import is_detector

    if is_detector(options.config):
        return _run_detector(options)
    from ..training.config import read_config
    from ..training.loop import train

    config = read_config(options.config)
    return {"weights": str(train(config, options.device)), "steps": config.steps}


def _run_detector(options: argparse.Namespace) -> dict:
    from ..detection.config import read_detector_config
    from ..detection.export import export
    from ..detection.training import train_detector

    config = read_detector_config(options.config)
    return {"weights": str(export(train_detector(config, options.device), config.out)), "steps": config.steps}


def tell(result: dict) -> str:
    """The result in words."""
    return f"trained {result['steps']} steps: {result['weights']}"
