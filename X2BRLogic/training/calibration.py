"""The constant that makes a network's threshold the best one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..dataset.virtual import UNIFORM_POINTS
from ..networks import TAU
from ..networks.device import device_of
from ..surface import logit
from .batches import read_patient

_OFFSETS = np.arange(-4.0, 4.01, 0.1)


@torch.no_grad()
def best_offset(network: nn.Module, files: list[Path]) -> tuple[float, float]:
    """The constant to add to the logits, and the Dice it gives at the paper's threshold.

    Training sees mostly points near bone, so the probabilities it learns are of that mixture, and cut at `TAU` the
    bones come out too thick. Over uniform points of unseen patients the constant is chosen that gives the best Dice.
    """
    network.eval()
    device = device_of(network)
    logits, truth = [], []
    for path in files:
        patient = read_patient(path)
        image = torch.from_numpy(patient["images"])[:, None].to(device)
        points = torch.from_numpy(patient["points"][:, :UNIFORM_POINTS]).to(device)
        values = network(image, points).float().cpu().numpy()
        known = patient["known"][:, :UNIFORM_POINTS]
        logits.append(values[known])
        truth.append(patient["occupied"][:, :UNIFORM_POINTS][known])
    values, inside = np.concatenate(logits), np.concatenate(truth)
    level = logit(TAU)
    scores = []
    for offset in _OFFSETS:
        predicted = values + offset > level
        scores.append(2.0 * (predicted & inside).sum() / max(predicted.sum() + inside.sum(), 1))
    best = int(np.argmax(scores))
    return round(float(_OFFSETS[best]), 2), float(scores[best])
