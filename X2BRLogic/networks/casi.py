"""Losses of depth maps: the scale-invariant log loss, and CASI, which centres the depths first.

Sources: Eigen et al., Depth Map Prediction from a Single Image (NeurIPS 2014), equation 4, in the form of a square root
(Bhat et al., AdaBins, CVPR 2021); Gu et al., 3DDX (MICCAI 2024), the centre-aligned scale-invariant loss.
"""

from __future__ import annotations

import torch
from torch import Tensor

#: What the squared mean of the log errors counts beside their variance.
SCALE_WEIGHT = 0.15
#: Depths are at least so much, and a root is taken of no less than its square: both keep gradients finite.
_LEAST = 1e-6


def si_log(predicted: Tensor, true: Tensor, mask: Tensor) -> Tensor:
    """Scale-invariant log loss, the mean over images: sqrt(Var(g) + 0.15 Mean(g)^2) of g = log predicted - log true.

    Args:
        predicted, true: ``(B, ...)`` depths from the source, positive.
        mask: ``(B, ...)`` bool, where they count; an image without any costs nothing.
    """
    mask, predicted, true = (part.flatten(1) for part in (mask, predicted.float(), true.float()))
    error = torch.where(mask, predicted, true).clamp(min=_LEAST).log() - true.clamp(min=_LEAST).log()
    count = mask.sum(1).clamp(min=1)
    mean = _mean(error, mask)
    variance = ((error - mean[:, None]).square() * mask).sum(1) / count
    loss = (variance + SCALE_WEIGHT * mean.square()).clamp(min=_LEAST**2).sqrt()
    seen = mask.any(1)
    return (loss * seen).sum() / seen.sum().clamp(min=1)


def centre_shift(predicted: Tensor, true: Tensor, mask: Tensor) -> Tensor:
    """By how much the true depths lie further on than the predicted ones, ``(B,)``: one mean over all of an image."""
    return _mean((true - predicted).float().flatten(1), mask.flatten(1))


def casi(predicted: Tensor, true: Tensor, mask: Tensor) -> Tensor:
    """`si_log` after the predicted depths of each image, all channels together, were shifted to the true ones' mean.

    From one film nobody can tell how far the patient was from the detector, so that is not asked; the size is. Shapes
    as in `si_log`.
    """
    shift = centre_shift(predicted, true, mask)
    return si_log(predicted + shift.view(-1, *[1] * (predicted.dim() - 1)), true, mask)


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """Of values ``(B, N)`` where the mask is true; 0 where it nowhere is."""
    return torch.where(mask, values, 0.0).sum(1) / mask.sum(1).clamp(min=1)
