"""Broken and wrong files through the command: exit 2, one line that says what is wrong, and nothing left behind.

A file that cannot be read gives that line and no other; where files were read and do not fit together, the progress so
far ("read ct.nii: ...") stands before it.

A defect is a function that writes a file or folder and returns its path. Every one is made from a whole file that the
command reads, so it is the defect that is refused.
"""

from __future__ import annotations

import gzip
import json
import re
import struct
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from PIL import Image
from pydicom import uid

from X2BRLogic.cli import main

SECONDS = 30.0
MEMORY = 2 << 30
IN_A_SERIES = 20

# --- whole files ----------------------------------------------------------------------------------------------------


def hounsfield(shape=(24, 26, 28)) -> np.ndarray:
    """A small CT: air, a body of noise, and bone in it."""
    values = np.full(shape, -1000, np.int16)
    values[4:-4, 4:-4, 4:-4] = np.random.default_rng(5).integers(-50, 80, [n - 8 for n in shape])
    values[8:12, 8:12, 8:14] = 700
    return values


def save(path: Path, array: np.ndarray, *, compress=False, vector=False, spacing=(2.0, 2.0, 3.0)) -> Path:
    image = sitk.GetImageFromArray(array, isVector=vector)
    image.SetSpacing(spacing[: image.GetDimension()])
    sitk.WriteImage(image, str(path), compress)
    return path


def picture(shape=(120, 100)) -> np.ndarray:
    """A grey ramp with noise, 8 bit."""
    ramp = np.add.outer(np.arange(shape[0]), np.arange(shape[1])) % 200
    return (ramp + np.random.default_rng(1).integers(0, 40, shape)).astype(np.uint8)


def slice_dataset(k: int, series: str, pixels: np.ndarray) -> pydicom.Dataset:
    d = pydicom.Dataset()
    d.file_meta = pydicom.dataset.FileMetaDataset()
    d.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    d.SOPClassUID, d.SOPInstanceUID, d.SeriesInstanceUID = uid.CTImageStorage, uid.generate_uid(), series
    d.Modality = "CT"
    d.ImagePositionPatient, d.ImageOrientationPatient = [0, 0, 3 * k], [1, 0, 0, 0, 1, 0]
    d.PixelSpacing, d.RescaleSlope, d.RescaleIntercept = [2, 2], 1, -1024
    d.PhotometricInterpretation, d.SamplesPerPixel = "MONOCHROME2", 1
    d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = 16, 16, 15, 0
    d.Rows, d.Columns = pixels.shape
    d.PixelData = pixels.tobytes()
    return d


def series(folder: Path, change=lambda k, d: d, count=IN_A_SERIES) -> Path:
    """A DICOM series; `change(k, dataset)` returns what is written in place of slice k, or None for no file."""
    folder.mkdir()
    name = uid.generate_uid()
    stored = (hounsfield((count, 26, 28)).astype(int) + 1024).astype(np.uint16)
    for k in range(count):
        dataset = change(k, slice_dataset(k, name, stored[k]))
        if dataset is not None:
            dataset.save_as(folder / f"{k:03}.dcm", enforce_file_format=True)
    return folder


def film(path: Path, change=lambda d: None, pixels=None) -> Path:
    """A digital radiograph in DICOM."""
    pixels = picture() if pixels is None else pixels
    d = slice_dataset(0, uid.generate_uid(), pixels.astype(np.uint16))
    d.SOPClassUID, d.Modality = uid.DigitalXRayImageStorageForPresentation, "DX"
    del d.ImagePositionPatient, d.ImageOrientationPatient, d.RescaleSlope, d.RescaleIntercept
    change(d)
    d.save_as(path, enforce_file_format=True)
    return path


# --- ways to break them ---------------------------------------------------------------------------------------------


def cut(path: Path, keep: float) -> Path:
    """The first `keep` bytes, or that fraction of the file."""
    content = path.read_bytes()
    path.write_bytes(content[: int(keep if keep > 1 else keep * len(content))])
    return path


def patch(path: Path, offset: int, layout: str, *values) -> Path:
    content = bytearray(path.read_bytes())
    struct.pack_into(layout, content, offset, *values)
    path.write_bytes(content)
    return path


