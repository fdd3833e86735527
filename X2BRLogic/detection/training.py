"""Training a detector with ultralytics' architecture and loss: resumable to the exact step, no network, any device.

The loop is ours: ultralytics' own trainer has no bfloat16 on processors, wants fonts and checks from the network, and
counts on pictures that may be mirrored. The films are in its layout, so that its trainer can be used on them as well.
"""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from ..errors import InputError
from ..files import written_whole
from ..networks.device import choose_device
from ..training.checkpoint import CHECKPOINT
from ..training.record import LOG
from ..training.schedule import learning_rate
from .architecture import build
from .batches import FilmBatches
from .config import DetectorConfig
from .yolo_layout import TRAIN, VALIDATION

#: Weights of the parts of ultralytics' loss: place, class, and distribution of the edges; its defaults.
_GAINS = {"box": 7.5, "cls": 0.5, "dfl": 1.5}
_GRADIENT = 10.0


def train_detector(config: DetectorConfig, device: str = "auto") -> Path:
    """Train, or go on from the checkpoint in ``config.out``; returns the checkpoint, for `export.export`.

    Raises:
        InputError: ultralytics is not installed, there is no data, or a checkpoint does not fit.
    """
    target = choose_device(device)
    config.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.seed)
    model = build(config.system).to(target, memory_format=torch.channels_last)
    model.args = SimpleNamespace(**_GAINS)
    average = copy.deepcopy(model).requires_grad_(False)
    optimiser = torch.optim.AdamW(_groups(model, config.weight_decay), lr=config.learning_rate, fused=True)
    checkpoint = config.out / CHECKPOINT
    start = _restore(checkpoint, model, average, optimiser, config)
    unseen = FilmBatches(
        config.data, VALIDATION, size=config.size, batch=config.batch, seed=0, varied=False,
        count=-(-config.validation // config.batch),
    )  # fmt: skip
    progress = tqdm(_steps(config, start), initial=start, total=config.steps, file=sys.stderr, mininterval=5)
    running = None
    model.train()
    for step, batch in enumerate(progress, start=start):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(config, step)
        loss = _loss(model, batch, target)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), _GRADIENT)
        optimiser.step()
        _average(average, model, min(config.averaging, (step + 1) / (step + 10)))
        value = float(loss.detach()) / config.batch
        running = value if running is None else 0.98 * running + 0.02 * value
        if (step + 1) % config.checkpoint_every == 0 or step + 1 == config.steps:
            _save(checkpoint, model, average, optimiser, step + 1, config)
            record = {"step": step + 1, "loss": running, "validation_loss": _validate(average, unseen, target)}
            with open(config.out / LOG, "a", encoding="utf-8") as log:
                log.write(json.dumps(record) + "\n")
            progress.set_postfix({name: f"{record[name]:.3f}" for name in ("loss", "validation_loss")})
    return checkpoint


def _steps(config: DetectorConfig, start: int) -> Iterator[dict[str, Tensor]]:
    """The batches from step `start` on. Films that came meanwhile are taken up at each checkpoint."""
    turn = round(config.small * config.steps)
    while start < config.steps:
        end = min(config.steps, (start // config.checkpoint_every + 1) * config.checkpoint_every)
        end = turn if start < turn < end else end
        batches = FilmBatches(
            config.data, TRAIN, size=config.small_size if start < turn else config.size, batch=config.batch,
            count=config.steps, seed=config.seed, varied=True,
        )  # fmt: skip
        yield from DataLoader(Subset(batches, range(start, end)), batch_size=None, num_workers=config.workers)
        start = end


def _loss(model: nn.Module, batch: dict[str, Tensor], device: torch.device) -> Tensor:
    """Ultralytics' loss, summed over the batch; the network in bfloat16, the loss in float32."""
    batch = {name: value.to(device, non_blocking=True) for name, value in batch.items()}
    with torch.autocast(device.type, torch.bfloat16):
        found = model(batch["img"].contiguous(memory_format=torch.channels_last))
    if isinstance(found, tuple):  # of a network in evaluation mode
        found = found[1]
    parts, _ = model.loss(batch, {k: v.float() if isinstance(v, Tensor) else v for k, v in found.items()})
    return parts.sum()


@torch.no_grad()
def _validate(average: nn.Module, unseen: FilmBatches, device: torch.device) -> float:
    average.eval()
    loss, films = 0.0, 0
    for number in range(len(unseen)):
        batch = unseen[number]
        loss, films = loss + float(_loss(average, batch, device)), films + len(batch["img"])
    return loss / films


@torch.no_grad()
def _average(average: nn.Module, model: nn.Module, keep: float) -> None:
    """The exponential mean of the weights, and of the normalisations' statistics."""
    pairs = zip(average.state_dict().values(), model.state_dict().values(), strict=True)
    means, values = zip(*(pair for pair in pairs if pair[0].is_floating_point()), strict=True)
    torch._foreach_lerp_(means, values, 1.0 - keep)


def _groups(model: nn.Module, decay: float) -> list[dict]:
    """Kernels decay; biases and the scales of normalisations do not."""
    wanted = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in wanted if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in wanted if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _save(path: Path, model, average, optimiser, step: int, config: DetectorConfig) -> None:
    state = {"model": model.state_dict(), "average": average.state_dict(), "optimiser": optimiser.state_dict()}
    with written_whole(path) as partial:
        torch.save(state | {"step": step, "config": config.to_dict()}, partial)


def _restore(path: Path, model, average, optimiser, config: DetectorConfig) -> int:
    """Load the state if there is one; the step to go on from."""
    if not path.exists():
        return 0
    state = read_checkpoint(path)
    if state["config"]["system"] != config.system:
        raise InputError(f"{path} is of {state['config']['system']}; give another out folder or delete it")
    try:
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
    except (RuntimeError, ValueError):
        raise InputError(f"{path} does not fit {config.system}; delete it to start anew") from None
    return int(state["step"])


def read_checkpoint(path: Path) -> dict:
    """The state of a run. Raises `InputError` where the file holds none."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if not {"model", "average", "optimiser", "step", "config"} <= set(state):
            raise KeyError("state")
        return state
    except Exception as error:  # torch raises many kinds for a damaged file
        raise InputError(f"cannot resume from {path} ({type(error).__name__}); delete it to start anew") from None
