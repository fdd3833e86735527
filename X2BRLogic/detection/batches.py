"""Batches of films and boxes to train on, each determined by seed and step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from ..drr.boxes import LEAST
from ..errors import InputError
from .classes import CLASSES
from .image import PADDING, Letterbox
from .yolo_layout import label_file, picture_file, read_labels

_NUMBER = {name: n for n, name in enumerate(CLASSES)}
#: How large a film is shown, real ones being filled by their patients more than DRRs; how far off its place, as a part
#: of the square.
_ZOOM, _SHIFT = (0.85, 1.45), 0.08
#: The tone curve is a power between this and its inverse.
_GAMMA = 1.4
#: Share of films that are sharpened or softened, by how much, and over what part of the square at most.
_SHARPENED, _SHARPNESS, _REACH = 0.5, (-0.4, 1.5), 0.05
#: Share of films with an opacity or a lucency, how strong it is, and its size as a part of the square.
_CLOUDED, _CLOUD, _CLOUD_SIZE = 0.4, (-0.3, 0.5), (0.04, 0.2)


def find_films(data: Path, split: str) -> list[str]:
    """Names of the films that have boxes, sorted. Raises `InputError` where there are none."""
    names = sorted(path.stem for path in label_file(data, split, "*").parent.glob("*.txt") if path.name[0] != ".")
    if not names:
        raise InputError(f"{data} has no films in labels/{split}; make some with x2br dataset boxes")
    return names


class FilmBatches(Dataset):
    """Step to batch: ``img`` ``(B, 1, size, size)`` in [0, 1], and what ultralytics' loss takes of the boxes.

    ``batch_idx`` ``(N,)``, ``cls`` ``(N, 1)``, ``bboxes`` ``(N, 4)``: middle and size as parts of the square.

    Args:
        count: number of batches.
        varied: whether films are chosen at random and shown larger, smaller, shifted, with another tone; else they
            come in order and as they are.
    """

    def __init__(self, data: Path, split: str, *, size: int, batch: int, count: int, seed: int, varied: bool):
        self._data, self._split, self._names = data, split, find_films(data, split)
        self._size, self._batch, self._count, self._seed, self._varied = size, batch, count, seed, varied

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, step: int) -> dict[str, Tensor]:
        rng = np.random.default_rng((self._seed, step))
        if self._varied:
            chosen = rng.choice(len(self._names), self._batch)
        else:
            chosen = np.arange(step * self._batch, min((step + 1) * self._batch, len(self._names)))
        pictures, targets = zip(*(self._film(self._names[n]) for n in chosen), strict=True)
        image = torch.from_numpy(np.stack(pictures))[:, None].float() / 255.0
        if self._varied:
            image, targets = _varied(rng, image, targets)
        index = np.concatenate([np.full(len(t), n) for n, t in enumerate(targets)])
        boxes = torch.from_numpy(np.concatenate(targets)).float()
        return {"img": image, "batch_idx": torch.from_numpy(index).float(), "cls": boxes[:, :1], "bboxes": boxes[:, 1:]}

    def _film(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """The film ``(size, size)``, and its boxes ``(N, 5)``: class, middle and size as parts of the square."""
        with Image.open(picture_file(self._data, self._split, name)) as picture:
            shape = picture.size[::-1]
            square = Letterbox.of_equalised(picture, self._size)
        boxes = read_labels(label_file(self._data, self._split, name), shape)
        corners = square.of_film(np.array([box.edges for box in boxes])).reshape(-1, 2, 2) / self._size
        middle, extent = corners.mean(axis=1), corners[:, 1] - corners[:, 0]
        return square.image, np.column_stack([[_NUMBER[box.name] for box in boxes], middle, extent])


def _varied(rng: np.random.Generator, image: Tensor, targets) -> tuple[Tensor, list[np.ndarray]]:
    """Each film zoomed, shifted and toned; boxes of which too little stays are left out."""
    count = len(image)
    zoom = np.exp(rng.uniform(*np.log(_ZOOM), count))
    shift = rng.uniform(-_SHIFT, _SHIFT, (count, 2))
    # Where each pixel comes from, in the square from -1 to 1: the middle goes to 0.5 + shift.
    matrix = np.zeros((count, 2, 3))
    matrix[:, 0, 0] = matrix[:, 1, 1] = 1 / zoom
    matrix[:, :, 2] = -2 * shift / zoom[:, None]
    grid = functional.affine_grid(torch.from_numpy(matrix).float(), list(image.shape), align_corners=False)
    grey = torch.from_numpy(rng.choice([0.0, PADDING / 255.0, 1.0], count)).float()[:, None, None, None]
    image = functional.grid_sample(_toned(rng, image) - grey, grid, align_corners=False) + grey
    moved = []
    for target, z, s in zip(targets, zoom, shift, strict=True):
        middle, half = (target[:, 1:3] - 0.5) * z + 0.5 + s, target[:, 3:] * z / 2
        low, high = np.clip(middle - half, 0, 1), np.clip(middle + half, 0, 1)
        extent = high - low
        kept = extent.prod(axis=1) >= LEAST * (4 * half.prod(axis=1))
        moved.append(np.column_stack([target[:, 0], (low + high) / 2, extent])[kept])
    return image, moved


def _toned(rng: np.random.Generator, image: Tensor) -> Tensor:
    """Films as other machines process them, and with disease in them."""
    gamma = _GAMMA ** rng.uniform(-1, 1, len(image))
    image = image ** torch.from_numpy(gamma).float()[:, None, None, None]
    size = image.shape[-1]
    ticks = torch.arange(size) / size
    for film in image:
        if rng.random() < _SHARPENED:
            reach = int(rng.integers(1, max(_REACH * size, 2)))
            film += float(rng.uniform(*_SHARPNESS)) * (film - _mean(film, reach))
        if rng.random() < _CLOUDED:
            (x, y), width = rng.random(2), rng.uniform(*_CLOUD_SIZE)
            across, down = (torch.exp(-(((ticks - float(place)) / float(width)) ** 2) / 2) for place in (x, y))
            film += float(rng.uniform(*_CLOUD)) * down[:, None] * across
    return image.clamp(0, 1)


def _mean(film: Tensor, reach: int) -> Tensor:
    """The mean over a square of `reach` pixels to each side, ``(1, size, size)``."""
    for axis in ((2 * reach + 1, 1), (1, 2 * reach + 1)):
        edges = tuple(n // 2 for n in axis)
        film = functional.avg_pool2d(film, axis, 1, edges, count_include_pad=False)
    return film
