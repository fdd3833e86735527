"""Everything that reads a file of a user's or of an earlier run: what it is given, and how it is called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from X2BRLogic.files import suffix

from . import mutations as m
from . import originals


@dataclass(frozen=True)
class Reader:
    """A reader under test.

    Attributes:
        name: for the table.
        make: writes the whole files into an empty folder.
        files: pattern of those that are damaged, one a case.
        read: does all that the program does with the file before it believes it; raises `InputError` or returns.
        damage: by suffix of the file; ``""`` is any other.
        share: its cases of some hundred thousand of all readers: the slow ones get fewer.
    """

    name: str
    make: Callable[[Path], None]
    files: str
    read: Callable[[Path], object]
    damage: dict[str, m.Damage]
    share: int

    def damaged(self, file: str, content: bytes, random) -> bytes:
        """A case's content of a file."""
        ways = self.damage.get(suffix(Path(file)), self.damage.get("", m.blind))
        return ways(content, random)


def _radiograph(path: Path) -> None:
    from X2BRLogic.radiograph import network_image, read_radiograph

    network_image(read_radiograph(path), 64, clahe=False)


def _geometry(path: Path) -> None:
    from X2BRLogic.radiograph import geometry_beside, network_image, radiograph_from_array

    geometry, _ = geometry_beside(path.with_name("film.png"))
    network_image(radiograph_from_array(_FILM, "film.png", geometry=geometry), 64, clahe=False)


def _scan(path: Path) -> None:
    from X2BRLogic.volume_io import read_ct

    read_ct(path)


def _series(path: Path) -> None:
    _scan(path.parent)


def _labels(path: Path) -> None:
    from X2BRLogic.segmentation import read_bone_labels

    read_bone_labels(path, originals.scan_of_truth())


def _masks(path: Path) -> None:
    _labels(path.parent)


def _mesh(path: Path) -> None:
    from X2BRLogic.evaluation.inputs import load_shape
    from X2BRLogic.registration.files import read_shape

    read_shape(path)
    load_shape(path)


def _points(path: Path) -> None:
    from X2BRLogic.registration import Settings, register
    from X2BRLogic.registration.files import read_shape

    register(read_shape(path), _CLOUD, "bcpd", Settings(nystrom_g=10, nystrom_p=20, iterations=2, minimum_iterations=1))


def _skeleton(path: Path) -> None:
    from X2BRLogic.template import read_skeleton

    read_skeleton(path)


def _bone_folder(path: Path) -> None:
    _skeleton(path.parent)


def _weights(path: Path) -> None:
    from X2BRLogic.networks import load_model

    load_model(path)


def _shape_model(path: Path) -> None:
    from X2BRLogic.dataset.motion import ShapeModel

    _ = ShapeModel.read(path).modes


def _detector(path: Path) -> None:
    from X2BRLogic.detection.detector import propose
    from X2BRLogic.detection.runtime import load

    propose(originals.smooth_film(), load("onnx", path))


def _configuration(path: Path) -> None:
    from X2BRLogic.detection.config import is_detector, read_detector_config
    from X2BRLogic.training.config import read_config

    (read_detector_config if is_detector(path) else read_config)(path)


def _boxes(path: Path) -> None:
    from X2BRLogic.detection import read_boxes

    read_boxes(path)


def _result(path: Path) -> None:
    from X2BRLogic.results import read_result

    root = next(parent for parent in path.parents if (parent / "bones.ply").is_file())
    read_result(root)


def _handed_over(path: Path) -> None:
    from X2BRLogic.worker.exchange import unpack_radiograph

    unpack_radiograph(path.parent)


def _message(path: Path) -> None:
    _worker().say(path.read_bytes())


@cache
def _worker():
    from .talk import Talk

    return Talk()


def _dataset(path: Path) -> None:
    """As ``x2br dataset check`` and its page look at it."""
    from X2BRLogic.dataset import check, overview, settings

    root = next(parent for parent in path.parents if (parent / "subjects").is_dir())
    made_with = settings.read_settings(root)
    check.check_tables(root)
    check.check_subject(root, made_with, "one")
    overview.entries(root)


