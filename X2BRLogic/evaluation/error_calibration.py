"""What a model tells of its errors, learned on virtual patients that it never saw."""

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
from .suite import Case, real_case, virtual_case
from .systems import views_of


def calibrate(weights: Path, subjects: Path, count: int, seed: int, held_out: str | None = None) -> Iterator[str]:
    """Put the model's expected errors into the header of its weights, by number of films; tell of each patient.

    The patients are made of the people that the model was trained on, but with a seed of their own. Somebody new is
    further from what it knows than they are: by how much, the person held out tells, and all errors grow by that.

    Args:
        weights: of x2b_aligned; changed.
        subjects: labelled CTs.
        count, seed: of the virtual patients.
        held_out: name of a person whom the model never saw.

    Raises:
        InputError: a model that names no bones, people of whom none was trained on, or no such person.
    """
    header = read_header(weights)
    exclude = header.get("training", {}).get("exclude", ())
    folders = find_subjects(subjects, [name for name in exclude if (subjects / name).is_dir()])
    reconstructor = Reconstructor(weights=weights, device="cpu")
    if not hasattr(reconstructor.network, "named"):
        raise InputError(f"{weights}: this model names no bones, so no errors are told of them; use x2b_aligned")
    if held_out and not (held_out in exclude and (subjects / held_out).is_dir()):
        raise InputError(f"{held_out} is nobody in {subjects} whom {weights.name} never saw; it left out {exclude}")
    every = views_of(reconstructor)
    found: dict[int, list] = {views: [] for views in every}
    for n in range(count):
        case = virtual_case(read_subject(folders[n % len(folders)]), seed + n)
        for views in every:
            found[views] += _seen(reconstructor, case, views)
        yield f"[{n + 1}/{count}] {case.name}"
    fitted = {views: Calibration.fitted(found[views]) for views in every}
    growth = dict.fromkeys(every, 1.0)
    if held_out:
        case = real_case(read_subject(subjects / held_out))
        for views in every:
            new = _seen(reconstructor, case, views)
            expected = np.concatenate([fitted[views].expected_error_mm(name, signs) for name, signs, _ in new])
            observed_mm = np.concatenate([distance for _, _, distance in new])
            growth[views] = max(1.0, float(observed_mm.mean() / expected.mean()))
        yield f"{held_out}: errors grow by {', '.join(f'{factor:.2f}' for factor in growth.values())}"
    facts = {str(views): vars(fitted[views].grown(growth[views])) for views in every}
    with_facts(weights, expected_error=facts | {"patients": count, "seed": seed, "held_out": held_out})


def _seen(reconstructor: Reconstructor, case: Case, views: int) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Name, signs and distance to the truth at the vertices of each bone."""
    bones, signs = reconstructor.bones_and_signs(case.radiograph, case.lateral if views == 2 else None)
    judged = observed(bones, true_bones(case.labels), case.region)
    return [(name, signs[name][inside], distance) for name, inside, distance in judged]