def swap(path: Path, pattern: bytes, replacement: bytes) -> Path:
    """Replace what `pattern` matches in a text header, which must be there."""
    changed, count = re.subn(pattern, replacement, path.read_bytes(), count=1)
    assert count == 1, pattern
    path.write_bytes(changed)
    return path


def text(path: Path) -> Path:
    path.write_text("Dear colleague, please find the scan attached.\n" * 50)
    return path


def png_of_size(path: Path, width: int, height: int) -> Path:
    """A PNG whose header claims a size, with a checksum that is right and hardly any data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * 5000)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))
    return path


def gzip_bomb(path: Path, start: bytes, gigabytes: int) -> Path:
    """A gzip file of a few MB that unpacks to `start` and gigabytes of zeros."""
    member = gzip.compress(bytes(1 << 26), 9)
    path.write_bytes(gzip.compress(start) + member * (16 * gigabytes))
    return path


def zlib_bomb(gigabytes: int) -> bytes:
    packer, block = zlib.compressobj(9), bytes(1 << 26)
    first, again = (packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return first + again * (16 * gigabytes - 1) + packer.flush()  # a block after a full flush may be repeated


def changed(dataset: pydicom.Dataset, **values) -> pydicom.Dataset:
    for name, value in values.items():
        setattr(dataset, name, value)
    return dataset


def without(dataset: pydicom.Dataset, name: str) -> pydicom.Dataset:
    delattr(dataset, name)
    return dataset


# NIfTI-1: dim at 40, datatype 70, bitpix 72, pixdim 76, vox_offset 108, qform 252, sform 254, srow 280, magic 344.
VOLUMES = {
    # NIfTI
    "nii cut in its voxels": lambda f: cut(save(f / "x.nii", hounsfield()), 0.6),
    "nii cut in its header": lambda f: cut(save(f / "x.nii", hounsfield()), 200),
    "nii cut at the end of its header": lambda f: cut(save(f / "x.nii", hounsfield()), 352),
    "nii.gz cut in its voxels": lambda f: cut(save(f / "x.nii.gz", hounsfield()), 0.7),
    "nii.gz cut in its gzip header": lambda f: cut(save(f / "x.nii.gz", hounsfield()), 6),
    "nii.gz without its checksum": lambda f: cut(p := save(f / "x.nii.gz", hounsfield()), p.stat().st_size - 8),
    "nii.gz of a cut nii": lambda f: _write(
        f / "x.nii.gz", gzip.compress(cut(save(f / "x.nii", hounsfield()), 0.5).read_bytes())
    ),
    "text named nii.gz": lambda f: text(f / "x.nii.gz"),
    "nii.gz that is not gzipped text": lambda f: _write(f / "x.nii.gz", gzip.compress(text(f / "x").read_bytes())),
    "nii with the wrong magic": lambda f: patch(save(f / "x.nii", hounsfield()), 344, "4s", b"oops"),
    "nii with the wrong header size": lambda f: patch(save(f / "x.nii", hounsfield()), 0, "<i", 349),
    "nii of absurd size": lambda f: patch(save(f / "x.nii", hounsfield()), 42, "<3h", 30000, 30000, 30000),
    "nii of 1000 cubed without the voxels": lambda f: patch(
        save(f / "x.nii", hounsfield()), 42, "<3h", 1000, 1000, 1000
    ),
    "nii of negative size": lambda f: patch(save(f / "x.nii", hounsfield()), 42, "<h", -28),
    "nii of zero size": lambda f: patch(save(f / "x.nii", hounsfield()), 42, "<h", 0),
    "nii of 100 dimensions": lambda f: patch(save(f / "x.nii", hounsfield()), 40, "<h", 100),
    "nii of zero spacing": lambda f: patch(save(f / "x.nii", hounsfield()), 80, "<3f", 0, 0, 0),
    "nii of NaN spacing": lambda f: patch(save(f / "x.nii", hounsfield()), 80, "<3f", *[np.nan] * 3),
    "nii of NaN directions": lambda f: patch(
        patch(save(f / "x.nii", hounsfield()), 252, "<2h", 0, 1), 280, "<12f", *[np.nan] * 12
    ),
    "nii of zero directions": lambda f: patch(
        patch(save(f / "x.nii", hounsfield()), 252, "<2h", 0, 1), 280, "<12f", *[0] * 12
    ),
    "nii of sheared directions": lambda f: patch(
        patch(save(f / "x.nii", hounsfield()), 252, "<2h", 0, 1), 280, "<12f", 2, 1.5, 0, 0, 0, 2, 0, 0, 0, 0, 3, 0
    ),
    "nii of unknown type": lambda f: patch(save(f / "x.nii", hounsfield()), 70, "<h", 777),
    "nii whose bits do not fit its type": lambda f: patch(save(f / "x.nii", hounsfield()), 72, "<h", 64),
    "nii whose voxels start beyond its end": lambda f: patch(save(f / "x.nii", hounsfield()), 108, "<f", 1e9),
    "nii of two volumes": lambda f: _two_volumes(f / "x.nii"),
    "nii of colours": lambda f: save(f / "x.nii", np.zeros((20, 20, 20, 3), np.uint8), vector=True),
    "nii of complex numbers": lambda f: save(f / "x.nii", hounsfield().astype(np.complex64)),
    "nii.gz that unpacks to 4 GB": lambda f: gzip_bomb(
        f / "x.nii.gz", save(f / "x.nii", hounsfield()).read_bytes(), gigabytes=4
    ),
    # NRRD
    "nrrd cut in its voxels": lambda f: cut(save(f / "x.nrrd", hounsfield()), 0.6),
    "nrrd cut in its packed voxels": lambda f: cut(save(f / "x.nrrd", hounsfield(), compress=True), 0.6),
    "nrrd cut in its header": lambda f: cut(save(f / "x.nrrd", hounsfield()), 60),
    "nrrd with the wrong magic": lambda f: swap(save(f / "x.nrrd", hounsfield()), rb"NRRD0", b"NARD0"),
    "nrrd with fewer sizes than dimensions": lambda f: swap(
        save(f / "x.nrrd", hounsfield()), rb"sizes: \d+", b"sizes:"
    ),
    "nrrd of absurd size": lambda f: swap(save(f / "x.nrrd", hounsfield()), rb"sizes: .*", b"sizes: 40000 40000 40000"),
    "nrrd of 1000 cubed without the voxels": lambda f: swap(
        save(f / "x.nrrd", hounsfield()), rb"sizes: .*", b"sizes: 1000 1000 1000"
    ),
    "nrrd of zero spacing": lambda f: swap(
        save(f / "x.nrrd", hounsfield()), rb"space directions: .*", b"space directions: (0,0,0) (0,0,0) (0,0,0)"
    ),
    "nrrd of NaN directions": lambda f: swap(
        save(f / "x.nrrd", hounsfield()), rb"space directions: .*", b"space directions: (nan,0,0) (0,nan,0) (0,0,nan)"
    ),
    "nrrd of an unknown packing": lambda f: swap(
        save(f / "x.nrrd", hounsfield()), rb"encoding: \w+", b"encoding: zebra"
    ),
    "nrrd of an unknown type": lambda f: swap(save(f / "x.nrrd", hounsfield()), rb"type: .*", b"type: quaternion"),
    "nrrd whose voxel file is missing": lambda f: swap(
        save(f / "x.nrrd", hounsfield()), rb"encoding: \w+", b"encoding: raw\ndata file: gone.raw"
    ),
    "nrrd that unpacks to 4 GB": lambda f: _write(
        p := save(f / "x.nrrd", hounsfield(), compress=True),
        p.read_bytes().split(b"\n\n")[0] + b"\n\n" + gzip_bomb(f / "bomb", b"", 4).read_bytes(),
    ),
    # MetaImage
    "mha cut in its voxels": lambda f: cut(save(f / "x.mha", hounsfield()), 0.6),
    "mha cut in its packed voxels": lambda f: cut(save(f / "x.mha", hounsfield(), compress=True), 0.6),
    "mha cut in its header": lambda f: cut(save(f / "x.mha", hounsfield()), 100),
    "mha of 93 dimensions": lambda f: swap(save(f / "x.mha", hounsfield()), rb"NDims = 3", b"NDims = 93"),
    "mha of absurd size": lambda f: swap(
        save(f / "x.mha", hounsfield()), rb"DimSize = .*", b"DimSize = 30000 30000 30000"
    ),
    "mha of more voxels than it has": lambda f: swap(
        save(f / "x.mha", hounsfield()), rb"DimSize = .*", b"DimSize = 28 26 99"
    ),
    "mha of zero spacing": lambda f: swap(
        save(f / "x.mha", hounsfield()), rb"ElementSpacing = .*", b"ElementSpacing = 0 0 0"
    ),
    "mha of NaN directions": lambda f: swap(
        save(f / "x.mha", hounsfield()), rb"TransformMatrix = .*", b"TransformMatrix = nan 0 0 0 nan 0 0 0 nan"
    ),
    "mha of flat directions": lambda f: swap(
        save(f / "x.mha", hounsfield()), rb"TransformMatrix = .*", b"TransformMatrix = 1 0 0 1 0 0 0 0 1"
    ),
    "mha of an unknown type": lambda f: swap(save(f / "x.mha", hounsfield()), rb"MET_SHORT", b"MET_SHIRT"),
    "mha without a place for its voxels": lambda f: swap(
        save(f / "x.mha", hounsfield()), rb"ElementDataFile = LOCAL\n", b""
    ),
    "mhd whose voxel file is missing": lambda f: _without_raw(save(f / "x.mhd", hounsfield())),
    "mha that unpacks to 4 GB": lambda f: _write(
        p := save(f / "x.mha", hounsfield(), compress=True),
        re.sub(rb"CompressedDataSize = .*\n", b"", p.read_bytes().split(b"LOCAL\n")[0] + b"LOCAL\n") + zlib_bomb(4),
    ),
    # whole, but no CT
    "label map": lambda f: save(f / "x.nii.gz", (hounsfield() > 300).astype(np.uint8)),
    "one value everywhere": lambda f: save(f / "x.nii.gz", np.full((20, 20, 20), -1000, np.int16)),
    "NaN voxels": lambda f: save(f / "x.nii.gz", np.where(hounsfield() > 600, np.nan, hounsfield()).astype(np.float32)),
    "values that are no Hounsfield units": lambda f: save(f / "x.nii.gz", (hounsfield() / 1000).astype(np.float32)),
    "slab of six slices": lambda f: save(f / "x.nii.gz", hounsfield()[8:14].copy()),
    "one slice": lambda f: save(f / "x.nii.gz", hounsfield()[10]),
    "metres for millimetres": lambda f: save(f / "x.nii.gz", hounsfield(), spacing=(0.002, 0.002, 0.003)),
    "colour nrrd": lambda f: save(f / "x.nrrd", np.zeros((20, 20, 20, 3), np.uint8), vector=True),
    "picture": lambda f: _png(f / "x.png"),
    "picture named nii.gz": lambda f: _png(f / "x.png").rename(f / "x.nii.gz"),
    "unknown suffix": lambda f: save(f / "x.nii", hounsfield()).rename(f / "x.volume"),
    "no such file": lambda f: f / "none.nii.gz",
    "file of no bytes": lambda f: _write(f / "x.nii.gz", b""),
    # DICOM
    "empty folder": lambda f: _folder(f / "s"),
    "folder of other files": lambda f: text(_folder(f / "s") / "notes.txt").parent,
    "slice cut in its pixels": lambda f: _with_slice(series(f / "s"), lambda p: cut(p, 0.8)),
    "slice cut in its header": lambda f: _with_slice(series(f / "s"), lambda p: cut(p, 400)),
    "one slice that is text": lambda f: _with_slice(series(f / "s"), text, all_but=5),
    "slices without pixels": lambda f: series(f / "s", lambda k, d: without(d, "PixelData")),
    "slices without a position": lambda f: series(f / "s", lambda k, d: without(d, "ImagePositionPatient")),
    "slices of two sizes": lambda f: series(
        f / "s", lambda k, d: changed(d, Rows=13, PixelData=d.PixelData[: len(d.PixelData) // 2]) if k > 9 else d
    ),
    "slice larger than its pixels": lambda f: series(f / "s", lambda k, d: changed(d, Rows=2600, Columns=2800)),
    "slices of absurd size": lambda f: series(f / "s", lambda k, d: changed(d, Rows=65535, Columns=65535)),
    "two slices at one place": lambda f: series(
        f / "s", lambda k, d: changed(d, ImagePositionPatient=[0, 0, 3 * max(k, 1)])
    ),
    "a slice missing": lambda f: series(f / "s", lambda k, d: d if k != 7 else None),
    "uneven slices": lambda f: series(f / "s", lambda k, d: changed(d, ImagePositionPatient=[0, 0, 3 * k + (k > 9)])),
    "slices of zero spacing": lambda f: series(f / "s", lambda k, d: changed(d, PixelSpacing=[0, 0])),
    "slices of NaN orientation": lambda f: series(
        f / "s", lambda k, d: changed(d, ImageOrientationPatient=["nan", 0, 0, 0, "nan", 0])
    ),
    "slices of infinite position": lambda f: series(
        f / "s", lambda k, d: changed(d, ImagePositionPatient=[0, 0, "inf" if k == 3 else 3 * k])
    ),
    "slices of zero orientation": lambda f: series(f / "s", lambda k, d: changed(d, ImageOrientationPatient=[0] * 6)),
    "slices of another modality": lambda f: series(f / "s", lambda k, d: changed(d, Modality="MR")),
    "too few slices": lambda f: series(f / "s", lambda k, d: d if k < 4 else None),
    "two series in a folder": lambda f: series(
        f / "s", lambda k, d: changed(d, SeriesInstanceUID=f"1.2.{k % 2}"), count=2 * IN_A_SERIES
    ),
    "slices of many frames": lambda f: series(f / "s", lambda k, d: changed(d, NumberOfFrames=8)),
    "slices of colours": lambda f: series(
        f / "s", lambda k, d: changed(d, SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0)
    ),
    "slices packed in an unknown way": lambda f: _with_slice(
        series(f / "s"), lambda p: _write(p, p.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.9\0"))
    ),
}

RADIOGRAPHS = {
    # pictures
    "png cut in its pixels": lambda f: cut(_png(f / "x.png"), 0.5),
    "png cut in its header": lambda f: cut(_png(f / "x.png"), 20),
    "png with a damaged byte": lambda f: patch(p := _png(f / "x.png"), p.stat().st_size // 2, "8s", b"damaged!"),
    "png with the wrong magic": lambda f: patch(_png(f / "x.png"), 0, "4s", b"oops"),
    "text named png": lambda f: text(f / "x.png"),
    "png of 10 pixels": lambda f: _png(f / "x.png", picture((10, 10))),
    "png of absurd size": lambda f: png_of_size(f / "x.png", 2**31 - 1, 2**31 - 1),
    "png of 60000 squared": lambda f: png_of_size(f / "x.png", 60000, 60000),
    "png of more pixels than it has": lambda f: png_of_size(f / "x.png", 9000, 9000),
    "blank png": lambda f: _png(f / "x.png", np.full((100, 100), 7, np.uint8)),
    "colour photograph": lambda f: _png(
        f / "x.png", np.random.default_rng(2).integers(0, 255, (100, 100, 3)).astype(np.uint8)
    ),
    "black and white png": lambda f: _png(f / "x.png", picture() > 100),
    "tif cut in its pixels": lambda f: cut(_png(f / "x.tif"), 0.5),
    "tif cut in its header": lambda f: cut(_png(f / "x.tif"), 6),
    "tif with the wrong magic": lambda f: patch(_png(f / "x.tif"), 0, "4s", b"oops"),
    "tif of absurd size": lambda f: _tif_of_size(f / "x.tif", 2**30),
    "jpeg cut in its pixels": lambda f: cut(_png(f / "x.jpg"), 0.5),
    "jpeg cut in its header": lambda f: cut(_png(f / "x.jpg"), 30),
    # DICOM
    "dcm cut in its pixels": lambda f: cut(film(f / "x.dcm"), 0.6),
    "dcm cut in its header": lambda f: cut(film(f / "x.dcm"), 300),
    "dcm cut in its preamble": lambda f: cut(film(f / "x.dcm"), 100),
    "text named dcm": lambda f: text(f / "x.dcm"),
    "dcm without pixels": lambda f: film(f / "x.dcm", lambda d: without(d, "PixelData")),
    "dcm without rows": lambda f: film(f / "x.dcm", lambda d: without(d, "Rows")),
    "dcm of zero rows": lambda f: film(f / "x.dcm", lambda d: changed(d, Rows=0)),
    "dcm of more pixels than it has": lambda f: film(f / "x.dcm", lambda d: changed(d, Rows=5000, Columns=5000)),
    "dcm of absurd size": lambda f: film(f / "x.dcm", lambda d: changed(d, Rows=65535, Columns=65535)),
    "dcm of 3 bits": lambda f: film(f / "x.dcm", lambda d: changed(d, BitsAllocated=3)),
    "dcm of a CT slice": lambda f: film(f / "x.dcm", lambda d: changed(d, Modality="CT")),
    "dcm whose packed pixels are none": lambda f: film(f / "x.dcm", _packed_nonsense),
    "blank dcm": lambda f: film(f / "x.dcm", pixels=np.full((100, 100), 9)),
    # volumes of one slice
    "nrrd slice cut": lambda f: cut(save(f / "x.nrrd", picture()), 0.6),
    "nii.gz slice cut": lambda f: cut(save(f / "x.nii.gz", picture()), 0.6),
    "nrrd slice with NaN": lambda f: save(f / "x.nrrd", np.where(picture() > 150, np.nan, 1.0).astype(np.float32)),
    "CT for a radiograph": lambda f: save(f / "x.nrrd", hounsfield()),
    # what lies beside, and paths
    "geometry that is no JSON": lambda f: _beside(f, "{ not json"),
    "geometry that is a list": lambda f: _beside(f, "[1, 2, 3]"),
    "geometry without numbers": lambda f: _beside(f, json.dumps({"sid_mm": "far"})),
    "geometry of NaN": lambda f: _beside(f, json.dumps(_geometry() | {"sid_mm": float("nan")})),
    "geometry of another image": lambda f: _beside(f, json.dumps(_geometry() | {"rows": 40, "columns": 400})),
    "folder": lambda f: _folder(f / "s"),
    "no such radiograph": lambda f: f / "none.png",
    "radiograph of no bytes": lambda f: _write(f / "x.png", b""),
    "unknown suffix": lambda f: text(f / "x.docx"),
}


def _write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def _png(path: Path, pixels: np.ndarray | None = None) -> Path:
    Image.fromarray(picture() if pixels is None else pixels).save(path)
    return path


def _tif_of_size(path: Path, width: int) -> Path:
    """Image width is tag 256; Pillow writes it as a long."""
    _png(path)
    content = path.read_bytes()
    at = content.index(struct.pack("<HHI", 256, 4, 1)) + 8
    return patch(path, at, "<I", width)


def _packed_nonsense(dataset: pydicom.Dataset) -> None:
    dataset.file_meta.TransferSyntaxUID = uid.JPEG2000Lossless
    dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\x4f\xff\x51 this is no JPEG 2000"])
    dataset["PixelData"].VR = "OB"


def _two_volumes(path: Path) -> Path:
    volume = sitk.GetImageFromArray(hounsfield())
    sitk.WriteImage(sitk.JoinSeries([volume, volume]), str(path))
    return path


def _without_raw(path: Path) -> Path:
    for raw in path.parent.glob("*raw"):
        raw.unlink()
    return path


def _with_slice(folder: Path, break_it, all_but: int | None = None) -> Path:
    """Break the tenth slice, or all but the first so many."""
    files = sorted(folder.iterdir())
    for file in [files[9]] if all_but is None else files[all_but:]:
        break_it(file)
    return folder


def _geometry() -> dict:
    from X2BRLogic.geometry import XRayGeometry

    return XRayGeometry(shape=(120, 100)).to_dict()


def _beside(folder: Path, content: str) -> Path:
    (folder / "geometry.json").write_text(content)
    return _png(folder / "x.png")


# --- the tests ------------------------------------------------------------------------------------------------------


def peak_memory() -> int:
    """Highest resident memory of this process since `forget_peak`, bytes."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024


