"""The mean asymmetry of chest films, made from virtual patients: what `heart` compares films with."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from ..detection.yolo_layout import TRAIN, label_file, picture_file, read_labels
from ..errors import InputError
from ..files import written_whole
from .heart import SCHEMA, asymmetry


def learn(films: Path, out: Path, every: int = 1) -> int:
    """Write the mean asymmetry of training films with exact boxes, JSON; how many went into it.

    Args:
        films: folder that ``x2br dataset boxes`` wrote.
        every: one film in so many is taken.

    Raises:
        InputError: there is no such film, or the file cannot be written.
    """
    found = []
    for labels in sorted(label_file(films, TRAIN, "*").parent.glob("[!.]*.txt"))[::every]:
        with Image.open(picture_file(films, TRAIN, labels.stem)) as stored:
            image = np.asarray(stored, dtype=np.float32) / 255.0  # equalised when it was written
        part = asymmetry(image, read_labels(labels, image.shape))
        if part is not None:
            found.append(part)
    if not found:
        raise InputError(f"{films} holds no film with enough bones; make some with x2br dataset boxes")
    mean = [[round(float(value), 4) for value in row] for row in np.mean(found, axis=0)]
    text = {"schema": SCHEMA, "films": len(found), "asymmetry": mean}
    with written_whole(out) as partial:
        partial.write_text(json.dumps(text) + "\n", encoding="utf-8")
    return len(found)
