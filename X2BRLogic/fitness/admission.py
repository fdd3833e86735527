"""A film looked at before it is reconstructed: what is wrong with it, and what mends it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..detection import Box, detect
from ..errors import InputError
from ..models import X2BR
from ..radiograph import Handling, Radiograph
from .evidence import CHEST, NOTHING, THORACIC, bones_seen, needed, seen_by_handling
from .heart import MIRRORED, heart_side
from .scale import spacing_from_bones, with_spacing_from_bones

#: From so far off, the spacing that bones have is told where it is not taken.
_TOLD = 0.1


@dataclass(frozen=True)
class Check:
    """What a film is.

    Attributes:
        boxes: of its bones: those given, else those detected; ``None`` where there is nothing to detect with.
        notes: of the detection.
        bones: `evidence.bones_seen`, of 36; ``None`` likewise.
        heart: `heart.heart_side`; ``None`` where it cannot be told.
        handling: that would set the film right, as far as the bones show it: nothing where it is right.
        warnings: sentences that the user should see.
    """

    boxes: tuple[Box, ...] | None
    notes: tuple[str, ...]
    bones: float | None
    heart: float | None
    handling: Handling
    warnings: tuple[str, ...]

    def summary(self) -> dict:
        """For a summary, ready for JSON."""
        return {
            "bones_seen": None if self.bones is None else round(self.bones, 2),
            "heart_side": None if self.heart is None else round(self.heart, 3),
            "proposed": self.handling.options,
        }


def check(radiograph: Radiograph, boxes: Sequence[Box] | None = None, who: str = "reconstruction") -> Check:
    """Look at a film that is taken for a frontal chest film.

    It is judged by the bones that the detector sees in it (`evidence`), in doubt also turned and as a negative, and by
    the side on which the heart lies (`heart`). Nothing is done to it: what would mend it is told.

    Args:
        radiograph: AP or PA.
        boxes: of its bones, where they are known; else, or where they are too few to show a chest, bones are detected.
        who: that takes frontal films alone, for the sentence on others.

    Raises:
        InputError: it is not frontal; or it shows no thorax however it is turned, and a result would mean nothing.
    """
    radiograph.require_frontal(who)
    notes: tuple[str, ...] = ()
    if boxes is None or bones_seen(boxes) < CHEST:
        try:
            found = detect(radiograph)
        except InputError as error:  # without onnxruntime or weights, films are reconstructed all the same
            unchecked = f"whether this is a chest film was not looked at: {error}"
            return Check(None, (), None, None, Handling(), (unchecked,))
        boxes, notes = found.boxes, found.notes
    bones = bones_seen(boxes)
    if bones < CHEST:
        handling, warning = _doubtful(radiograph, bones)
        return Check(tuple(boxes), notes, bones, None, handling, (warning,))
    heart = heart_side(radiograph.pixels, boxes)
    warnings = ()
    if heart is not None and heart < MIRRORED:
        warnings = (
            "the heart's shadow lies on the patient's right: either the film is mirrored, which the option --mirror "
            "undoes, or the heart is displaced; a marker on the film tells",
        )
    return Check(tuple(boxes), notes, bones, heart, Handling(), warnings)


@dataclass(frozen=True)
class Admitted:
    """A film that can be reconstructed.

    Attributes:
        radiograph: with what there is to say of it among its warnings.
        boxes: that were given, else those found; ``None`` where there is nothing to detect with.
        facts: of the check, for the summary.
    """

    radiograph: Radiograph
    boxes: Sequence[Box] | None
    facts: dict


def admit(radiograph: Radiograph, boxes: Sequence[Box] | None = None, *, method: str, rescale: bool = True) -> Admitted:
    """`check` a film on its way to reconstruction.

    Args:
        boxes: as for `pipeline.Reconstructor.reconstruct`.
        method: that reconstructs; if it names bones by boxes, what the detection had to say is a warning, too.
        rescale: whether a spacing that is not known is taken from the bones; else it is told where it is far off.

    Raises as `check`.
    """
    film = check(radiograph, boxes, method)
    warnings = list(film.warnings)
    if method == X2BR and boxes is None:
        warnings += [f"detection: {note}" for note in film.notes]
    seen = film.boxes or ()
    admitted = with_spacing_from_bones(radiograph, seen) if rescale else radiograph
    if not rescale and not radiograph.known["spacing"]:
        warnings += _told_spacing(radiograph, seen)
    fresh = [warning for warning in warnings if warning not in admitted.warnings]
    admitted = replace(admitted, warnings=(*admitted.warnings, *fresh))
    return Admitted(admitted, film.boxes if boxes is None else boxes, film.summary())


def _told_spacing(radiograph: Radiograph, boxes: Sequence[Box]) -> list[str]:
    estimate, assumed = spacing_from_bones(boxes, radiograph.geometry), float(np.mean(radiograph.geometry.spacing))
    if estimate is None or abs(np.log(estimate / assumed)) < _TOLD:
        return []
    return [
        f"by the size of vertebrae and ribs the pixel spacing is about {estimate:.3f} mm, not the assumed "
        f"{assumed:.3f}; give it unless something better is known"
    ]


def _doubtful(radiograph: Radiograph, bones: float) -> tuple[Handling, str]:
    """What sets a film right in which few bones are seen, and a warning. Raises `InputError` for what is no chest."""
    try:
        handling = needed(seen := seen_by_handling(radiograph, bones))
    except InputError:  # the boxes were given, and there is nothing to detect with
        handling, seen = Handling(), {Handling(): bones}
    if handling:
        how = [f"turned by {handling.turn} degrees clockwise"] if handling.turn else []
        how += ["as a negative"] if handling.invert else []
        return handling, (
            f"the film seems to be stored the wrong way: {' and '.join(how)} it shows {seen[handling]:.0f} of "
            f"{len(THORACIC)} bones, as it is {bones:.0f}; the option {handling.options} sets it right"
        )
    if bones < NOTHING:
        raise InputError(
            f"{radiograph.source} shows no thorax, whichever way it is turned ({bones:.1f} of {len(THORACIC)} bones "
            "seen); give a frontal chest film"
        )
    return handling, (
        f"this may be no frontal chest film, or a poor one: only {bones:.0f} of {len(THORACIC)} bones are seen; "
        "compare the result with the film before you use it"
    )