def refused(arguments: list[str], folder: Path, capfd, progress: int = 0) -> str:
    """Run the command, which must refuse; its one line of error on stderr, after so many of progress."""
    before = sorted(folder.rglob("*"))
    clear = Path("/proc/self/clear_refs")
    if measured := sys.platform == "linux":
        clear.write_text("5")  # the peak starts again from here
        start_memory = peak_memory()
    capfd.readouterr()
    start = time.perf_counter()
    status = main(arguments)
    seconds = time.perf_counter() - start
    out, err = capfd.readouterr()
    assert status == 2, err
    *before_it, line = err.splitlines()
    assert line.startswith("x2br: error: ") and "x2br:" not in "".join(before_it) and len(before_it) <= progress, err
    assert len(line) < 700 and out == ""
    assert sorted(folder.rglob("*")) == before  # no results, no temporary files
    assert seconds < SECONDS
    if measured:
        assert peak_memory() - start_memory < MEMORY
    return line


@pytest.mark.parametrize("defect", VOLUMES)
def test_drr_refuses(defect, tmp_path, capfd):
    path = VOLUMES[defect](tmp_path)
    line = refused(["drr", str(path), "--out", str(tmp_path / "out"), "--size", "16"], tmp_path, capfd)
    assert str(path) in line, line


