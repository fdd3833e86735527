"""Batches of films and their truth, each a pure function of the seed and its number."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from ..dataset.motion import ShapeModel
from ..dataset.on_the_fly import Source
from ..dataset.patient_file import Film, PatientFile
from ..dataset.person import SHAPE_MODEL
from ..dataset.rays import line_integrals
from ..dataset.subject import read_subject
from ..dataset.torch_rays import TorchIntegrator
from ..errors import InputError
from ..networks import Batch
from .augmentation import augmented
from .movement import moved


def find_patients(
    folder: Path, validation: int, training: int = 1, exclude: Iterable[str] = ()
) -> tuple[list[Path], list[Path]]:
    """Files to train on, `training` at least, and, the last `validation` of them, to validate on.

    Args:
        exclude: names of subjects; their virtual patients are left out of both.

    Raises:
        InputError: there are too few; or others of the patients owe something to a subject to exclude.
    """
    files = found = sorted(folder.glob("patient_*.npz"))
    if exclude := set(exclude):
        files = [path for path in found if PatientFile(path).subject not in exclude]
    if len(files) < len(found):
        _require_unlearned(folder)
    if len(files) < validation + training:
        raise InputError(
            f"{folder} has {len(files)} virtual patients and {validation} are wanted for validation alone; "
            "make more with x2br dataset virtual"
        )
    return files[:-validation], files[-validation:]


def _require_unlearned(folder: Path) -> None:
    if (folder / SHAPE_MODEL).exists():
        raise InputError(
            f"the patients in {folder} vary as all their subjects do, so none of these can be left out any more; "
            "make others with x2br dataset virtual --no-learning, or with --exclude"
        )


def batch_of(films: list[Film], lateral: list[bool]) -> Batch:
    """Films as a network takes them.

    Args:
        lateral: of each film, whether it is a lateral one.
    """
    return Batch(
        image=_tensor([film.image[None] for film in films]),
        lateral=torch.tensor(lateral),
        second=_tensor([film.second[None] for film in films]),
        points=_tensor([film.points for film in films]),
        occupied=_tensor([film.occupied.astype(np.float32) for film in films]),
        known=_tensor([film.known.astype(np.float32) for film in films]),
        labels=_tensor([film.labels for film in films]),
    )


def _tensor(parts: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(parts))


def _seen(rng: np.random.Generator, film: Film, points: int, lateral: bool, movement: bool) -> Film:
    """The film as another machine might have shown it, moved if so asked, with `points` of its points."""
    if movement:
        film = moved(rng, film, lateral)
    chosen = rng.integers(len(film.points), size=points)
    return replace(
        film,
        image=augmented(rng, film.image),
        second=augmented(rng, film.second),
        points=film.points[chosen],
        occupied=film.occupied[chosen],
        known=film.known[chosen],
    )


class Batches(Dataset):
    """Batch number n, the same whenever and wherever it is asked for, so that a resumed run repeats nothing.

    Args:
        files: of virtual patients (`dataset.patient_file`).
        count: of batches.
        batch: films in each.
        points: occupancy samples of each film.
        lateral: share of lateral films; the others are frontal.
        movement: films are moved in their plane (`movement.moved`), for systems that take one.
    """

    def __init__(
        self,
        files: list[Path],
        *,
        count: int,
        batch: int,
        points: int,
        seed: int,
        lateral: float = 0.0,
        movement: bool = False,
    ):
        self._files = files
        self._count = count
        self._batch = batch
        self._points = points
        self._seed = seed
        self._lateral = lateral
        self._movement = movement

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> Batch:
        rng = np.random.default_rng((self._seed, number))
        lateral = [bool(rng.random() < self._lateral) for _ in range(self._batch)]
        return batch_of([self._film(rng, sideways) for sideways in lateral], lateral)

    def _film(self, rng: np.random.Generator, lateral: bool) -> Film:
        patient = PatientFile(self._files[rng.integers(len(self._files))])
        film = patient.film(2 * int(rng.integers(len(patient) // 2)) + lateral)
        return _seen(rng, film, self._points, lateral, self._movement)


class BatchesOnTheFly(Dataset):
    """Batches like those of `Batches`, made from labelled CTs when they are asked for.

    A batch holds new virtual patients, films of `VIEWS` pairs of each, which nobody sees again; it depends on its
    number, the seed and the subjects alone. A process reads the subjects when it makes its first batch.

    Args:
        folders: of the subjects (`X2BRLogic.dataset.subject`).
        count, batch, points, seed, lateral, movement: as in `Batches`.
        model: how the subjects differ, or ``None`` for random deformations alone.
        device: what follows the rays; all else is the work of the CPU.
    """

    VIEWS = 2

    def __init__(
        self,
        folders: list[Path],
        *,
        count: int,
        batch: int,
        points: int,
        seed: int,
        lateral: float = 0.0,
        movement: bool = False,
        model: ShapeModel | None = None,
        device: str = "cpu",
    ):
        self._folders = folders
        self._count = count
        self._batch = batch
        self._points = points
        self._seed = seed
        self._lateral = lateral
        self._movement = movement
        self._model = model
        self._device = device
        self._sources: dict[Path, Source] = {}

    def __getstate__(self) -> dict:
        """For another process, which reads the subjects itself: they are large."""
        return self.__dict__ | {"_sources": {}}

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> Batch:
        rng = np.random.default_rng((self._seed, number))
        films, lateral = [], []
        while len(films) < self._batch:
            source = self._source(self._folders[rng.integers(len(self._folders))])
            _, samples = source.samples(rng, self.VIEWS, self._points, self._model, self._integrate())
            for pair in range(self.VIEWS):
                sideways = bool(rng.random() < self._lateral)
                one, other = samples[2 * pair + sideways], samples[2 * pair + 1 - sideways]
                truth = one.truth
                film = Film(one.image, other.image, truth.points, truth.occupied, truth.known, one.labels)
                films.append(_seen(rng, film, self._points, sideways, self._movement))
                lateral.append(sideways)
        return batch_of(films[: self._batch], lateral[: self._batch])

    def _source(self, folder: Path) -> Source:
        if folder not in self._sources:
            self._sources[folder] = Source(read_subject(folder))
        return self._sources[folder]

    def _integrate(self):
        return line_integrals if self._device == "cpu" else TorchIntegrator(torch.device(self._device))


def load(batches: Dataset, numbers: range, workers: int) -> DataLoader:
    """The batches of these numbers, in order, made ahead by so many other processes."""
    fresh = isinstance(batches, BatchesOnTheFly)
    return DataLoader(
        batches,
        batch_size=None,
        sampler=numbers,
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
