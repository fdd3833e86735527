"""How two films' logits are weighed where they are put together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from scipy.optimize import minimize
from torch import nn

from ..dataset.on_the_fly import UNIFORM_POINTS
from ..dataset.patient_file import PatientFile
from ..networks.device import device_of
from .calibration import MISSED, Overlap

#: A fusion weight below this would take a film's evidence for its opposite.
_LEAST_WEIGHT = 0.05


@torch.no_grad()
def fit_fusion(network: nn.Module, files: list[Path]) -> tuple[tuple[float, float, float], float]:
    """Weights of a frontal and a lateral film's logits, and a constant (`networks.TwoViews`).

    Logistic regression over points of unseen patients, after which the constant is the one of the best F-score at
    the paper's threshold over the uniform points, as for the groups of bones (`calibration.best_offsets`).

    Args:
        network: of one view, its own logits calibrated.
        files: of virtual patients.

    Returns:
        The three numbers, and that score.
    """
    network.eval()
    parts = [_both(network, PatientFile(path)) for path in files]
    logits, inside, uniform = (np.concatenate(part) for part in zip(*parts, strict=True))

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        told = logits @ weights[:2] + weights[2]
        error = 1.0 / (1.0 + np.exp(-told)) - inside
        return float(np.mean(np.logaddexp(0.0, told) - inside * told)), np.append(
            error @ logits / len(error), error.mean()
        )

    bounds = [(_LEAST_WEIGHT, None)] * 2 + [(None, None)]
    one, other, constant = minimize(loss, (1.0, 1.0, 0.0), jac=True, bounds=bounds, method="L-BFGS-B").x
    overlap = Overlap()
    overlap.add_known(logits[uniform] @ (one, other) + constant, inside[uniform] > 0)
    shift, score = overlap.best(MISSED)
    return (float(one), float(other), float(constant + shift)), score


def _both(network: nn.Module, patient: PatientFile) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits ``(N, 2)`` of the frontal and the lateral film at points that both see, truth, and which are uniform."""
    logits, inside, uniform = [], [], []
    for number in range(0, len(patient), 2):
        film, beside = patient.film(number), patient.geometry(number + 1)
        points = patient.geometry(number).ray_cube_to_ras(film.points)
        there = beside.ras_to_ray_cube(points).astype(np.float32)
        seen = film.known & (np.abs(there) <= 0.5).all(axis=1)
        told = [
            _logits(network, image, places[seen]) for image, places in ((film.image, film.points), (film.second, there))
        ]
        logits.append(np.stack(told, axis=1).astype(np.float64))
        inside.append(film.occupied[seen].astype(np.float64))
        uniform.append(np.arange(len(seen))[seen] < UNIFORM_POINTS)
    return np.concatenate(logits), np.concatenate(inside), np.concatenate(uniform)


def _logits(network: nn.Module, image: np.ndarray, points: np.ndarray) -> np.ndarray:
    device = device_of(network)
    code = network.encode(torch.from_numpy(image)[None, None].to(device))
    return network.decode(code, torch.from_numpy(points)[None].to(device))[0].float().cpu().numpy()
