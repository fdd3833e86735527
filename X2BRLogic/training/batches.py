"""Batches of radiographs and labelled points, each a pure function of the seed and its number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from ..errors import InputError


def read_patient(path: Path) -> dict[str, np.ndarray]:
    """The arrays of one virtual patient (see `X2BRLogic.dataset.virtual`), bits unpacked to bool, images 0 to 1."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in ("images", "points", "occupied", "known")}
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise InputError(f"{path} is no virtual patient ({error}); delete it and build again") from None
    count = arrays["points"].shape[1]
    for name in ("occupied", "known"):
        arrays[name] = np.unpackbits(arrays[name], axis=1, count=count).astype(bool)
    arrays["points"] = arrays["points"].astype(np.float32) / 65535.0 - 0.5
    arrays["images"] = arrays["images"].astype(np.float32) / 255.0
    return arrays


def find_patients(folder: Path, validation: int) -> tuple[list[Path], list[Path]]:
    """Files to train on and, the last `validation` of them, to validate on. Raises `InputError` if too few."""
    files = sorted(folder.glob("patient_*.npz"))
    if len(files) <= validation:
        raise InputError(
            f"{folder} has {len(files)} virtual patients and {validation} are wanted for validation alone; "
            "make more with x2br dataset virtual"
        )
    return files[:-validation], files[-validation:]


class Batches(Dataset):
    """Batch number n, the same whenever and wherever it is asked for, so that a resumed run repeats nothing.

    Items are ``image (B, 1, S, S)``, ``points (B, N, 3)``, ``occupied (B, N)``, ``known (B, N)`` as float32 tensors.
    """

    def __init__(self, files: list[Path], *, count: int, batch: int, points: int, seed: int):
        self._files = files
        self._count = count
        self._batch = batch
        self._points = points
        self._seed = seed

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> tuple[torch.Tensor, ...]:
        rng = np.random.default_rng((self._seed, number))
        samples = [self._sample(rng) for _ in range(self._batch)]
        return tuple(torch.from_numpy(np.stack(parts).astype(np.float32)) for parts in zip(*samples, strict=True))

    def _sample(self, rng: np.random.Generator):
        patient = read_patient(self._files[rng.integers(len(self._files))])
        view = rng.integers(len(patient["images"]))
        chosen = rng.integers(patient["points"].shape[1], size=self._points)
        image = patient["images"][view]
        # Tone and brightness that no normalisation fully removes from real films.
        image = np.clip(image * rng.uniform(0.85, 1.15) + rng.uniform(-0.06, 0.06), 0.0, 1.0)
        return (
            image[None],
            patient["points"][view, chosen],
            patient["occupied"][view, chosen],
            patient["known"][view, chosen],
        )
