"""Non-rigid point cloud registration with a neural deformation pyramid (NDP).

Small networks, one a level, each of a higher frequency than the last, warp the cloud from the whole to the detail; each
is trained on the two clouds themselves, then frozen.
Source: Li and Harada, Non-rigid point cloud registration with neural deformation pyramid, NeurIPS 2022, section 3,
without landmarks and without regularisation, the paper's shape transfer (similarity at every level).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from .result import Registration, Stages
from .run import expected_matches
from .shapes import Shape
from .threads import one_thread

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class NDPSettings:
    """Settings of NDP, named and preset as in the paper.

    Attributes:
        levels: networks of the pyramid (m).
        k0: the first level's frequency is 2^(k0 + 1), the next ones' are twice the one before.
        depth, width: of each network: layers, and units in each.
        iterations: most of each level.
        learning_rate: of Adam.
        early_stop: a level ends after so many iterations that changed the loss by less than a thousandth.
        samples: points of each cloud that are trained on.
        device: of PyTorch.
        seed: of samples and weights.

    Raises:
        InputError: a value out of its range.
    """

    levels: int = 9
    k0: int = -8
    depth: int = 3
    width: int = 128
    iterations: int = 500
    learning_rate: float = 0.01
    early_stop: int = 15
    samples: int = 2000
    device: str = "cpu"
    seed: int = 1

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name not in ("k0", "device", "seed") and not (isinstance(value, (int, float)) and value > 0):
                raise InputError(f"{field.name} is {value!r}; give a number above 0")


def run_ndp(moving: Shape, fixed: Shape, settings: NDPSettings, progress: Callable[[float, str], None]) -> Registration:
    """Register by NDP. Both shapes are scaled by the fixed one's size, so that the frequencies mean the same."""
    import torch

    stages, history = Stages(), []
    random = np.random.default_rng(settings.seed)
    generator = torch.Generator().manual_seed(settings.seed)
    scale = float(np.linalg.norm(np.ptp(fixed.points, axis=0))) / 2.0
    centre, target_centre = moving.points.mean(axis=0), fixed.points.mean(axis=0)

    def tensor(points: np.ndarray) -> torch.Tensor:
        return torch.from_numpy((points / scale).astype(np.float32)).to(settings.device)

    def some(points: np.ndarray) -> np.ndarray:
        return points[random.permutation(len(points))[: settings.samples]]

    everything = tensor(moving.points - centre)
    cloud, target = tensor(some(moving.points) - centre), tensor(some(fixed.points) - target_centre)
    with stages("optimisation"), one_thread():
        for level in range(settings.levels):
            frequency = 2.0 ** (settings.k0 + level + 1)
            network = _network(settings, generator).to(settings.device)
            told = partial(progress, level / settings.levels, f"level {level + 1} of {settings.levels}")
            cloud = _train(network, frequency, cloud, target, settings, history, told)
            with torch.no_grad():
                everything = _warped(network, frequency, everything)
    vertices = everything.double().cpu().numpy() * scale + target_centre
    sigma = history[-1] * scale
    with stages("correspondences"):
        matched = expected_matches(vertices, fixed.points, sigma)
    pose = np.eye(4)
    pose[:3, 3] = target_centre - centre
    finite = bool(np.isfinite(vertices).all())
    return Registration(
        method="ndp",
        vertices=vertices,
        correspondences=matched,
        similarity=pose,
        sigma=sigma,
        history=np.array(history) * scale,
        iterations=len(history),
        reason="every level done" if finite else "diverged",
        uncertainty=np.full(len(vertices), np.nan),
        stages=dict(stages),
        warnings=() if finite else ("NDP diverged: the result is not to be used",),
    )


def _network(settings: NDPSettings, generator: torch.Generator) -> torch.nn.Sequential:
    """Six sines and cosines to seven numbers: rotation (Euler angles), translation, scale."""
    from torch import nn

    layers = []
    for inputs in [6] + [settings.width] * (settings.depth - 1):
        layers += [nn.Linear(inputs, settings.width), nn.ReLU()]
    network = nn.Sequential(*layers, nn.Linear(settings.width, 7))
    for layer in network[::2]:
        nn.init.xavier_uniform_(layer.weight, generator=generator)
        nn.init.uniform_(layer.bias, -(layer.in_features**-0.5), layer.in_features**-0.5, generator=generator)
    return network


def _warped(network: torch.nn.Sequential, frequency: float, points: torch.Tensor) -> torch.Tensor:
    """``s R x + t`` with s, R and t of each point from the network; near identity to begin with (equations 2 to 5)."""
    import torch

    phase = frequency * points
    # 0.001: the network starts near the identity.
    angles, shift, growth = torch.split(0.001 * network(torch.cat([phase.sin(), phase.cos()], dim=1)), [3, 3, 1], dim=1)
    turned = points
    for axis in (0, 1, 2):
        turned = _turned(turned, angles[:, axis], axis)
    return (1.0 + growth) * turned + shift


def _turned(points: torch.Tensor, angle: torch.Tensor, axis: int) -> torch.Tensor:
    """Points turned about a coordinate axis, each by its own angle."""
    import torch

    cosine, sine = angle.cos(), angle.sin()
    rows = list(points.unbind(dim=1))
    a, b = rows[axis - 2], rows[axis - 1]
    rows[axis - 2], rows[axis - 1] = cosine * a - sine * b, sine * a + cosine * b
    return torch.stack(rows, dim=1)


def _train(
    network: torch.nn.Sequential,
    frequency: float,
    cloud: torch.Tensor,
    target: torch.Tensor,
    settings: NDPSettings,
    history: list[float],
    progress: Callable[[], None],
) -> torch.Tensor:
    """Train one level on the Chamfer distance; the warped cloud. Half of each loss, a distance, goes into `history`."""
    import torch

    optimiser = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    before, still = math.inf, 0
    warped = cloud
    for _ in range(settings.iterations):
        progress()
        warped = _warped(network, frequency, cloud)
        loss = _chamfer(warped, target)
        value = float(loss.detach())
        history.append(value / 2.0)
        still += abs(before - value) < 0.001 * before
        if still >= settings.early_stop or value < 1e-4 or not math.isfinite(value):
            break
        before = value
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return warped.detach()


def _chamfer(cloud: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean distance to the nearest point, there and back; neighbours by k-d tree, distances by autograd."""
    import torch
    from scipy.spatial import cKDTree

    a, b = cloud.detach().cpu().numpy(), target.cpu().numpy()
    if not np.isfinite(a).all():
        return torch.full((), math.inf, requires_grad=True)
    forth = torch.from_numpy(cKDTree(b).query(a)[1]).to(cloud.device)
    back = torch.from_numpy(cKDTree(a).query(b)[1]).to(cloud.device)
    squared = [((cloud - target[forth]) ** 2).sum(dim=1), ((cloud[back] - target) ** 2).sum(dim=1)]
    return sum((distance + 1e-12).sqrt().mean() for distance in squared)  # the root has no slope at 0
