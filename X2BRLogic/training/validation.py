"""How good a network is on patients that it does not learn from."""

from __future__ import annotations

import torch
from torch import nn

from ..networks.device import device_of
from .batches import Batches
from .calibration import Overlap


def in_bfloat16(device: torch.device):
    """The context in which networks train and are validated."""
    return torch.autocast(device.type, torch.bfloat16)


@torch.no_grad()
def validate(network: nn.Module, batches: Batches) -> dict[str, float]:
    """Mean loss, and IoU over the known points at the threshold best for it, as weights ship calibrated.

    And what a network knows to `scores` itself by, means over the batches.
    """
    network.eval()
    device = device_of(network)
    loss, overlap, own = 0.0, Overlap(), []
    for number in range(len(batches)):
        batch = batches[number].to(device)
        with in_bfloat16(device):
            loss += float(network.loss(batch))
            logits = network.logits(batch)
            own.append(network.scores(batch) if hasattr(network, "scores") else {})
        overlap.add(logits, batch)
    network.train()
    _, dice = overlap.best()
    means = {f"validation_{name}": sum(scores[name] for scores in own) / len(own) for name in own[0]}
    return {"validation_loss": loss / len(batches), "validation_iou": dice / (2.0 - dice), **means}
