"""``x2br train``: a network from virtual patients, or a detector from their films."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

from ..errors import InputError
from .arguments import add_command, count

_EXAMPLES = """\
  x2br dataset virtual SUBJECTS out/virtual --count 1000
  x2br train X2BRLogic/training/configs/x2b.toml      (again after an interruption: it goes on)
  x2br train X2BRLogic/training/configs/x2b.toml --devices 4
  x2br train X2BRLogic/training/configs/compared/x2v.toml --exclude patient_07 --out out/compared/x2v
  torchrun --nnodes 2 --nproc-per-node 4 --rdzv-backend c10d --rdzv-endpoint HOST:29500 \\
    -m X2BRLogic train X2BRLogic/training/configs/x2b.toml

  x2br dataset boxes SUBJECTS out/boxes --count 340
  x2br train X2BRLogic/training/configs/yolov9t.toml  (a detector: writes yolov9t.onnx; needs ultralytics, AGPL-3.0)"""


def add_to(subparsers) -> None:
    """Add the sub-command."""
    command = add_command(
        subparsers, "train", run, tell, "Train a network; goes on from the last checkpoint if there is one.", _EXAMPLES
    )
    command.add_argument("config", type=Path, metavar="CONFIG", help="a TOML file; see X2BRLogic/training/configs")
    command.add_argument("--data", type=Path, metavar="DIR", help="virtual patients, instead of the configuration's")
    command.add_argument("--out", type=Path, metavar="DIR", help="for weights and logs, instead of the configuration's")
    command.add_argument(
        "--exclude", nargs="+", metavar="NAME", help="people to leave out, instead of the configuration's"
    )
    command.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default auto")
    command.add_argument(
        "--devices", type=count, default=1, metavar="N", help="GPUs, or processes on a CPU, of each node; default 1"
    )
    command.add_argument(
        "--nodes",
        type=count,
        default=1,
        metavar="N",
        help="computers, each running this with MASTER_ADDR, MASTER_PORT and NODE_RANK set; default 1",
    )


def run(options: argparse.Namespace) -> dict:
    """Train to the end of the configuration."""
    # Read when PyTorch is first imported. Threads that wait must not spin: the loader's processes need the cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from ..detection.config import is_detector

    instead = {name: getattr(options, name) for name in ("data", "out", "exclude") if getattr(options, name)}
    if is_detector(options.config):
        if instead:
            raise InputError(f"a detector takes no --{next(iter(instead))}; say it in {options.config}")
        if options.devices * options.nodes > 1:
            raise InputError("a detector trains on one device; leave out --devices and --nodes")
        return _run_detector(options)
    from ..networks import read_header
    from ..training.config import read_config
    from ..training.loop import train

    if "exclude" in instead:
        instead["exclude"] = tuple(instead["exclude"])
    weights = train(replace(read_config(options.config), **instead), options.device, options.devices, options.nodes)
    if weights is None:  # another process reports
        raise SystemExit(0)
    return {"weights": str(weights), **read_header(weights)["reached"]}


def _run_detector(options: argparse.Namespace) -> dict:
    from ..detection.config import read_detector_config
    from ..detection.export import export
    from ..detection.training import train_detector

    config = read_detector_config(options.config)
    return {"weights": str(export(train_detector(config, options.device), config.out)), "steps": config.steps}


def tell(result: dict) -> str:
    """The result in words."""
    return f"trained {result['steps']} steps: {result['weights']}"
