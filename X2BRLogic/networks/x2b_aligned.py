"""x2b_aligned: a radiograph to what is along every pixel's ray, bone by bone, at once.

Not in the paper. The geometry of a film is known, so a point has a pixel: in the ray cube its (x, z) is its place in
the image and y runs along its ray. A U-shaped network (Ronneberger et al., MICCAI 2015) gives each pixel a row of
depths: at each whether bone is there, whether cartilage is, and, on a coarser grid, which bone it would be. Between
rays and depths the fields are interpolated. One pass of the network is the whole field, and what the film shows of a
rib stays where the film shows it, instead of passing through one latent vector as in X2B.

A frontal and a lateral film go through the same network, each to the field of its own rays; where two films show one
patient their evidence adds up (`TwoViews` in `field`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from .. import anatomy
from .batch import Batch
from .losses import dice_loss, occupancy_loss
from .pixels import labels_at_rays
from .u_shaped import UShaped

#: Labels of the bones that are told apart, in the order of the network's channels.
NAMED: tuple[int, ...] = anatomy.THORAX
#: Groups of them, each with a threshold of its own.
GROUPS: tuple[tuple[int, ...], ...] = (anatomy.RIBS, anatomy.THORACIC_VERTEBRAE, (anatomy.STERNUM,))
_UNKNOWN = 255
#: Rows of the finest feature map that a training step looks at: a random part of the film.
_ROWS = 12
#: Bone cells of each film at which a training step asks for the bone's name.
_NAMED_CELLS = 2048


@dataclass(frozen=True)
class X2BAlignedConfig:
    """The architecture in numbers; stored with the weights.

    Attributes:
        encoder: timm model name; its feature maps at strides 4 to 32 are used.
        image_size: edge of the square input image in pixels.
        depths: samples along a ray, across the cube, of bone and of cartilage.
        name_depths: samples along a ray of which bone it is; its rays are those of the finest feature map.
        width: channels of the decoder.
        refine: rays are this much denser, along each edge, than the finest feature map.
    """

    encoder: str = "convnext_atto"
    image_size: int = 224
    depths: int = 128
    name_depths: int = 16
    width: int = 96
    refine: int = 2

    def to_dict(self) -> dict:
        """Plain values, the inverse of ``X2BAlignedConfig(**values)``."""
        return asdict(self)


class RayFields(NamedTuple):
    """What the network knows of B films, on grids of the ray cube: depths along y, rows against z, columns against x.

    Attributes:
        presence: logits ``(B, 2, D, R, C)`` of bone of the thorax, and of costal cartilage.
        names: ``(B, len(NAMED), d, r, c)``, log-odds of which bone it would be, up to a constant.
    """

    presence: Tensor
    names: Tensor


class X2BAligned(UShaped):
    """Radiograph ``(B, 1, S, S)`` in [0, 1] and ray-cube points ``(B, N, 3)`` to occupancy logits ``(B, N)``."""

    #: Cells along an edge from which the surface is searched: the paper's. What falls between their corners is found
    #: from `surface_points`.
    coarse_cells = 32
    #: Radiographs that `encode` takes.
    views = 1

    def __init__(self, config: X2BAlignedConfig, pretrained: bool = False):
        super().__init__(config.encoder, config.width, pretrained)
        self.config = config
        self.rays = nn.Conv2d(config.width, 2 * config.depths * config.refine**2, 1)
        self.names = nn.Conv2d(config.width, len(NAMED) * config.name_depths, 1)
        # What is added to the logit of bone where it would be a rib, a vertebra, the sternum (`GROUPS`), set by
        # calibration: the less is known of a bone's depth, the lower a probability means that it is there.
        self.register_buffer("offsets", torch.zeros(len(GROUPS)))
        # Of two films: weights of their logits and a constant (`field.TwoViews`), set by calibration.
        self.register_buffer("fusion", torch.tensor([1.0, 1.0, 0.0]))
        # Most of the cube is empty: begin there.
        nn.init.constant_(self.rays.bias, -3.0)

    def encode(self, image: Tensor) -> RayFields:
        """The fields on their own grids."""
        presence, names = self._fields(self.features(image))
        if not self.training and self.offsets.any():
            groups = torch.einsum("gk,bkdrc->bgdrc", _members(names.device), names.softmax(dim=1))
            shift = torch.einsum("g,bgdrc->bdrc", self.offsets, groups)[:, None]
            shift = functional.interpolate(shift, size=presence.shape[2:], mode="trilinear", align_corners=False)
            presence = torch.cat([presence[:, :1] + shift, presence[:, 1:]], dim=1)
        return RayFields(presence, names)

    def _fields(self, features: Tensor) -> RayFields:
        """The fields of features ``(B, W, r, c)``; every pixel by itself."""
        rays = functional.pixel_shuffle(self.rays(features), self.config.refine)
        return RayFields(rays.unflatten(1, (2, -1)), self.names(features).unflatten(1, (len(NAMED), -1)))

    def decode(self, fields: RayFields, points: Tensor) -> Tensor:
        """Bone at ray-cube points, trilinear: ``(B, N, 3)`` to ``(B, N)``."""
        return _sampled(fields.presence[:, :1], points)[:, 0]

    def named(self, fields: RayFields, points: Tensor) -> Tensor:
        """For one image, at points ``(N, 3)``: logits of cartilage, then the names; ``(N, 1 + len(NAMED))``."""
        told = [_sampled(field, points[None])[0] for field in (fields.presence[:, 1:], fields.names)]
        return torch.cat(told).t()

    def logits(self, batch: Batch) -> Tensor:
        """Bone at a batch's points, ``(B, N)``."""
        return self.decode(self.encode(batch.image), batch.points)

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy and soft Dice of bone and of cartilage over whole rays, and cross-entropy of the names.

        Dice is taken of ribs by themselves too: they are thin, and half of the bones' cells are vertebrae.
        """
        features = self.features(batch.image)
        labels = labels_at_rays(batch.labels, [self.config.refine * n for n in features.shape[2:]])
        # Of every pixel's fields many times as much is made as of its features: only where it is looked at.
        rows = torch.randperm(features.shape[2], device=features.device)[:_ROWS]
        fields = self._fields(features.index_select(2, rows))
        finer = torch.arange(self.config.refine, device=rows.device)
        labels = labels.index_select(2, (self.config.refine * rows[:, None] + finer).flatten())
        presence = functional.interpolate(fields.presence.float(), size=labels.shape[1:], mode="trilinear")
        is_rib, is_bone, is_cartilage, known = (table[labels.long()] for table in _tables(labels.device))
        bone, cartilage = presence[:, 0], presence[:, 1]
        sure = known * (1.0 - is_cartilage)
        loss = occupancy_loss(bone, is_bone, sure) + 0.5 * occupancy_loss(cartilage, is_cartilage, known)
        loss = loss + 0.5 * dice_loss(bone.flatten(1), is_bone.flatten(1), sure.flatten(1))
        other = sure * (1.0 - is_bone * (1.0 - is_rib))
        loss = loss + 0.5 * dice_loss(bone.flatten(1), is_rib.flatten(1), other.flatten(1))
        loss = loss + 0.2 * dice_loss(cartilage.flatten(1), is_cartilage.flatten(1), known.flatten(1))
        return loss + 0.3 * self._name_loss(fields.names, labels)

    def _name_loss(self, names: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy of the bone's name, mean over some of the cells that are bone.

        Rows are not neighbours: each cell asks its own row of names, and only depth and column are interpolated.
        """
        found = _channels(labels.device)[labels.long()]
        cells = (found >= 0).nonzero()
        if not len(cells):
            return names.sum() * 0.0
        chosen = cells[torch.randint(len(cells), (_NAMED_CELLS * len(labels),), device=cells.device)]
        truth = found[tuple(chosen.t())]
        film, depth, row, column = chosen.unbind(1)
        middle = self.config.refine * (row // self.config.refine) + (self.config.refine - 1) / 2
        points = _centres(torch.stack([depth, middle, column], dim=1), labels.shape[1:])
        losses = []
        for n in range(len(names)):
            told = _sampled(names[n : n + 1].float(), points[film == n][None])[0].t()
            losses.append(functional.cross_entropy(told, truth[film == n], reduction="sum"))
        return torch.stack(losses).sum() / len(chosen)

    def field(self, fields: RayFields) -> Callable[[Tensor], Tensor]:
        """`decode` for one image: points ``(N, 3)`` to logits ``(N,)``."""
        return lambda points: self.decode(fields, points[None])[0]

    def surface_points(self, fields: RayFields, level: float) -> Tensor:
        """Where the surface crosses the lines of the field's own grid, ``(S, 3)``, for one image.

        The field is trilinear between its samples, so no part of it reaches the level without one of them: there are
        such points on everything that `decode` can show.
        """
        samples = fields.presence[0, 0]
        inside = samples >= level
        found = []
        for axis in range(3):
            lower, upper = (samples.narrow(axis, n, samples.shape[axis] - 1) for n in (0, 1))
            crossed = inside.diff(dim=axis).nonzero()
            before, after = lower[tuple(crossed.t())], upper[tuple(crossed.t())]
            crossed = crossed.to(samples.dtype)
            crossed[:, axis] += (level - before) / (after - before)
            found.append(crossed)
        return _centres(torch.cat(found), samples.shape)

    def shift_logits(self, offset: float) -> None:
        """Add a constant to every logit of bone from now on."""
        with torch.no_grad():
            self.rays.bias[: len(self.rays.bias) // 2] += offset


def _sampled(field: Tensor, points: Tensor) -> Tensor:
    """A field ``(B, K, D, R, C)`` at ray-cube points ``(B, N, 3)``, trilinear: ``(B, K, N)``."""
    x, y, z = points.unbind(-1)
    # grid_sample counts from -1 to 1 over the cells' edges. `_centres` is the inverse.
    grid = torch.stack([-2.0 * x, -2.0 * z, 2.0 * y], dim=-1)[:, None, None].to(field.dtype)
    sampled = functional.grid_sample(field, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return sampled[:, :, 0, 0]


def _centres(cells: Tensor, shape: Sequence[int]) -> Tensor:
    """Ray-cube points ``(N, 3)`` of places ``(N, 3)`` in cells (depth, row, column) of a grid of this shape."""
    depth, row, column = ((cells + 0.5) / torch.tensor(shape, device=cells.device)).unbind(-1)
    return torch.stack([0.5 - column, depth - 0.5, 0.5 - row], dim=-1)


@functools.cache
def _tables(device: torch.device) -> tuple[Tensor, ...]:
    """Of every label number, 0 or 1: a rib, a bone of the thorax, cartilage, known."""
    tables = torch.zeros(4, 256)
    for table, labels in zip(tables, (anatomy.RIBS, anatomy.THORAX, (anatomy.CARTILAGES,)), strict=False):
        table[list(labels)] = 1.0
    tables[3] = 1.0
    tables[3, _UNKNOWN] = 0.0
    return tuple(tables.to(device))


@functools.cache
def _members(device: torch.device) -> Tensor:
    """Which of `NAMED` are in which of `GROUPS`, ``(groups, names)``, 0 or 1."""
    rows = [[float(label in group) for label in NAMED] for group in GROUPS]
    return torch.tensor(rows, device=device)


@functools.cache
def _channels(device: torch.device) -> Tensor:
    """Of every label number its place in `NAMED`, or -1."""
    table = torch.full((256,), -1)
    table[list(NAMED)] = torch.arange(len(NAMED))
    return table.to(device)
