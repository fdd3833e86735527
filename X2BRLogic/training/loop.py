"""The training loop: resumable to the exact step, on CUDA or CPUs, in bfloat16, in one process or many."""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from ..dataset.person import SHAPE_MODEL, learn_from
from ..dataset.subject import find_subjects
from ..errors import InputError
from ..files import only_writer
from ..networks import Batch, build, load_initial, save_model
from .batches import Batches, BatchesOnTheFly, find_patients, load
from .calibration import best_offset, best_offsets
from .checkpoint import CHECKPOINT, Checkpoint, Progress
from .config import TrainingConfig
from .fusion import fit_fusion
from .launch import launch
from .record import Bar, Record
from .schedule import learning_rate
from .validation import in_bfloat16, validate


class _Loss(nn.Module):
    """A network's loss as a forward pass, which is what distributed training follows.

    The bfloat16 is ours: Fabric's would round the places of the points, too.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, **parts: Tensor) -> Tensor:
        batch = Batch(**parts)
        with in_bfloat16(batch.image.device):
            return self.network.loss(batch)


def train(config: TrainingConfig, device: str = "auto", devices: int = 1, nodes: int = 1) -> Path | None:
    """Train, or go on from the checkpoint in ``config.out``.

    Batches and everything else that is random depend on the seed, the step and the process alone, so an interrupted
    run goes on as if it had not been interrupted (where time ends it, up to the clock).

    Args:
        device, devices, nodes: see `launch.launch`.

    Returns:
        The weights file: of the best validation, calibrated. In all processes but the first, ``None``.

    Raises:
        InputError: no data, a checkpoint that does not fit, another run in the same folder, a loss that is no number.
    """
    fewest = 0 if config.on_the_fly else 1
    training, validation = find_patients(config.data, config.validation, fewest, config.exclude)
    fabric = launch(device, devices, nodes)
    config.out.mkdir(parents=True, exist_ok=True)
    with only_writer(config.out) if fabric.is_global_zero else nullcontext():
        checkpoint = _prepare(config, fabric)
        settings = {"batch": config.batch, "points": config.points, "lateral": config.lateral}
        with fabric.rank_zero_first():  # which learns and writes what the others read
            batches = _training_batches(config, fabric, training, settings)
        unseen = Batches(
            validation, count=max(1, 4 * len(validation) // config.batch), seed=config.seed + 1, **settings
        )
        _run(config, fabric, checkpoint, batches, unseen)
        return _finish(config, checkpoint, validation) if fabric.is_global_zero else None


def _prepare(config: TrainingConfig, fabric) -> Checkpoint:
    """Network and optimiser on their device, as they were when the run was interrupted."""
    torch.manual_seed(config.seed)
    network = build(config.system, config.architecture, config.pretrained)
    if config.initial:
        load_initial(network, config.initial)
    network = network.to(fabric.device, memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(network.parameters(), lr=config.learning_rate, fused=True)
    checkpoint = Checkpoint(config.out / CHECKPOINT, network, optimiser, config.architecture)
    checkpoint.restore()
    return checkpoint


def _training_batches(config: TrainingConfig, fabric, files: list[Path], settings: dict) -> Dataset:
    settings = settings | {
        "count": config.steps * fabric.world_size,
        "seed": config.seed,
        "movement": config.movement,
    }
    if config.on_the_fly is None:
        return Batches(files, **settings)
    folders = find_subjects(config.on_the_fly, config.exclude)
    model = learn_from(folders, config.out / SHAPE_MODEL)
    return BatchesOnTheFly(folders, model=model, device=str(fabric.device), **settings)


def _done(config: TrainingConfig, progress: Progress) -> float:
    """The part of the run that is over: of its time where that is given, else of its steps."""
    return progress.seconds / (60.0 * config.minutes) if config.minutes else progress.step / config.steps


def _ended(config: TrainingConfig, progress: Progress) -> bool:
    exhausted = config.patience is not None and progress.stale >= config.patience
    return exhausted or progress.step >= config.steps or _done(config, progress) >= 1.0


def _run(config: TrainingConfig, fabric, checkpoint: Checkpoint, batches: Dataset, unseen: Batches) -> None:
    """Steps, and at intervals validation and checkpoint, until the run has ended."""
    if _ended(config, checkpoint.progress):
        return
    rank, world = fabric.global_rank, fabric.world_size
    model, optimiser = fabric.setup(_Loss(checkpoint.network), checkpoint.optimiser, move_to_device=False)
    model.train()
    progress = checkpoint.progress
    numbers = range(progress.step * world + rank, len(batches), world)
    record = Record(config.out, progress.step) if fabric.is_global_zero else None
    bar = Bar(config.steps, config.minutes, progress, shown=fabric.is_global_zero)
    losses = []
    mark = time.monotonic()
    for batch in load(batches, numbers, config.workers):
        rate = learning_rate(config, progress.step, _done(config, progress) if config.minutes else None)
        for group in optimiser.param_groups:
            group["lr"] = rate
        # What a network draws at random follows from the step, too.
        torch.manual_seed(int(np.random.SeedSequence((config.seed, progress.step, rank)).generate_state(1)[0]))
        loss = model(**vars(batch.to(fabric.device)))
        optimiser.zero_grad(set_to_none=True)
        fabric.backward(loss)
        optimiser.step()
        losses.append(loss.detach())
        progress.step += 1
        progress.seconds += time.monotonic() - mark
        mark = time.monotonic()
        if config.minutes and world > 1:  # so that all stop together
            progress.seconds = fabric.broadcast(progress.seconds)
        bar.show(progress)
        if progress.step % config.checkpoint_every and not _ended(config, progress):
            continue
        mean = float(fabric.all_reduce(torch.stack(losses).mean()))
        losses.clear()
        if not math.isfinite(mean):
            raise InputError(f"the loss is no longer a number at step {progress.step}; lower learning_rate")
        if record:
            scores = {"loss": mean, "learning_rate": rate, **validate(checkpoint.network, unseen)}
            if progress.judged(scores["validation_iou"]):
                checkpoint.keep_best()
            checkpoint.save()
            record.add(progress.step, scores)
            bar.tell(loss=f"{mean:.4f}", iou=f"{scores['validation_iou']:.3f}")
        progress.stale = fabric.broadcast(progress.stale)
        mark = time.monotonic()
        if _ended(config, progress):
            break
    bar.close()
    if record:
        record.close()


def _finish(config: TrainingConfig, checkpoint: Checkpoint, validation: list[Path]) -> Path:
    """The weights of the best validation, calibrated, in a file."""
    network, progress = checkpoint.network, checkpoint.progress
    network.load_state_dict(checkpoint.best)
    offset, dice = best_offset(network, validation, lateral=config.lateral > 0)
    network.shift_logits(offset)
    calibration = {"offset": offset, "dice": dice}
    if hasattr(network, "offsets"):
        offsets = best_offsets(network, validation, lateral=config.lateral > 0)
        network.offsets.copy_(torch.tensor(offsets))
        calibration |= {"offsets": offsets}
    if hasattr(network, "fusion"):
        weights, _ = fit_fusion(network, validation)
        network.fusion.copy_(torch.tensor(weights))
        calibration |= {"fusion": weights}
    reached = {
        "steps": progress.step,
        "minutes": round(progress.seconds / 60.0, 2),
        "best_step": progress.best_step,
        "validation_iou": round(progress.best_iou, 4),
    }
    file = config.out / f"{config.system}.safetensors"
    save_model(network, file, training=config.to_dict(), reached=reached, calibration=calibration)
    return file