@pytest.mark.parametrize("defect", RADIOGRAPHS)
def test_reconstruct_refuses_before_a_network_is_loaded(defect, tmp_path, capfd, monkeypatch):
    monkeypatch.setitem(sys.modules, "X2BRLogic.pipeline", None)  # importing it now fails, and would be exit 1
    path = RADIOGRAPHS[defect](tmp_path)
    line = refused(["reconstruct", str(path), "--out", str(tmp_path / "out")], tmp_path, capfd)
    assert path.name in line or "geometry file" in line or "geometry.json" in line, line


LABELS = {
    "label map cut": lambda f: cut(save(f / "l.nii.gz", (hounsfield() > 300).astype(np.uint8)), 0.6),
    "the CT itself": lambda f: save(f / "l.nii.gz", hounsfield()),
    "no label": lambda f: save(f / "l.nii.gz", np.zeros((24, 26, 28), np.uint8)),
    "labels of another place": lambda f: patch(
        patch(save(f / "l.nii", (hounsfield() > 300).astype(np.uint8)), 268, "<3f", 999, 999, 999), 292, "<f", 999
    ),
    "labels without a bone of the thorax": lambda f: save(f / "l.nii.gz", (hounsfield() > 300).astype(np.uint8) * 52),
}


@pytest.mark.parametrize("defect", LABELS)
def test_drr_refuses_labels(defect, tmp_path, capfd):
    ct, labels = save(tmp_path / "ct.nii", hounsfield()), LABELS[defect](tmp_path)
    refused(["drr", str(ct), "--labels", str(labels), "--out", str(tmp_path / "out")], tmp_path, capfd, progress=1)


