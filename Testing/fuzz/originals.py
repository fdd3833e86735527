"""Whole small files, each of which its reader reads: damage starts from these."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
import trimesh
from PIL import Image
from pydicom import uid
from scipy import ndimage, sparse

from Testing.core.test_broken_files import film, hounsfield, picture, save, series
from Testing.core.test_segmentation_reading import dicom_segmentation, label_table, named_nifti, slicer_segmentation
from Testing.core.test_template_reading import skel_data
from X2BRLogic import anatomy
from X2BRLogic.detection import Box, write_boxes
from X2BRLogic.geometry import XRayGeometry
from X2BRLogic.surface import simplify
from X2BRLogic.template import Skeleton, load_template, save_skeleton
from X2BRLogic.volume import Volume

SIZE = (80, 72)
BONES = ("rib_left_3", "rib_right_3", "rib_left_4", "rib_right_4", "sternum", "vertebra_T3", "vertebra_T4")


def pictures(folder: Path) -> None:
    grey = picture(SIZE)
    deep = grey.astype(np.uint16) * 256
    Image.fromarray(grey).save(folder / "grey.png")
    Image.fromarray(deep).save(folder / "deep.png")
    Image.fromarray(grey).convert("P").save(folder / "palette.png")
    Image.fromarray(np.dstack([grey] * 3)).save(folder / "rgb.png")
    Image.fromarray(grey).save(folder / "grey.jpg")
    Image.fromarray(grey).save(folder / "progressive.jpeg", progressive=True, exif=b"Exif\0\0II*\0\x08\0\0\0\0\0")
    Image.fromarray(grey).save(folder / "raw.tif")
    Image.fromarray(deep).save(folder / "lzw.tiff", compression="tiff_lzw")
    Image.fromarray(deep).save(folder / "deflate.tiff", compression="tiff_adobe_deflate")
    Image.fromarray(grey.astype(np.float32)).save(folder / "float.tiff")


def films(folder: Path) -> None:
    """DICOM: plain, deflated, run-length, JPEG and JPEG 2000."""
    grey = picture(SIZE)
    film(folder / "plain.dcm", pixels=grey)
    film(folder / "windowed.dcm", _windowed, pixels=grey)
    whole = pydicom.dcmread(folder / "plain.dcm")
    whole.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian
    whole.save_as(folder / "deflated.dcm", enforce_file_format=True)
    packed = pydicom.dcmread(folder / "plain.dcm")
    packed.compress(uid.RLELossless)
    packed.save_as(folder / "rle.dcm", enforce_file_format=True)
    for name, syntax, kind in (("jpeg", uid.JPEGBaseline8Bit, "JPEG"), ("jpeg2000", uid.JPEG2000Lossless, "JPEG2000")):
        film(folder / f"{name}.dcm", lambda d, s=syntax, k=kind: _encapsulate(d, grey, s, k, folder), pixels=grey)


def _windowed(dataset: pydicom.Dataset) -> None:
    dataset.WindowCenter, dataset.WindowWidth, dataset.VOILUTFunction = 100, 200, "SIGMOID"
    dataset.ImagerPixelSpacing, dataset.ViewPosition = [2.0, 2.0], "PA"
    dataset.DistanceSourceToDetector, dataset.DistanceSourceToPatient = 1800, 1500
    dataset.PatientOrientation = ["R", "F"]


def _encapsulate(dataset: pydicom.Dataset, grey: np.ndarray, syntax: str, kind: str, folder: Path) -> None:
    Image.fromarray(grey).save(folder / "frame", format=kind)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelData = pydicom.encaps.encapsulate([(folder / "frame").read_bytes()])
    dataset["PixelData"].VR = "OB"
    (folder / "frame").unlink()


def slices(folder: Path) -> None:
    for suffix in (".nii", ".nii.gz", ".nrrd", ".mha"):
        save(folder / f"slice{suffix}", picture(SIZE))


def film_with_geometry(folder: Path) -> None:
    Image.fromarray(picture(SIZE)).save(folder / "film.png")
    geometry = XRayGeometry.from_view("AP", shape=SIZE, spacing=(5.0, 5.0)).to_dict()
    (folder / "film.geometry.json").write_text(json.dumps(geometry))


def scans(folder: Path) -> None:
    values = hounsfield((18, 17, 16))
    for suffix in (".nii", ".nii.gz", ".nrrd", ".mha", ".mhd"):
        save(folder / f"ct{suffix}", values)
    save(folder / "packed.nrrd", values, compress=True)
    save(folder / "packed.mha", values, compress=True)


def scan_series(folder: Path) -> None:
    series(folder / "series")
    for file in sorted((folder / "series").iterdir()):
        file.rename(folder / file.name)
    (folder / "series").rmdir()


# --- labels -----------------------------------------------------------------------------------------------------------


@cache
def truth() -> Volume:
    """Blocks in the order of bones."""
    array = np.zeros((20, 18, 20), dtype=np.uint8)
    for n in range(1, 5):
        low = 18 - 4 * n
        array[low : low + 2, 4:8, 2:5] = anatomy.BY_NAME[f"rib_left_{n}"].label
        array[low : low + 2, 4:8, 15:18] = anatomy.BY_NAME[f"rib_right_{n}"].label
        array[low : low + 2, 4:8, 8:12] = anatomy.BY_NAME[f"vertebra_T{n}"].label
    return Volume(array, np.diag([4.0, 4.0, 4.0, 1.0]))


@cache
def scan_of_truth() -> Volume:
    return Volume(np.where(truth().array > 0, 400, 20).astype(np.int16), truth().ijk_to_ras)


def labels(folder: Path) -> None:
    from X2BRLogic.volume_io import write_volume

    for suffix in (".nii.gz", ".nrrd", ".mha"):
        write_volume(folder / f"bones{suffix}", truth())
    sitk.WriteImage(sitk.ReadImage(str(folder / "bones.nii.gz")), str(folder / "bones.nii"))
    named_nifti(folder / "named.nii", truth(), label_table(np.unique(truth().array)[1:]))


def segments(folder: Path) -> None:
    slicer_segmentation(folder / "one.seg.nrrd", truth(), 1)
    slicer_segmentation(folder / "three.seg.nrrd", truth(), 3)


def dicom_segments(folder: Path) -> None:
    dicom_segmentation(folder / "coded.dcm", truth(), coded=True)
    dicom_segmentation(folder / "named.dcm", truth(), coded=False)


def masks(folder: Path) -> None:
    from X2BRLogic.volume_io import write_volume

    for name in ("rib_left_1", "rib_right_1", "vertebrae_T1"):
        label = anatomy.BY_NAME[name.replace("vertebrae", "vertebra")].label
        mask = (truth().array == label).astype(np.uint8)
        write_volume(folder / f"{name}.nrrd", Volume(mask, truth().ijk_to_ras))


# --- shapes -----------------------------------------------------------------------------------------------------------


def meshes(folder: Path) -> None:
    box = trimesh.creation.icosphere(subdivisions=1, radius=30.0)
    for suffix in ("ply", "stl", "obj", "off"):
        box.export(folder / f"mesh.{suffix}")
    box.export(folder / "letters.ply", encoding="ascii")
    box.export(folder / "letters.stl", file_type="stl_ascii")


def points(folder: Path) -> None:
    table = np.random.default_rng(0).normal(0, 50, (40, 3))
    np.save(folder / "points.npy", table)
    np.savetxt(folder / "points.csv", table, delimiter=",", fmt="%.3f")
    np.savetxt(folder / "points.xyz", table, fmt="%.3f")


@cache
def _few_bones() -> Skeleton:
    few = load_template().subset(BONES)
    return replace(few, bones={name: simplify(mesh, 60) for name, mesh in few.bones.items()})


def template(folder: Path) -> None:
    save_skeleton(_few_bones(), folder)


def bone_files(folder: Path) -> None:
    for n, (name, mesh) in enumerate(_few_bones().bones.items()):
        mesh.export(folder / f"{name}.{('stl', 'ply', 'obj')[n % 3]}")
    (folder / "bones.csv").write_text("file,bone\nsternum.stl,sternum\n")


def skel(folder: Path) -> None:
    data = skel_data({name: simplify(mesh, 300) for name, mesh in load_template().bones.items()})
    (folder / "skel.pkl").write_bytes(pickle.dumps(data, protocol=2))
    (folder / "sparse.pkl").write_bytes(
        pickle.dumps(data | {"skel_weights": sparse.csc_matrix(np.asarray(_dense(data["skel_weights"])))}, protocol=4)
    )
    np.savez(folder / "skel.npz", **data | {"skel_weights": np.asarray(_dense(data["skel_weights"]))})


def _dense(weights) -> np.ndarray:
    return weights.todense() if sparse.issparse(weights) else weights


# --- models, settings, records ----------------------------------------------------------------------------------------


def weights(folder: Path) -> None:
    import torch

    from X2BRLogic.networks import save_model
    from X2BRLogic.networks.x2b import X2B, X2BConfig

    torch.manual_seed(0)
    small = X2BConfig(encoder="test_convnext", image_size=64, latent=8, hidden=8, blocks=1, octaves=1)
    save_model(X2B(small), folder / "x2b.safetensors")


def shape_model(folder: Path) -> None:
    from X2BRLogic.dataset.motion import ShapeModel

    poses = np.random.default_rng(0).normal(0, 0.01, (3, 2, 4, 4))
    ShapeModel(("a", "b", "c"), np.array([1, 13]), poses).save(folder / "shape_model.safetensors")


def detector(folder: Path) -> None:
    """A network of one layer with a detector's input and output."""
    import onnx
    from onnx import TensorProto, helper

    from X2BRLogic.detection.classes import CLASSES

    names = CLASSES[:3]
    kernel = np.random.default_rng(0).normal(0, 0.1, (4 + len(names), 1, 16, 16)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["images", "kernel"], ["grid"], strides=[16, 16]),
        helper.make_node("Reshape", ["grid", "shape"], ["output0"]),
    ]
    graph = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 1, 64, 64])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 4 + len(names), 16])],
        [
            helper.make_tensor("kernel", TensorProto.FLOAT, kernel.shape, kernel.tobytes(), raw=True),
            helper.make_tensor("shape", TensorProto.INT64, [3], [1, 4 + len(names), 16]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    helper.set_model_props(model, {"names": str(dict(enumerate(names)))})
    onnx.save(model, folder / "detector.onnx")


def configurations(folder: Path) -> None:
    shipped = Path(__file__).resolve().parents[2] / "X2BRLogic" / "training" / "configs"
    for file in shipped.glob("*.toml"):
        (folder / file.name).write_bytes(file.read_bytes())


def boxes(folder: Path) -> None:
    found = [Box.of("rib_left_4", (1, 2, 30, 40), 0.5), Box.of("vertebra_T4", (10, 20, 30.5, 40), 0.9)]
    write_boxes(found, folder / "film.boxes.json", XRayGeometry(shape=SIZE), notes=["rib 12 was not seen"])


def result(folder: Path) -> None:
    """A reconstruction with named bones, as `Reconstruction.save` writes it."""
    from X2BRLogic.radiograph import radiograph_from_array
    from X2BRLogic.reconstruction import Reconstruction

    film = radiograph_from_array(picture(SIZE), "film")
    bones = {name: _with_error(mesh) for name, mesh in _few_bones().bones.items()}
    summary = {"schema": "x2br-summary-1", "geometry": film.geometry.to_dict(), "known": film.known, "input": "film"}
    summary |= {"warnings": [], "method": "x2br", "model": {}, "bones": {name: {} for name in bones}}
    found = (Box.of("rib_left_4", (1, 2, 30, 40), 0.5),)
    Reconstruction(film, trimesh.util.concatenate(list(bones.values())), bones, found, summary).save(folder)


def _with_error(mesh: trimesh.Trimesh) -> trimesh.Trimesh:
    values = {name: np.full(len(mesh.vertices), 0.5, np.float32) for name in ("expected_error_mm", "confidence")}
    return trimesh.Trimesh(mesh.vertices, mesh.faces, vertex_attributes=values, process=False)


def handed_over(folder: Path) -> None:
    from X2BRLogic.radiograph import radiograph_from_array
    from X2BRLogic.worker.exchange import pack_radiograph

    pack_radiograph(folder, radiograph_from_array(picture(SIZE), "film"))


def messages(folder: Path) -> None:
    order = {"do": "run", "job": "1", "kind": "echo", "folder": str(folder), "settings": {"a": [1, 2.5, None]}}
    (folder / "run").write_text(json.dumps(order))
    (folder / "cancel").write_text(json.dumps({"do": "cancel", "job": "1"}))


def dataset(folder: Path) -> None:
    """The tables of a data set of one subject, which has no files."""
    from X2BRLogic.dataset import layout, records
    from X2BRLogic.dataset.settings import Settings, write_settings

    write_settings(folder, Settings())
    subject = layout.subject_folder(folder, "one")
    subject.mkdir(parents=True)
    bones = {"rib_left_1": {"cut": False}}
    records.write_record(
        subject, records.new_record("one", "one", layout.ACCEPTED, Settings().sha256, bones=bones, seconds={"drr": 1.0})
    )
    records.write_manifest(folder)


def population(folder: Path) -> None:
    """A virtual patient's arrays and the account of its folder; the sizes are those that `check_population` expects."""
    from X2BRLogic.dataset.training_film import IMAGE_SIZE

    random = np.random.default_rng(0)
    (folder / "population.json").write_text(json.dumps({"settings": {"seed": 0, "views": 1, "subjects": ["a"]}}))
    np.savez(
        folder / "patient_000000.npz",
        images=random.integers(0, 255, (1, IMAGE_SIZE, IMAGE_SIZE), dtype=np.uint8),
        points=random.integers(0, 65535, (1, 64, 3), dtype=np.uint16),
        occupied=random.integers(0, 255, (1, 8), dtype=np.uint8),
        known=np.full((1, 8), 255, dtype=np.uint8),
        record=np.array(json.dumps({"subject": "a", "measures": {}})),
    )


def smooth_film() -> np.ndarray:
    """What a detector is shown."""
    return ndimage.gaussian_filter(picture(SIZE).astype(np.float32), 2)
