"""The training loop: resumable to the exact step, on CUDA or on a CPU in bfloat16."""

from __future__ import annotations

import json
import math
import os
import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset
from tqdm import tqdm

from ..dataset.person import SHAPE_MODEL, learn_from
from ..dataset.subject import find_subjects
from ..errors import InputError
from ..networks import TAU, build, load_backbone, save_model
from ..networks.device import choose_device, device_of
from ..surface import logit
from .batches import Batches, BatchesOnTheFly, find_patients, load
from .calibration import best_offset
from .config import TrainingConfig

CHECKPOINT = "checkpoint.pt"
LOG = "log.jsonl"


def occupancy_loss(logits: Tensor, occupied: Tensor, known: Tensor) -> Tensor:
    """Binary cross-entropy, mean over the points of which the truth is known. All ``(B, N)``."""
    loss = functional.binary_cross_entropy_with_logits(logits.float(), occupied, weight=known, reduction="sum")
    return loss / known.sum().clamp(min=1.0)


def dice_loss(logits: Tensor, occupied: Tensor, known: Tensor) -> Tensor:
    """One minus the soft Dice coefficient over known points (Milletari et al., 3DV 2016), mean over images."""
    inside = torch.sigmoid(logits.float()) * known
    overlap = (inside * occupied).sum(1)
    return 1.0 - ((2.0 * overlap + 1.0) / (inside.sum(1) + (occupied * known).sum(1) + 1.0)).mean()


def learning_rate(config: TrainingConfig, step: int) -> float:
    """The rate at a step: linear warm-up, then constant or a half cosine to zero."""
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    if not config.decay:
        return config.learning_rate
    done = (step - config.warmup) / max(config.steps - config.warmup, 1)
    return config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * done))


def _autocast(device: torch.device):
    return torch.autocast(device.type, torch.bfloat16)


@torch.no_grad()
def validate(model: nn.Module, batches: Batches) -> dict[str, float]:
    """Loss, and IoU over known points at the threshold the mesh is cut at."""
    model.eval()
    device = device_of(model)
    loss, both, either = 0.0, 0.0, 0.0
    level = logit(TAU)
    for number in range(len(batches)):
        image, points, occupied, known = (part.to(device) for part in batches[number])
        with _autocast(device):
            logits = model(image, points)
        loss += float(occupancy_loss(logits, occupied, known))
        inside, truth = (logits.float() > level) & (known > 0), (occupied > 0) & (known > 0)
        both += float((inside & truth).sum())
        either += float((inside | truth).sum())
    model.train()
    return {"validation_loss": loss / len(batches), "validation_iou": both / max(either, 1.0)}


class _Checkpoint:
    """The state of a run in one file, replaced whole."""

    def __init__(self, path: Path):
        self._path = path

    def save(self, model, optimiser, step: int, config: TrainingConfig) -> None:
        state = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "step": step}
        partial = self._path.with_suffix(".partial")
        torch.save(state | {"architecture": config.architecture}, partial)
        os.replace(partial, self._path)

    def restore(self, model, optimiser, config: TrainingConfig) -> int:
        """Load the state if there is one; the step to go on from."""
        if not self._path.exists():
            return 0
        try:
            state = torch.load(self._path, map_location="cpu", weights_only=True)
            if state["architecture"] != config.architecture:
                raise InputError(f"{self._path} is of another architecture; give another out folder or delete it")
            model.load_state_dict(state["model"])
            optimiser.load_state_dict(state["optimiser"])
            return int(state["step"])
        except InputError:
            raise
        except Exception as error:  # torch raises many kinds for a damaged file
            raise InputError(
                f"cannot resume from {self._path} ({type(error).__name__}); delete it to start anew"
            ) from None


def _training_batches(config: TrainingConfig, files: list[Path], device: torch.device, settings: dict) -> Dataset:
    if config.on_the_fly is None:
        return Batches(files, **settings)
    folders = find_subjects(config.on_the_fly, config.exclude)
    model = learn_from(folders, config.out / SHAPE_MODEL)
    return BatchesOnTheFly(folders, model=model, device=device.type, **settings)


def train(config: TrainingConfig, device: str = "auto") -> Path:
    """Train, or go on from the checkpoint in ``config.out``; returns the weights file.

    Batches depend on the seed and the step alone, so an interrupted run goes on as if it had not been interrupted.

    Raises:
        InputError: no data, or a checkpoint that does not fit.
    """
    target = choose_device(device)
    training, validation = find_patients(config.data, config.validation, training=0 if config.on_the_fly else 1)
    config.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.seed)
    model = build(config.system, config.architecture, config.pretrained)
    if config.initial:
        load_backbone(model, config.initial)
    model = model.to(target, memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(model.parameters(), lr=config.learning_rate)
    checkpoint = _Checkpoint(config.out / CHECKPOINT)
    start = checkpoint.restore(model, optimiser, config)
    settings = {"batch": config.batch, "points": config.points}
    batches = _training_batches(config, training, target, settings | {"count": config.steps, "seed": config.seed})
    unseen = Batches(validation, count=max(1, 4 * len(validation) // config.batch), seed=config.seed + 1, **settings)
    loader = load(batches, start, config.workers)
    model.train()
    running = None
    progress = tqdm(loader, initial=start, total=config.steps, file=sys.stderr, desc="train", mininterval=5)
    for step, batch in enumerate(progress, start=start):
        image, points, occupied, known = (part.to(target, non_blocking=True) for part in batch)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(config, step)
        with _autocast(target):
            logits = model(image.contiguous(memory_format=torch.channels_last), points)
        loss = occupancy_loss(logits, occupied, known)
        if config.dice:
            loss = loss + config.dice * dice_loss(logits, occupied, known)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        value = float(loss.detach())
        running = value if running is None else 0.98 * running + 0.02 * value
        if (step + 1) % config.checkpoint_every == 0 or step + 1 == config.steps:
            checkpoint.save(model, optimiser, step + 1, config)
            record = {"step": step + 1, "loss": running, **validate(model, unseen)}
            with open(config.out / LOG, "a", encoding="utf-8") as log:
                log.write(json.dumps(record) + "\n")
            progress.set_postfix(loss=f"{running:.4f}", iou=f"{record['validation_iou']:.3f}")
    offset, dice = best_offset(model, validation)
    model.shift_logits(offset)
    weights = config.out / f"{config.system}.safetensors"
    save_model(model, weights, training=config.to_dict(), calibration={"offset": offset, "dice": dice})
    return weights
