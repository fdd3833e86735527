"""Batches of radiographs and labelled points, each a pure function of the seed and its number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from ..dataset.motion import ShapeModel
from ..dataset.on_the_fly import Source
from ..dataset.rays import line_integrals
from ..dataset.subject import read_subject
from ..dataset.torch_rays import TorchIntegrator
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


def find_patients(folder: Path, validation: int, training: int = 1) -> tuple[list[Path], list[Path]]:
    """Files to train on, `training` at least, and, the last `validation` of them, to validate on.

    Raises `InputError` if there are too few.
    """
    files = sorted(folder.glob("patient_*.npz"))
    if len(files) < validation + training:
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
        return (
            _toned(rng, patient["images"][view])[None],
            patient["points"][view, chosen],
            patient["occupied"][view, chosen],
            patient["known"][view, chosen],
        )


def _toned(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Tone and brightness that no normalisation fully removes from real films."""
    return np.clip(image * rng.uniform(0.85, 1.15) + rng.uniform(-0.06, 0.06), 0.0, 1.0)


class BatchesOnTheFly(Dataset):
    """Batches like those of `Batches`, made from labelled CTs when they are asked for.

    A batch holds new virtual patients, `VIEWS` radiographs of each, which nobody sees again; it depends on its number,
    the seed and the subjects alone. A process reads the subjects when it makes its first batch.

    Args:
        folders: of the subjects (`X2BRLogic.dataset.subject`).
        count, batch, points, seed: as in `Batches`.
        model: how the subjects differ, or ``None`` for random deformations alone.
        device: what follows the rays; all else is the work of the CPU.
    """

    VIEWS = 4

    def __init__(
        self,
        folders: list[Path],
        *,
        count: int,
        batch: int,
        points: int,
        seed: int,
        model: ShapeModel | None = None,
        device: str = "cpu",
    ):
        self._folders = folders
        self._count = count
        self._batch = batch
        self._points = points
        self._seed = seed
        self._model = model
        self._device = device
        self._sources: dict[Path, Source] = {}

    def __getstate__(self) -> dict:
        """For another process, which reads the subjects itself: they are large."""
        return self.__dict__ | {"_sources": {}}

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> tuple[torch.Tensor, ...]:
        rng = np.random.default_rng((self._seed, number))
        rows = []
        while len(rows) < self._batch:
            source = self._source(self._folders[rng.integers(len(self._folders))])
            views = min(self.VIEWS, self._batch - len(rows))
            for sample in source.samples(rng, views, self._points, self._model, self._integrate()):
                truth = sample.truth
                rows.append((_toned(rng, sample.image)[None], truth.points, truth.occupied, truth.known))
        return tuple(torch.from_numpy(np.stack(parts).astype(np.float32)) for parts in zip(*rows, strict=True))

    def _source(self, folder: Path) -> Source:
        if folder not in self._sources:
            self._sources[folder] = Source(read_subject(folder))
        return self._sources[folder]

    def _integrate(self):
        return line_integrals if self._device == "cpu" else TorchIntegrator(torch.device(self._device))


def load(batches: Dataset, start: int, workers: int) -> DataLoader:
    """The batches from number `start` on, in order, made ahead by so many other processes."""
    fresh = isinstance(batches, BatchesOnTheFly)
    return DataLoader(
        batches,
        batch_size=None,
        sampler=range(start, len(batches)),
        num_workers=workers,
        prefetch_factor=4,
        worker_init_fn=_one_thread,
        # A forked process could use neither CUDA nor the threads of compiled kernels that ran before.
        multiprocessing_context="spawn" if fresh else None,
    )


def _one_thread(_: int) -> None:
    """Batches are what runs side by side; threads of linear algebra would only wait for each other."""
    import numba
    from threadpoolctl import threadpool_limits

    numba.set_num_threads(1)
    threadpool_limits(1)
