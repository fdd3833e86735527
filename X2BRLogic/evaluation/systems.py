"""All systems on all cases: which weights are tested on whom, and the table that comes of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ..dataset.subject import find_subjects, read_subject
from ..errors import InputError
from ..fan_out import fan_out
from ..networks import SYSTEMS, read_header

#: Name of the rows that look at no film.
NO_EVIDENCE = "no evidence"
REAL, VIRTUAL = "real", "virtual"


@dataclass(frozen=True)
class Trained:
    """A weights file and whom it never saw.

    Attributes:
        system: name of the network.
        variant: in what its architecture differs from the system's defaults.
        steps: what it was trained for.
        unseen: names of the subjects that were left out.
    """

    file: Path
    system: str
    variant: str
    steps: int
    unseen: tuple[str, ...]

    @classmethod
    def of(cls, file: Path) -> Trained:
        """As its header says. Raises `InputError` where that is not enough."""
        header = read_header(file)
        try:
            system, training = header["system"], header["training"]
            steps = int(header["reached"]["steps"])
            return cls(file, system, _variant(system, header["architecture"]), steps, tuple(training["exclude"]))
        except (KeyError, TypeError, ValueError):
            raise InputError(f"{file} does not say how it was trained; train it with x2br train") from None

    @property
    def row(self) -> str:
        """Files of one row are one network, trained for as many steps on different people."""
        return f"{self.system}{self.variant}, {self.steps:,} steps"


def _variant(system: str, architecture: dict) -> str:
    usual = SYSTEMS[system][1]().to_dict()
    return "".join(f", {name} {value}" for name, value in architecture.items() if usual.get(name) != value)


@dataclass(frozen=True)
class Task:
    """One case and the weights to be tried on it; `seed` makes a virtual patient of the subject."""

    folder: Path
    seed: int | None
    trained: tuple[Trained, ...]
    others: tuple[Path, ...]


def tasks(subjects: Path, weights: list[Path], split: str, virtual: int, seed: int) -> list[Task]:
    """Every person whom some weights never saw, and virtual patients of all the others than `split`.

    Args:
        subjects: folder of labelled CTs.
        weights: files.
        split: name of the person whom all systems leave out; weights that saw other virtual patients than those made of
            all the rest are not tried on virtual ones.
        virtual: how many virtual patients.
        seed: of the first; not one trained with.

    Raises:
        InputError: an unknown person, or nothing to test.
    """
    folders = {folder.name: folder for folder in find_subjects(subjects)}
    trained = [Trained.of(file) for file in weights]
    if split not in folders or len(folders) < 2:
        raise InputError(f"no such subject beside others in {subjects}: {split}")
    found = []
    for name, folder in folders.items():
        fitting = tuple(one for one in trained if name in one.unseen)
        if fitting:
            found.append(Task(folder, None, fitting, tuple(f for n, f in folders.items() if n != name)))
    rest = [folder for name, folder in folders.items() if name != split]
    fitting = tuple(one for one in trained if one.unseen == (split,))
    found += [Task(rest[n % len(rest)], seed + n, fitting, ()) for n in range(virtual) if fitting]
    if not found:
        raise InputError("no weights left anybody out who is among the subjects; there is nobody to test them on")
    return found


def rows(jobs: list[Task], workers: int = 1) -> Iterator[list[dict]]:
    """The scores of every task, as they come (`suite.scores`), with ``set``, ``system`` and its `cost` added."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    outcomes = fan_out(_scored, jobs, workers=workers)
    with closing(outcomes):
        for outcome in outcomes:
            if outcome.error:
                raise InputError(f"{outcome.item.folder.name} could not be scored: {outcome.error}")
            yield outcome.value


def _scored(task: Task) -> list[dict]:
    from .suite import no_evidence, real_case, scores, virtual_case

    subject = read_subject(task.folder)
    case = real_case(subject) if task.seed is None else virtual_case(subject, task.seed)
    kind = {"set": REAL if task.seed is None else VIRTUAL}
    found = []
    for trained in task.trained:
        reconstructor = _reconstructor(trained.file)
        for views in views_of(reconstructor):
            about = kind | {"system": trained.row + (", two views" if views == 2 else "")} | cost(trained.file, views)
            found += [row | about for row in scores(case, reconstructor, views)]
    others = [read_subject(folder) for folder in task.others]
    return found + [row | kind | {"system": NO_EVIDENCE} for row in no_evidence(case, others)]


@lru_cache(maxsize=12)
def _reconstructor(file: Path):
    from ..pipeline import Reconstructor

    return Reconstructor(device="cpu", weights=file)


def views_of(reconstructor) -> tuple[int, ...]:
    """With how many films a model works."""
    network = reconstructor.network
    return (1, 2) if hasattr(network, "fusion") else (network.views,)


@lru_cache
def cost(file: Path, views: int) -> dict[str, float]:
    """Parameters in millions, and GFLOP of the field on a grid of 128^3 cells as MISE asks it."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    network = _reconstructor(file).network
    size = network.config.image_size
    images = [torch.zeros(1, 1, size, size)] * network.views
    asked = 100_000
    with torch.inference_mode(), FlopCounterMode(display=False) as encode:
        code = network.encode(*images)
    with torch.inference_mode(), FlopCounterMode(display=False) as decode:
        network.decode(code, torch.zeros(1, 1000, 3))
    flops = encode.get_total_flops() + decode.get_total_flops() * asked / 1000
    parameters = sum(p.numel() for p in network.parameters())
    # A network of one film looks at each of two by itself.
    return {"parameters_m": parameters / 1e6, "gflop": flops * views / network.views / 1e9}