def _population(path: Path) -> None:
    from X2BRLogic.dataset import check_population, overview

    next(check_population.check_population(path.parent))
    check_population.check_patient(1, ("a",), path.with_name("patient_000000.npz"))
    for entry in overview.entries(path.parent)[1]:
        entry.picture()


_FILM = originals.smooth_film()
_CLOUD = np.random.default_rng(1).normal(0, 50, (30, 3))
_IN_JSON = m.either(*[m.in_json] * 19, m.deep_json)
_PICTURE = {".png": m.either(m.blind, m.in_png, m.in_png)}
_DICOM = {"": m.either(m.blind, m.blind, m.in_deflated)}
_TENSORS = {"": m.either(m.blind, m.in_safetensors, m.in_safetensors)}
_VOLUME = {
    ".nii.gz": m.either(m.blind, m.in_gzip, m.in_gzip),
    ".nrrd": m.either(m.blind, m.blind, m.in_packed_nrrd),
    ".mha": m.either(m.blind, m.blind, m.in_packed_mha),
}
_ARRAYS = {".json": _IN_JSON, ".npz": m.either(m.blind, m.in_zip)}

READERS = (
    Reader("radiograph: PNG, JPEG, TIFF", originals.pictures, "*", _radiograph, _PICTURE, 12000),
    Reader("radiograph: DICOM", originals.films, "*", _radiograph, _DICOM, 8000),
    Reader("radiograph: NRRD, NIfTI, MetaImage", originals.slices, "*", _radiograph, _VOLUME, 5000),
    Reader("geometry.json", originals.film_with_geometry, "*.json", _geometry, {"": _IN_JSON}, 6000),
    Reader("CT: NIfTI, NRRD, MetaImage", originals.scans, "*.[nm]*", _scan, _VOLUME, 5000),
    Reader("CT: DICOM series", originals.scan_series, "00[78].dcm", _series, {}, 1500),
    Reader("labels: NIfTI, NRRD, MetaImage", originals.labels, "*", _labels, _VOLUME, 5000),
    Reader("labels: seg.nrrd", originals.segments, "*", _labels, {}, 5000),
    Reader("labels: DICOM SEG", originals.dicom_segments, "*", _labels, {}, 1500),
    Reader("labels: folder of masks", originals.masks, "*", _masks, _VOLUME, 3000),
    Reader("mesh: PLY, STL, OBJ, OFF", originals.meshes, "*", _mesh, {}, 8000),
    Reader("points: NPY, CSV, XYZ", originals.points, "*", _points, {}, 6000),
    Reader("template: GLB and JSON", originals.template, "*", _skeleton, {".json": _IN_JSON}, 6000),
    Reader("template: folder of meshes", originals.bone_files, "*", _bone_folder, {}, 2000),
    Reader("SKEL: pickle, NPZ", originals.skel, "*", _skeleton, _ARRAYS, 800),
    Reader("weights: safetensors", originals.weights, "*", _weights, _TENSORS, 5000),
    Reader("shape model: safetensors", originals.shape_model, "*", _shape_model, _TENSORS, 6000),
    Reader("detector: ONNX", originals.detector, "*", _detector, {}, 2500),
    Reader("training configuration: TOML", originals.configurations, "*", _configuration, {}, 6000),
    Reader("boxes.json", originals.boxes, "*", _boxes, {"": _IN_JSON}, 6000),
    Reader("result: JSON, PLY, PNG", originals.result, "**/*", _result, {".json": _IN_JSON, **_PICTURE}, 4000),
    Reader("worker: arrays handed over", originals.handed_over, "*", _handed_over, _ARRAYS, 5000),
    Reader("worker: messages", originals.messages, "*", _message, {"": _IN_JSON}, 3000),
    Reader("data set: JSON, Parquet", originals.dataset, "**/*", _dataset, {".json": _IN_JSON}, 3000),
    Reader("virtual patients: JSON, NPZ", originals.population, "*", _population, _ARRAYS, 4000),
)
BY_NAME = {reader.name: reader for reader in READERS}
