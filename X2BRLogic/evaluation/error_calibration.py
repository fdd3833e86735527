"""What a model's field tells of its errors, learned on virtual patients that it never saw."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..confidence import Calibration
from ..dataset.subject import find_subjects, read_subject
from ..errors import InputError
from ..networks import read_header, with_facts
from ..pipeline import Reconstructor
from .reliability import observed, true_bones
from .suite import virtual_case
from .systems import views_of


def calibrate(weights: Path, subjects: Path, count: int, seed: int) -> Iterator[str]:
    """Put the model's expected errors into the header of its weights, by number of films; tell of each patient.

    The patients are made of the people that the model was trained on, but with a seed of their own.

    Raises:
        InputError: a model that names no bones, or people of whom none was trained on.
    """
    header = read_header(weights)
    exclude = header.get("training", {}).get("exclude", ())
    folders = find_subjects(subjects, [name for name in exclude if (subjects / name).is_dir()])
    reconstructor = Reconstructor(weights=weights, device="cpu")
    if not hasattr(reconstructor.network, "named"):
        raise InputError(f"{weights}: this model names no bones, so no errors are told of them; use x2b_aligned")
    found: dict[int, list] = {views: [] for views in views_of(reconstructor)}
    for n in range(count):
        case = virtual_case(read_subject(folders[n % len(folders)]), seed + n)
        truth = true_bones(case.labels)
        for views, pairs in found.items():
            second = case.lateral if views == 2 else None
            bones, steep = reconstructor.bones_and_steepness(case.radiograph, second)
            for name, inside, distance in observed(bones, truth, case.region):
                pairs.append((steep[name][inside], distance))
        yield f"[{n + 1}/{count}] {case.name}"
    fitted = {
        str(views): vars(Calibration.fitted(*(np.concatenate(part) for part in zip(*pairs, strict=True))))
        for views, pairs in found.items()
    }
    with_facts(weights, expected_error=fitted | {"patients": count, "seed": seed})
