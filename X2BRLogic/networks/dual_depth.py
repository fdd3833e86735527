"""3DDX: a radiograph to the front and the back face of every bone, along every pixel's ray.

Gu et al., 3DDX (MICCAI 2024). A U-shaped network over one of timm's encoders (`u_shaped`) gives each bone a mask and
two depth maps. The geometry of the film turns a pixel and its depth into a place, so the surface has absolute scale;
`X2BRLogic.dual_faces` does that and closes it. What is otherwise than in the paper:

- Bones are those of the thorax, each a channel; the encoder is a small one and the maps have half the film's rays.
- A depth is one of the ray cube (`geometry`), along the central ray and not along the pixel's own, from the plane
  through the isocentre: the front face is the anterior one whichever side the source is on. Losses need positive
  depths; they count from a source in front, `DEFAULT_SOD` away.
- CASI leaves an image's shift along the rays open. A small term of its own teaches it, as an isocentre near the middle
  of the thorax makes it less than arbitrary.
- A ray meets one bone at times twice (a vertebra and its spinous process); what is between counts as bone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from .. import anatomy
from ..dataset.continuation import UNKNOWN
from ..errors import InputError
from ..geometry import CUBE_EDGE_MM, DEFAULT_SOD
from .batch import Batch
from .casi import casi, centre_shift, si_log
from .losses import dice_loss, occupancy_loss
from .pixels import at_pixels, labels_at_rays
from .u_shaped import UShaped

#: Labels of the bones, in the order of the network's channels.
BONES: tuple[int, ...] = anatomy.THORAX
#: A bone of which one face alone is known is a sheet so thick, edges of the cube: a cell of the training labels.
SHEET = 1.0 / 128.0
#: How fast, per edge of the cube, a logit falls beyond a face: by one in a tenth of a millimetre.
_STEEP = 10.0 * CUBE_EDGE_MM
#: Masks are so much the last layer's output: logits have further to go than depths, at the same rate of learning.
_GAIN = 4.0
#: Rows of rays that a training step looks at: a random part of the film.
_ROWS = 48
#: What a millimetre of error in depth counts, and one of an image's shift beside it.
_DEPTH, _SHIFT = 0.05, 0.01


@dataclass(frozen=True)
class DualDepthConfig:
    """The architecture in numbers, and the loss; stored with the weights.

    Attributes:
        encoder: timm model name; its feature maps at strides 4 to 32 are used.
        image_size: edge of the square input image in pixels.
        width: channels of the decoder.
        refine: rays are this much denser, along each edge, than the finest feature map.
        faces: depth maps of each bone: 2, or 1 for the front face alone.
        loss: of the depths, ``casi`` or ``si``.
    """

    encoder: str = "convnext_atto"
    image_size: int = 224
    width: int = 96
    refine: int = 2
    faces: int = 2
    loss: str = "casi"

    def __post_init__(self):
        if self.faces not in (1, 2) or self.loss not in _LOSSES:
            raise InputError(f"configuration: faces are 1 or 2, and loss is one of {', '.join(_LOSSES)}")

    def to_dict(self) -> dict:
        """Plain values, the inverse of ``DualDepthConfig(**values)``."""
        return asdict(self)


_LOSSES = {"casi": casi, "si": si_log}


class Faces(NamedTuple):
    """The faces of K bones in B films, rows against z and columns against x of the ray cube.

    Attributes:
        mask: logits ``(B, K, R, C)`` that the pixel's ray meets the bone.
        front, back: ``(B, K, R, C)`` y in the ray cube, edges, where it enters and leaves the bone from the anterior
            side; nothing where the mask is low.
    """

    mask: Tensor
    front: Tensor
    back: Tensor


class DualDepth(UShaped):
    """Radiograph ``(B, 1, S, S)`` in [0, 1] to `Faces`; these and ray-cube points ``(B, N, 3)`` to occupancy logits."""

    #: As in `LatentNetwork`.
    coarse_cells = 32
    views = 1

    def __init__(self, config: DualDepthConfig, pretrained: bool = False):
        super().__init__(config.encoder, config.width, pretrained)
        self.config, width = config, config.width
        # Depth depends on the place in the film, which convolutions do not know: it comes as two more channels.
        self.placed = nn.Sequential(
            nn.Conv2d(width + 2, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )
        self.maps = nn.Conv2d(width, (1 + config.faces) * len(BONES) * config.refine**2, 1)
        # A bone is in few rays: begin there.
        nn.init.constant_(self.maps.bias[: len(BONES) * config.refine**2], -4.0 / _GAIN)

    def encode(self, image: Tensor) -> Faces:
        """The faces on their own grid."""
        features = self.features(image)
        features = self.placed(torch.cat([features, _places(features)], dim=1))
        maps = functional.pixel_shuffle(self.maps(features), self.config.refine).float()
        mask, *depths = maps.unflatten(1, (-1, len(BONES))).unbind(1)
        front = depths[0]
        return Faces(_GAIN * mask, front, depths[1] if len(depths) > 1 else front - SHEET)

    def decode(self, faces: Faces, points: Tensor) -> Tensor:
        """Bone at ray-cube points ``(B, N, 3)``, ``(B, N)``: the mask's logit between the faces, less beyond them."""
        mask, front, back = at_pixels(torch.cat(faces, dim=1), points).chunk(3, dim=-1)
        y = points[..., 1:2].float()
        beyond = functional.relu(y - front) + functional.relu(back - y)
        return (mask - _STEEP * beyond).amax(dim=-1)

    def field(self, faces: Faces) -> Callable[[Tensor], Tensor]:
        """`decode` for one image: points ``(N, 3)`` to logits ``(N,)``."""
        return lambda points: self.decode(faces, points[None])[0]

    def surface_points(self, faces: Faces, level: float) -> Tensor:
        """Every place where a ray enters or leaves a bone whose mask reaches the level, ``(S, 3)``, for one image."""
        bone, row, column = (faces.mask[0] >= level).nonzero(as_tuple=True)
        rows, columns = faces.mask.shape[-2:]
        x, z = 0.5 - (column + 0.5) / columns, 0.5 - (row + 0.5) / rows
        return torch.cat([torch.stack([x, face[0, bone, row, column], z], dim=1) for face in faces[1:]])

    def shift_logits(self, offset: float) -> None:
        """Add a constant to every logit from now on."""
        with torch.no_grad():
            self.maps.bias[: len(BONES) * self.config.refine**2] += offset / _GAIN

    def logits(self, batch: Batch) -> Tensor:
        """Bone at a batch's points, ``(B, N)``."""
        return self.decode(self.encode(batch.image), batch.points)

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy and soft Dice of the masks, and the configured loss of the depths with that of their shift."""
        faces = self.encode(batch.image)
        labels = labels_at_rays(batch.labels, faces.mask.shape[-2:])
        rows = torch.randperm(labels.shape[2], device=labels.device)[:_ROWS]
        faces = Faces(*(face.index_select(2, rows) for face in faces))
        mask, depths, known = true_faces(labels.index_select(2, rows))
        flat, truth, sure = (part.flatten(2).flatten(0, 1) for part in (faces.mask, mask.float(), known.float()))
        loss = 10.0 * occupancy_loss(flat, truth, sure)
        present = truth.any(dim=1)
        loss = loss + 2.0 * dice_loss(flat[present], truth[present], sure[present]) if present.any() else loss
        predicted, true, seen = self._from_source(faces, mask, depths)
        wrong = _LOSSES[self.config.loss](predicted, true, seen) * DEFAULT_SOD
        return loss + _DEPTH * wrong + _SHIFT * centre_shift(predicted, true, seen).abs().mean()

    @torch.no_grad()
    def scores(self, batch: Batch) -> dict[str, float]:
        """Of the masks the mean Dice of the bones that are there; of the depths the mean error, mm, and that without
        each image's shift."""
        faces = self.encode(batch.image)
        mask, depths, known = true_faces(labels_at_rays(batch.labels, faces.mask.shape[-2:]))
        told = (faces.mask > 0) & known
        overlap = 2.0 * (told & mask).sum((0, 2, 3)) / (told.sum((0, 2, 3)) + mask.sum((0, 2, 3))).clamp(min=1)
        predicted, true, seen = self._from_source(faces, mask, depths)
        shift = centre_shift(predicted, true, seen)[:, None, None, None]
        return {
            "mask_dice": float(overlap[mask.any(3).any(2).any(0)].mean()),
            "depth_error_mm": float((predicted - true).abs()[seen].mean()),
            "centred_depth_error_mm": float((predicted + shift - true).abs()[seen].mean()),
        }

    def _from_source(self, faces: Faces, mask: Tensor, depths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Predicted and true depths ``(B, F K, R, C)`` from a source in front, mm, and where they count."""
        count = self.config.faces
        predicted = torch.cat(faces[1 : 1 + count], dim=1)
        true = depths[:, :count].flatten(1, 2)
        return *(DEFAULT_SOD - CUBE_EDGE_MM * y for y in (predicted, true)), mask.repeat(1, count, 1, 1)


def true_faces(labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The faces of every bone along the rays of a label grid ``(B, D, R, C)`` (see `Batch`).

    Returns:
        ``(B, K, R, C)`` bool, the ray meets the bone; ``(B, 2, K, R, C)`` float32, y of its front and back in edges of
        the cube, at cells' faces, so half a cell off on average, and nothing where it does not; ``(B, K, R, C)`` bool,
        whether the ray meets it is known.
    """
    batch, cells, rows, columns = labels.shape
    film, depth, row, column = _is_bone(labels).nonzero(as_tuple=True)
    channel = _channels(labels.device)[labels[film, depth, row, column].long()]
    place = ((film * len(BONES) + channel) * rows + row) * columns + column
    size = batch * len(BONES) * rows * columns
    front = torch.full((size,), -1, device=labels.device).scatter_reduce_(0, place, depth + 1, "amax")
    back = torch.full((size,), cells, device=labels.device).scatter_reduce_(0, place, depth, "amin")
    front, back = (face.view(batch, len(BONES), rows, columns) for face in (front, back))
    mask = front >= 0
    known = mask | ~(labels == UNKNOWN).any(dim=1)[:, None]
    return mask, torch.stack([front, back], dim=1) / cells - 0.5, known


def _is_bone(labels: Tensor) -> Tensor:
    """Which of the labels are in `BONES`; a few comparisons are ten times as fast as a table or `torch.isin`."""
    low, high = min(anatomy.THORACIC_VERTEBRAE), max(anatomy.THORACIC_VERTEBRAE)
    return ((labels > 0) & (labels <= anatomy.STERNUM)) | ((labels >= low) & (labels <= high))


def _places(features: Tensor) -> Tensor:
    """Ray-cube x and z of the pixels of a map ``(B, C, R, C)``, in its type: ``(B, 2, R, C)``."""
    x, z = (0.5 - (torch.arange(n, device=features.device) + 0.5) / n for n in (features.shape[3], features.shape[2]))
    grid = torch.stack(torch.meshgrid(x, z, indexing="xy"))
    return grid.to(features.dtype).expand(len(features), -1, -1, -1)


@functools.cache
def _channels(device: torch.device) -> Tensor:
    """Of every label number its place in `BONES`, or -1."""
    table = torch.full((256,), -1)
    table[list(BONES)] = torch.arange(len(BONES))
    return table.to(device)
