"""Pictures that are no frontal chest films: from installed packages, from CTs, from a folder, and made here."""

from __future__ import annotations

import gzip
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from ..dataset.subject import find_subjects, read_subject
from ..drr import Renderer, as_radiograph, isocentre
from ..files import PICTURES, is_dicom, suffix
from ..geometry import XRayGeometry
from ..radiograph.film import MIN_EDGE

#: Kind, name, pixels (rows, columns).
Picture = tuple[str, str, np.ndarray]

_FOLDERS = {
    "skimage": "data",
    "sklearn": "datasets/images",
    "matplotlib": "mpl-data/sample_data",
    "ultralytics": "assets",
}
_MODALITIES = {"CR": "radiograph", "DX": "radiograph", "CT": "slice", "MR": "slice", "US": "ultrasound"}
_SIZE = 256
#: Side views and obliques, degrees from AP.
_ANGLES = {"lateral": (90, -90), "oblique": (45, -45, 60)}


def usable(pixels: np.ndarray) -> bool:
    """Whether a picture passes what every film must: large enough, of one channel, not blank."""
    return pixels.ndim == 2 and min(pixels.shape) >= MIN_EDGE and float(pixels.min()) < float(pixels.max())


def from_packages() -> Iterator[Picture]:
    """Photographs and microscopy of scikit-image, scikit-learn, matplotlib and ultralytics; scans of pydicom."""
    for package, folder in _FOLDERS.items():
        if spec := find_spec(package):
            yield from from_folder(Path(spec.origin).parent / folder, "photograph")
    if spec := find_spec("pydicom"):
        yield from from_folder(Path(spec.origin).parent / "data" / "test_files", "other scan")
    if spec := find_spec("matplotlib"):
        with gzip.open(Path(spec.origin).parent / "mpl-data" / "sample_data" / "s1045.ima.gz") as stream:
            pixels = np.frombuffer(stream.read(), np.uint16).reshape(_SIZE, _SIZE)
        yield "slice", "s1045.ima.gz", pixels.astype(np.float32)


def from_folder(folder: Path, kind: str) -> Iterator[Picture]:
    """Pictures and DICOM images of a folder and below, in grey; of DICOM the kind goes by the modality."""
    for path in sorted(folder.rglob("*")):
        try:
            if suffix(path) in PICTURES:
                with Image.open(path) as picture:
                    pixels = np.asarray(picture.convert("L"), dtype=np.float32)
                found = kind
            elif path.is_file() and is_dicom(path):
                found, pixels = _dicom(path, kind)
            else:
                continue
        except Exception:  # test files of packages are broken in every way, and then they are no pictures
            continue
        if usable(pixels):
            yield found, path.name, pixels


def _dicom(path: Path, kind: str) -> tuple[str, np.ndarray]:
    import pydicom

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path)
        pixels = dataset.pixel_array.astype(np.float32)
    if pixels.ndim == 4:
        pixels = pixels[0]
    if pixels.ndim == 3:
        pixels = pixels[..., 0] if pixels.shape[-1] == 3 else pixels[0]
    if dataset.get("PhotometricInterpretation") == "MONOCHROME1":
        pixels = pixels.max() - pixels
    return _MODALITIES.get(dataset.get("Modality"), kind), pixels


def made_here(seed: int = 0) -> Iterator[Picture]:
    """Noise of several grains, and patterns; some of them with two dark lungs."""
    rng = np.random.default_rng(seed)
    for n in range(4):
        yield "noise", f"white {n}", rng.normal(size=(_SIZE, _SIZE))
        yield "noise", f"specks {n}", (rng.random((_SIZE, _SIZE)) > 0.97).astype(float)
        for grain in (2, 8, 24):
            yield "noise", f"grain {grain}, {n}", ndimage.gaussian_filter(rng.normal(size=(_SIZE, _SIZE)), grain)
    y, x = (axis.astype(float) for axis in np.mgrid[:_SIZE, :_SIZE])
    lungs = sum(np.exp(-((x - c) ** 2 / 1250 + (y - 128) ** 2 / 7200)) for c in (80, 176))
    patterns = {
        "ramp across": x,
        "ramp down": y,
        "disc": (np.hypot(x - 128, y - 128) < 80).astype(float),
        "cone": -np.hypot(x - 128, y - 128),
        "checks": (x // 16 + y // 16) % 2,
        "stripes": np.sin(x / 6),
        "bars": np.sin(y / 6),
        "two lungs": -lungs,
        "two bright lungs": lungs,
    }
    yield from (("pattern", name, pixels) for name, pixels in patterns.items())


def from_subjects(folder: Path) -> Iterator[Picture]:
    """Of each CT: slices in three directions; DRRs from the side, oblique, of the abdomen's end, and of one side."""
    for place in find_subjects(folder):
        subject = read_subject(place)
        scan = np.clip(subject.ct.array.astype(np.float32), -1000, 1000)
        for part in (0.3, 0.5, 0.7):
            k, j, i = (int(part * n) for n in scan.shape)
            yield "axial slice", f"{subject.name} {part}", scan[k]
            yield "coronal slice", f"{subject.name} {part}", scan[::-1, j]
            yield "sagittal slice", f"{subject.name} {part}", scan[::-1, :, i]
        renderer, centre = Renderer(subject.ct), isocentre(subject.ct, subject.labels)

        def film(angle: float, renderer=renderer, centre=centre) -> np.ndarray:
            geometry = XRayGeometry.from_view("AP", angle=angle, isocentre=centre)
            return as_radiograph(renderer.line_integrals(geometry), clahe=False).astype(np.float32)

        for kind, angles in _ANGLES.items():
            yield from ((kind, f"{subject.name} {angle}", film(angle)) for angle in angles)
        frontal = film(0)
        rows = np.flatnonzero(frontal.max(axis=1) > 0.05)
        top, bottom = int(rows[0]), int(rows[-1])
        height = bottom - top
        yield "abdomen", subject.name, frontal[bottom - int(0.35 * height) : bottom]
        yield "part of a chest", f"{subject.name} apex", frontal[top : top + int(0.3 * height)]
        yield "part of a chest", f"{subject.name} side", frontal[:, : frontal.shape[1] // 3]
