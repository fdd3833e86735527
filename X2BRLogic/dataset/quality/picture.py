"""The verdict for the eye: the scan and its labels from the front and the side, cut and doubtful bones marked."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from ...anatomy import BONES, CARTILAGES
from ...volume import Volume
from .verdict import REJECT, Verdict

#: Bones that a finding is about, by its grade, and where the scan cuts a bone.
REJECTED_COLOUR = (235, 40, 60)
DOUBTFUL_COLOUR = (255, 170, 0)
CUT_COLOUR = (0, 220, 255)
_ACCEPTED_COLOUR = (60, 180, 90)
#: These two gates speak of the whole scan; their bones keep their colours.
_WHOLE_SCAN = ("orientation", "field_of_view")
_GAP, _BAR, _TICK = 4, 5, 3
#: Attenuation against water above which the film is black bone; below it, air is clear.
_AIR_HU = -1000.0


def picture(ct: Volume, labels: Volume, verdict: Verdict, height: int = 256) -> Image.Image:
    """Three panels in one picture: the scan summed from the front, the labels from the front and from the left.

    The patient's right is on the left of the frontal panels. Every bone has its colour of `anatomy`, darker with depth;
    bones that the verdict objects to are red where it rejects and amber where it remarks, ends cut by the scan are
    marked in cyan along its edge, and a bar below is green for accepted, red for rejected. The shoulder girdle and the
    costal cartilages are left out: they hide what is judged.

    Args:
        ct: Hounsfield units.
        labels: label numbers of `anatomy` on the same grid.
        verdict: of `assess`.
        height: of the panels in pixels.
    """
    axes, flips = _to_patient(labels.ijk_to_ras)
    hu, names = (np.flip(v.array.transpose(axes), flips) for v in (ct, labels))  # [z, y, x], each growing with RAS
    spacing = labels.spacing[::-1][list(axes)]
    colours = _colours(verdict)
    shown = np.where(colours.any(axis=1), np.arange(len(colours)), 0).astype(np.uint8)[
        np.minimum(names, len(colours) - 1)
    ]
    scale = height / max(shown.shape[0] * spacing[0], 1.0)

    def panel(pixels: np.ndarray, across: int) -> Image.Image:
        size = max(1, round(shown.shape[across] * spacing[across] * scale)), height
        return Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST)

    front = np.moveaxis(shown, 1, 0)[::-1, ::-1, ::-1]  # from the front: depth, down, and to the patient's left
    side = np.moveaxis(shown, 2, 0)[:, ::-1, ::-1]  # from the left: depth, down, and to the back
    panels = [panel(_film(hu), 2), panel(_seen(front, colours), 2), panel(_seen(side, colours), 1)]

    width = sum(p.width for p in panels) + _GAP * (len(panels) - 1)
    canvas = Image.new("RGB", (width, height + _BAR))
    left = 0
    for n, image in enumerate(panels):
        canvas.paste(image, (left, 0))
        if n:
            _mark_cuts(canvas, left, image, front if n == 1 else side)
        left += image.width + _GAP
    bar = _ACCEPTED_COLOUR if verdict.accepted else REJECTED_COLOUR
    ImageDraw.Draw(canvas).rectangle((0, height, width, height + _BAR), fill=bar)
    return canvas


def _to_patient(ijk_to_ras: np.ndarray) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Axes of ``[k, j, i]`` in the order z, y, x of the patient as nearly as they go, and which then run backwards."""
    directions = ijk_to_ras[:3, :3] / np.linalg.norm(ijk_to_ras[:3, :3], axis=0)
    chosen: list[int] = []
    for world in (2, 1, 0):
        chosen.append(max((n for n in range(3) if n not in chosen), key=lambda n: abs(directions[world, n])))
    flips = tuple(at for at, (world, n) in enumerate(zip((2, 1, 0), chosen, strict=True)) if directions[world, n] < 0)
    return tuple(2 - n for n in chosen), flips


def _colours(verdict: Verdict) -> np.ndarray:
    """RGB by label, ``(256, 3)`` float32 in 0-255; black for what is not shown."""
    table = np.zeros((256, 3), dtype=np.float32)
    marked = {}
    for finding in sorted(verdict.findings, key=lambda f: f.grade == REJECT):  # rejections last: they win
        if finding.gate not in _WHOLE_SCAN:
            marked |= dict.fromkeys(finding.bones, REJECTED_COLOUR if finding.grade == REJECT else DOUBTFUL_COLOUR)
    for bone in BONES:
        if bone.group != "shoulder" and bone.label != CARTILAGES:
            table[bone.label] = marked.get(bone.name, np.multiply(bone.colour, 255))
    return table


def _film(hu: np.ndarray) -> np.ndarray:
    """Attenuation summed from front to back as a grey picture ``(rows, columns, 3)`` uint8, bone white."""
    summed = np.zeros((hu.shape[0], hu.shape[2]), dtype=np.float32)
    for coronal in np.moveaxis(hu, 1, 0):  # one at a time: a scan as float would take gigabytes
        summed += np.maximum(coronal - np.float32(_AIR_HU), 0)
    low, high = np.percentile(summed, (1, 99.5))
    grey = (np.clip((summed - low) / max(float(high - low), 1e-6), 0, 1) * 255).astype(np.uint8)
    return np.repeat(grey[::-1, ::-1, None], 3, axis=2)


def _seen(names: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """The first label along the first axis in its colour, darker with depth, ``(rows, columns, 3)`` uint8."""
    depth = (names > 0).argmax(axis=0)
    first = np.take_along_axis(names, depth[None], axis=0)[0]
    shade = 1 - 0.7 * depth / max(names.shape[0] - 1, 1)
    return (colours[first] * shade[..., None]).astype(np.uint8)


def _mark_cuts(canvas: Image.Image, left: int, image: Image.Image, names: np.ndarray) -> None:
    """Ticks along the panel's edge where a bone touches the scan's border."""
    draw = ImageDraw.Draw(canvas)
    _, rows, columns = names.shape
    wide, high = image.width / columns, image.height / rows
    for row, y in ((0, 0), (rows - 1, image.height - _TICK)):
        for n in np.flatnonzero(names[:, row].any(axis=0)):
            draw.rectangle((left + n * wide, y, left + (n + 1) * wide, y + _TICK - 1), fill=CUT_COLOUR)
    for column, x in ((0, 0), (columns - 1, image.width - _TICK)):
        for n in np.flatnonzero(names[:, :, column].any(axis=0)):
            draw.rectangle((left + x, n * high, left + x + _TICK - 1, (n + 1) * high), fill=CUT_COLOUR)