def test_the_whole_files_are_not_refused(tmp_path, capfd, monkeypatch):
    """What the defects are made from is read: as volume, as series, and as radiograph up to the network."""
    for n, path in enumerate(
        [
            *(save(tmp_path / f"x{s}", hounsfield()) for s in (".nii", ".nii.gz", ".nrrd", ".mha", ".mhd")),
            series(tmp_path / "s"),
        ]
    ):
        assert main(["drr", str(path), "--out", str(tmp_path / f"out{n}"), "--size", "16"]) == 0
        assert sorted(p.name for p in (tmp_path / f"out{n}").iterdir()) == ["drr_ap.png", "geometry.json"]
    monkeypatch.setitem(sys.modules, "X2BRLogic.fitness", None)
    for path in (
        _png(tmp_path / "x.png"),
        _png(tmp_path / "x.tif"),
        film(tmp_path / "x.dcm"),
        save(tmp_path / "y.nrrd", picture()),
    ):
        assert main(["reconstruct", str(path), "--out", str(tmp_path / "result")]) == 1  # the rest is not there
    assert len(VOLUMES) + len(RADIOGRAPHS) + len(LABELS) >= 30


@pytest.mark.parametrize("name", ["drr", "reconstruct"])
def test_results_are_kept_when_a_second_run_is_refused(name, tmp_path, capfd):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("kept")
    refused([name, str(text(tmp_path / "x.nii.gz")), "--out", str(tmp_path / "out")], tmp_path, capfd)
    assert (tmp_path / "out" / "mine.txt").read_text() == "kept"
