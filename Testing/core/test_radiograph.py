"""Radiographs from files: bone bright, upright, in millimetres, and one sentence for what is no radiograph."""

from __future__ import annotations

import csv
import json
import struct
import time
import warnings
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from PIL import Image
from pydicom.pixels import apply_voi_lut
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid
from scipy.ndimage import gaussian_filter

from X2BRLogic.errors import InputError
from X2BRLogic.geometry import CUBE_EDGE_MM, XRayGeometry
from X2BRLogic.radiograph import (
    Radiograph,
    network_image,
    normalise,
    radiograph_from_array,
    read_radiograph,
    resample_to_network,
)
from X2BRLogic.volume import Volume
from X2BRLogic.volume_io import write_volume

ALL_KNOWN = {"sid": True, "sod": True, "spacing": True, "view": True}
NOTHING_KNOWN = dict.fromkeys(ALL_KNOWN, False)


def picture(rows=96, columns=80, top=255) -> np.ndarray:
    """A picture without symmetry, so that every flip, turn and inversion shows."""
    row, column = np.mgrid[0:rows, 0:columns]
    values = 0.2 + 0.3 * row / rows + 0.1 * column / columns
    values[5:20, 8:30] = 1.0
    values[-12:-4, 50:70] = 0.05
    return np.round(values * top).astype(np.uint8 if top < 256 else np.uint16)


def save(path: Path, array: np.ndarray, **options) -> Path:
    Image.fromarray(array).save(path, **options)
    return path


def write_dicom(path: Path, pixels: np.ndarray, **tags) -> Path:
    """A DX image for presentation, 12 bits stored of 16, with `tags` in place of or beside the usual ones."""
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = DigitalXRayImageStorageForPresentation, generate_uid()
    dataset.Modality, dataset.PhotometricInterpretation = "DX", "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.SamplesPerPixel, dataset.PixelRepresentation = 1, 0
    bits = 8 * pixels.dtype.itemsize
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, min(bits, 12), min(bits, 12) - 1
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OB" if bits == 8 else "OW"
    for name, value in tags.items():
        setattr(dataset, name, value)
    dataset.save_as(path, enforce_file_format=True)
    return path


def refusal(path, **settings) -> str:
    """The sentence of the `InputError`, one line; and no Python warning beside it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InputError) as caught:
            read_radiograph(path, **settings)
    sentence = str(caught.value)
    assert "\n" not in sentence and len(sentence) < 500
    return sentence


# --- pictures -------------------------------------------------------------------------------------------------------


def test_reads_every_shared_radiograph(shared_data):
    folder = shared_data / "radiographs"
    rows = list(csv.DictReader((folder / "radiographs.csv").open()))
    assert len(rows) == 40
    for row in rows:
        radiograph = read_radiograph(folder / row["file"], view=row["view"])
        with Image.open(folder / row["file"]) as image:
            np.testing.assert_array_equal(radiograph.pixels, np.asarray(image))
        assert radiograph.pixels.dtype == np.float32
        assert radiograph.geometry.shape == radiograph.pixels.shape and radiograph.geometry.view == row["view"]
        assert radiograph.geometry.spacing[0] * max(radiograph.pixels.shape) == pytest.approx(430)
        assert radiograph.known == NOTHING_KNOWN | {"view": True} and not radiograph.scale_known
        image = network_image(radiograph)
        assert image.dtype == np.float32 and image.min() >= 0 and image.max() <= 1 and image.std() > 0.1


@pytest.mark.parametrize("suffix", ["png", "tif", "PNG"])
@pytest.mark.parametrize("top", [255, 65535])
def test_8_and_16_bit_pictures_keep_their_values(tmp_path, suffix, top):
    pixels = picture(top=top)
    radiograph = read_radiograph(save(tmp_path / f"x.{suffix}", pixels))
    np.testing.assert_array_equal(radiograph.pixels, pixels)
    assert radiograph.source == f"x.{suffix}"


def test_grey_pictures_stored_as_colour_are_accepted(tmp_path):
    grey = picture()
    for mode, name in (("RGB", "x.png"), ("RGBA", "a.png"), ("LA", "la.png"), ("P", "p.png")):
        Image.fromarray(grey).convert(mode).save(tmp_path / name)
        np.testing.assert_array_equal(read_radiograph(tmp_path / name).pixels, grey)
    smooth = gaussian_filter(picture().astype(float), 3).astype(np.uint8)
    Image.fromarray(smooth).convert("RGB").save(tmp_path / "x.jpg", quality=95)
    assert np.abs(read_radiograph(tmp_path / "x.jpg").pixels - smooth).max() < 6


def test_float_white_is_zero_and_paged_tiffs(tmp_path):
    values = picture() / np.float32(7)
    np.testing.assert_array_equal(read_radiograph(save(tmp_path / "f.tif", values)).pixels, values)
    stored = picture(top=65535)
    save(tmp_path / "w.tif", stored, tiffinfo={262: 0})
    np.testing.assert_array_equal(read_radiograph(tmp_path / "w.tif").pixels, 65535 - stored.astype(np.float32))
    first, second = Image.fromarray(picture()), Image.fromarray(picture()[::-1].copy())
    first.save(tmp_path / "pages.tif", save_all=True, append_images=[second])
    radiograph = read_radiograph(tmp_path / "pages.tif")
    np.testing.assert_array_equal(radiograph.pixels, picture())
    assert any("2 pages" in w for w in radiograph.warnings)


def test_a_photographed_film_is_turned_as_its_exif_says(tmp_path):
    turned = Image.fromarray(np.rot90(picture()).copy())
    exif = turned.getexif()
    exif[274] = 6  # rotate 90 degrees clockwise to view
    turned.save(tmp_path / "x.png", exif=exif)
    np.testing.assert_array_equal(read_radiograph(tmp_path / "x.png").pixels, picture())


# --- refusals -------------------------------------------------------------------------------------------------------


def png_header(columns: int, rows: int) -> bytes:
    """A PNG that claims a size and has one row of pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">2I5B", columns, rows, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(columns + 1))) + chunk(b"IEND", b"")


def test_refuses_what_is_no_file(tmp_path):
    assert "does not exist" in refusal(tmp_path / "none.png")
    assert "is a folder" in refusal(tmp_path)
    (tmp_path / "empty.png").touch()
    assert "empty" in refusal(tmp_path / "empty.png")
    (tmp_path / "notes.txt").write_text("hello")
    assert "PNG, JPEG, TIFF, DICOM" in refusal(tmp_path / "notes.txt")


@pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.tif", "x.dcm", "x.nrrd", "x.nii.gz", "x.mha"])
def test_refuses_text_under_any_name(tmp_path, name, capfd):
    (tmp_path / name).write_text("This is not an image.\n" * 50)
    assert name in refusal(tmp_path / name)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.tif", "x.dcm", "x.nrrd", "x.nii.gz", "x.mha"])
def test_refuses_truncated_files(tmp_path, name, capfd):
    path, noise = tmp_path / name, np.random.default_rng(0).integers(0, 4000, (128, 128), dtype=np.uint16)
    if name == "x.dcm":
        write_dicom(path, noise)
    elif name in ("x.png", "x.jpg", "x.tif"):
        save(path, (noise >> 4).astype(np.uint8))
    else:
        write_volume(path, Volume(noise[None], np.diag([0.9, 0.9, 1, 1])))
    assert read_radiograph(path).pixels.shape == (128, 128)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    assert "damaged" in refusal(path)
    assert capfd.readouterr() == ("", "")


def test_refuses_pictures_that_are_no_radiograph(tmp_path):
    rng = np.random.default_rng(0)
    photograph = gaussian_filter(rng.uniform(0, 255, (100, 120, 3)), (4, 4, 0))
    photograph = ((photograph - photograph.min()) * 255 / np.ptp(photograph)).astype(np.uint8)
    for name in ("photo.png", "photo.jpg"):
        assert "colour" in refusal(save(tmp_path / name, photograph))
    assert "every pixel is 0" in refusal(save(tmp_path / "black.png", np.zeros((100, 100), np.uint8)))
    assert "every pixel is 255" in refusal(save(tmp_path / "white.png", np.full((100, 100), 255, np.uint8)))
    assert "bilevel" in refusal(save(tmp_path / "scan.png", picture() > 100))
    for bad in (np.nan, np.inf):
        holed = picture().astype(np.float32)
        holed[5, 5] = bad
        assert "NaN or infinite" in refusal(save(tmp_path / "nan.tif", holed))


@pytest.mark.parametrize("size", [(12000, 9000), (30000, 30000), (100000, 60000)])
def test_refuses_absurd_sizes_without_reading_them(tmp_path, size):
    (tmp_path / "bomb.png").write_bytes(png_header(*size))
    start = time.perf_counter()
    assert "scale it down" in refusal(tmp_path / "bomb.png")
    assert time.perf_counter() - start < 1


def test_refuses_small_images(tmp_path):
    assert "63 pixels" in refusal(save(tmp_path / "s.png", picture(63, 200)))
    assert read_radiograph(save(tmp_path / "l.png", picture(64, 200))).pixels.shape == (64, 200)
    assert "40 x 80" in refusal(write_dicom(tmp_path / "s.dcm", picture(80, 40)))


def test_refuses_volumes_and_ct_slices(subjects, shared_data):
    sentence = refusal(subjects[0] / "ct.nii.gz")
    assert "3D volume of" in sentence and "x2br drr" in sentence
    assert "modality CT" in refusal(next((shared_data / "dicom").glob("*/*.dcm")))


# --- DICOM ----------------------------------------------------------------------------------------------------------


def test_a_bare_dicom_keeps_its_values_and_says_what_is_assumed(tmp_path):
    pixels = picture(top=4095)
    radiograph = read_radiograph(write_dicom(tmp_path / "IM0001", pixels))
    np.testing.assert_array_equal(radiograph.pixels, pixels)
    assert radiograph.known == NOTHING_KNOWN
    assert any("AP" in w for w in radiograph.warnings) and any("scale is assumed" in w for w in radiograph.warnings)


def test_dicom_tags_give_the_geometry(tmp_path):
    tags = {
        "ViewPosition": "PA",
        "ImagerPixelSpacing": [0.2, 0.25],
        "PixelSpacing": [0.17, 0.21],  # calibrated to the patient: not the detector's
        "DistanceSourceToDetector": 1830,
        "DistanceSourceToPatient": 1610,
    }
    radiograph = read_radiograph(write_dicom(tmp_path / "x.dcm", picture(), **tags))
    geometry = radiograph.geometry
    assert (geometry.view, geometry.sid, geometry.sod, geometry.spacing) == ("PA", 1830, 1610, (0.2, 0.25))
    np.testing.assert_allclose(geometry.source, [0, -1610, 0])
    assert radiograph.known == ALL_KNOWN and radiograph.scale_known and radiograph.warnings == ()
    # the user knows better than the tags
    radiograph = read_radiograph(tmp_path / "x.dcm", view="AP", pixel_spacing=0.3, sid=1200, sod=1000)
    geometry = radiograph.geometry
    assert (geometry.view, geometry.sid, geometry.sod, geometry.spacing) == ("AP", 1200, 1000, (0.3, 0.3))


def test_parts_of_a_geometry(tmp_path):
    path = write_dicom(tmp_path / "x.dcm", picture(), DistanceSourceToDetector=1100, PixelSpacing=[0.2, 0.2])
    radiograph = read_radiograph(path)
    assert (radiograph.geometry.sid, radiograph.geometry.sod) == (1100, 800)
    assert radiograph.known == {"sid": True, "sod": False, "spacing": True, "view": False}
    assert read_radiograph(path, sod=1000).geometry.sid == 1100
    # beyond the tag's SID: the two do not belong together
    radiograph = read_radiograph(path, sod=1500)
    assert radiograph.geometry.sid == 1800 and not radiograph.known["sid"]
    # devices write 0 for "unknown", and some write metres
    path = write_dicom(tmp_path / "y.dcm", picture(), DistanceSourceToDetector=0, DistanceSourceToPatient=0)
    assert read_radiograph(path).known == NOTHING_KNOWN
    path = write_dicom(tmp_path / "z.dcm", picture(), DistanceSourceToDetector="1.8")
    radiograph = read_radiograph(path)
    assert radiograph.geometry.sid == 1800 and not radiograph.known["sid"]
    assert any("left out" in w for w in radiograph.warnings)


def test_monochrome1_is_inverted(tmp_path):
    pixels = picture(top=4095)
    radiograph = read_radiograph(
        write_dicom(tmp_path / "x.dcm", 4095 - pixels, PhotometricInterpretation="MONOCHROME1")
    )
    shown = read_radiograph(write_dicom(tmp_path / "y.dcm", pixels)).pixels
    np.testing.assert_allclose(radiograph.pixels - radiograph.pixels.min(), shown - shown.min())


@pytest.mark.parametrize("view", ["AP", "PA", "LL", "RL"])
def test_patient_orientation_makes_it_upright(tmp_path, view):
    upright = picture(top=4095)
    toward, away = {"AP": "LR", "PA": "LR", "LL": "AP", "RL": "PA"}[view]
    stored = {
        (toward, "F"): upright,
        (away, "F"): upright[:, ::-1],
        (toward, "H"): upright[::-1],
        (away, "H"): upright[::-1, ::-1],
        ("F", toward): upright.T,
        ("H", toward): upright[::-1].T,
        ("F", away): upright[:, ::-1].T,
        (toward + "F", "F" + away): upright,  # slightly turned: the first letter is the main direction
    }
    for orientation, pixels in stored.items():
        tags = {"ViewPosition": view, "PatientOrientation": list(orientation)}
        spacing = [0.25, 0.2] if orientation[0] in "FH" else [0.2, 0.25]
        path = write_dicom(tmp_path / "x.dcm", np.ascontiguousarray(pixels), ImagerPixelSpacing=spacing, **tags)
        radiograph = read_radiograph(path)
        np.testing.assert_array_equal(radiograph.pixels, upright)
        assert radiograph.geometry.spacing == (0.2, 0.25)
        assert radiograph.geometry.view == {"LL": "LAT", "RL": "RLAT"}.get(view, view)


def test_an_orientation_without_view_tells_a_lateral(tmp_path):
    path = write_dicom(tmp_path / "x.dcm", picture(), PatientOrientation=["P", "F"])
    radiograph = read_radiograph(path)
    assert radiograph.geometry.view == "LAT" and not radiograph.known["view"]
    np.testing.assert_array_equal(radiograph.pixels, picture()[:, ::-1])
    path = write_dicom(tmp_path / "x.dcm", picture(), ViewPosition="LLO")
    assert any("LLO" in w for w in read_radiograph(path).warnings)


def test_modality_and_voi_transformations_are_applied(tmp_path):
    pixels = picture(top=4095)
    path = write_dicom(tmp_path / "rescale.dcm", pixels, RescaleSlope="0.5", RescaleIntercept="-100")
    np.testing.assert_allclose(read_radiograph(path).pixels, pixels * 0.5 - 100)
    path = write_dicom(tmp_path / "window.dcm", pixels, WindowCenter="1500", WindowWidth="1000")
    expected = apply_voi_lut(pixels, pydicom.dcmread(path))
    shown = read_radiograph(path).pixels
    np.testing.assert_allclose(shown, expected)
    assert (shown[pixels < 990] == shown.min()).all() and (shown[pixels > 2010] == shown.max()).all()
    # a VOI LUT of 4096 entries that squares
    table = pydicom.Dataset()
    table.LUTDescriptor = [4096, 0, 16]
    table.LUTData = (np.linspace(0, 1, 4096) ** 2 * 65535).astype(np.uint16).tobytes()
    table["LUTDescriptor"].VR, table["LUTData"].VR = "US", "OW"
    path = write_dicom(tmp_path / "lut.dcm", pixels, VOILUTSequence=[table])
    np.testing.assert_allclose(read_radiograph(path).pixels, (pixels / 4095.0) ** 2 * 65535, atol=1)
    path = write_dicom(tmp_path / "bad.dcm", pixels, WindowCenter="1500", WindowWidth="0")
    radiograph = read_radiograph(path)
    np.testing.assert_array_equal(radiograph.pixels, pixels)
    assert any("window" in w for w in radiograph.warnings)


def test_secondary_captures_frames_and_raw_images(tmp_path):
    frames = np.stack([picture(), picture()[::-1]])
    path = write_dicom(tmp_path / "x.dcm", frames, Modality="XA", NumberOfFrames=2)
    radiograph = read_radiograph(path)
    np.testing.assert_array_equal(radiograph.pixels, picture())
    assert any("2 frames" in w for w in radiograph.warnings)
    colour = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0, "Modality": "OT"}
    grey = np.repeat(picture()[..., None], 3, axis=2)
    path = write_dicom(tmp_path / "g.dcm", picture(), PixelData=grey.tobytes(), **colour)
    np.testing.assert_array_equal(read_radiograph(path).pixels, picture())
    grey[..., 0] = 255 - grey[..., 0]
    path = write_dicom(tmp_path / "c.dcm", picture(), PixelData=grey.tobytes(), **colour)
    assert "colour" in refusal(path)
    path = write_dicom(tmp_path / "r.dcm", picture(), PresentationIntentType="FOR PROCESSING")
    assert any("FOR PROCESSING" in w for w in read_radiograph(path).warnings)


@pytest.mark.parametrize("compressor", ["JPEG", "JPEG2000", "RLE"])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_compressed_dicom(tmp_path, compressor, photometric):
    pixels, path = picture(top=4095), tmp_path / "x.dcm"
    tags = {"PhotometricInterpretation": photometric, "RescaleSlope": "0.5", "RescaleIntercept": "10"}
    expected = read_radiograph(write_dicom(path, pixels, **tags)).pixels
    if compressor == "RLE":
        dataset = pydicom.dcmread(path)
        dataset.compress(pydicom.uid.RLELossless)
    else:
        writer = sitk.ImageFileWriter()
        writer.SetImageIO("GDCMImageIO")
        writer.SetUseCompression(True)
        writer.SetCompressor(compressor)
        writer.SetFileName(str(tmp_path / "c.dcm"))
        writer.Execute(sitk.GetImageFromArray(pixels))
        dataset = pydicom.dcmread(tmp_path / "c.dcm")
        assert dataset.file_meta.TransferSyntaxUID.is_compressed
        dataset.Modality = "DX"
        for name, value in tags.items():
            setattr(dataset, name, value)
    dataset.save_as(path)
    np.testing.assert_array_equal(read_radiograph(path).pixels, expected)
    dataset.PixelData = pydicom.encaps.encapsulate([b"\x00\x01" * 50])
    dataset.save_as(path)
    refusal(path)


def test_a_dicom_without_an_image_or_of_another_modality(tmp_path):
    path = write_dicom(tmp_path / "x.dcm", picture(), Modality="MR")
    assert "modality MR" in refusal(path)
    dataset = pydicom.dcmread(write_dicom(path, picture()))
    del dataset.PixelData
    dataset.save_as(path)
    assert "without an image" in refusal(path)
    dataset = pydicom.dcmread(write_dicom(path, picture()))
    del dataset.Rows
    dataset.save_as(path)
    assert "damaged" in refusal(path)


# --- volumes of one slice -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".nrrd", ".nii.gz", ".mha"])
@pytest.mark.parametrize("view", ["AP", "PA", "LAT", "RLAT"])
def test_a_slice_on_its_detector_plane_is_upright(tmp_path, suffix, view):
    pixels = picture().astype(np.float32) / 50  # line integrals
    geometry = XRayGeometry.from_view(view, shape=pixels.shape, spacing=(0.8, 0.9))
    matrix, flip = geometry.pixel_to_ras, np.eye(4)
    flip[:2] = [[-1, 0, 0, pixels.shape[1] - 1], [0, -1, 0, pixels.shape[0] - 1]]
    for array, to_ras in ((pixels[None], matrix), (pixels[None, ::-1, ::-1].copy(), matrix @ flip)):
        write_volume(tmp_path / f"x{suffix}", Volume(array, to_ras))
        radiograph = read_radiograph(tmp_path / f"x{suffix}", view=view)
        np.testing.assert_array_equal(radiograph.pixels, pixels)
        np.testing.assert_allclose(radiograph.geometry.spacing, (0.8, 0.9), rtol=1e-5)
        assert radiograph.known["spacing"]


def test_a_slice_along_another_axis_and_a_2d_image(tmp_path):
    pixels = picture().astype(np.float32)
    # coronal: i to the patient's right, k to the head
    coronal = Volume(pixels[::-1, None, ::-1].copy(), np.diag([0.5, 1, 0.6, 1]))
    write_volume(tmp_path / "c.nii.gz", coronal)
    radiograph = read_radiograph(tmp_path / "c.nii.gz")
    np.testing.assert_array_equal(radiograph.pixels, pixels)
    np.testing.assert_allclose(radiograph.geometry.spacing, (0.6, 0.5), rtol=1e-6)
    # a 2D file says nothing of the patient, and 1 mm is what a silent header reads as
    sitk.WriteImage(sitk.GetImageFromArray(pixels), str(tmp_path / "p.nrrd"))
    radiograph = read_radiograph(tmp_path / "p.nrrd")
    np.testing.assert_array_equal(radiograph.pixels, pixels)
    assert not radiograph.known["spacing"]


# --- geometry beside the image and from the user --------------------------------------------------------------------


def turned_geometry() -> XRayGeometry:
    return XRayGeometry.from_view(
        "AP",
        angle=20,
        tilt=5,
        sid=1500,
        sod=1300,
        shape=(96, 80),
        spacing=(3.5, 4),
        isocentre=np.array([5.0, -60, 300]),
    )


@pytest.mark.parametrize("form", ["x.geometry.json", "geometry.json", "images"])
def test_round_trip_of_a_geometry_beside_the_image(tmp_path, form):
    geometry = turned_geometry()
    save(tmp_path / "x.png", picture())
    if form == "images":
        (tmp_path / "geometry.json").write_text(json.dumps({"images": {"x.png": geometry.to_dict()}}))
    else:
        (tmp_path / form).write_text(json.dumps(geometry.to_dict()))
    radiograph = read_radiograph(tmp_path / "x.png")
    assert radiograph.known == ALL_KNOWN and radiograph.warnings == ()
    assert radiograph.geometry.to_dict() == geometry.to_dict()


def test_which_geometry_file_counts(tmp_path):
    save(tmp_path / "x.png", picture())
    save(tmp_path / "y.png", picture())
    own = turned_geometry().to_dict() | {"sid_mm": 2000}
    (tmp_path / "x.geometry.json").write_text(json.dumps(own))
    (tmp_path / "geometry.json").write_text(json.dumps({"images": {"x.png": turned_geometry().to_dict()}}))
    assert read_radiograph(tmp_path / "x.png").geometry.sid == 2000
    radiograph = read_radiograph(tmp_path / "y.png")
    assert radiograph.known == NOTHING_KNOWN and any("does not list y.png" in w for w in radiograph.warnings)


def test_the_users_numbers_win_over_the_file(tmp_path):
    geometry = turned_geometry()
    save(tmp_path / "x.png", picture())
    (tmp_path / "geometry.json").write_text(json.dumps(geometry.to_dict()))
    changed = read_radiograph(tmp_path / "x.png", view="PA", sid=1600, sod=1400, pixel_spacing=3).geometry
    assert (changed.view, changed.sid, changed.sod, changed.spacing) == ("PA", 1600, 1400, (3, 3))
    np.testing.assert_allclose(changed.to_source, [0, -1, 0])
    np.testing.assert_allclose(changed.isocentre, geometry.isocentre)
    kept = read_radiograph(tmp_path / "x.png", sid=1600).geometry
    np.testing.assert_allclose(kept.to_source, geometry.to_source)
    assert (kept.sid, kept.sod) == (1600, 1300)
    assert "SOD" in refusal(tmp_path / "x.png", sid=1200)


def test_an_image_scaled_after_its_geometry_was_written(tmp_path):
    save(tmp_path / "x.png", picture(192, 160))
    (tmp_path / "geometry.json").write_text(json.dumps(turned_geometry().to_dict()))
    radiograph = read_radiograph(tmp_path / "x.png")
    assert radiograph.geometry.spacing == (1.75, 2) and any("scaled" in w for w in radiograph.warnings)
    save(tmp_path / "x.png", picture(96, 96))
    assert "belongs to this image" in refusal(tmp_path / "x.png")


@pytest.mark.parametrize("text", ["{", "[1, 2]", '{"sid_mm": 1800}', '{"images": {"x.png": 3}}'])
def test_refuses_unusable_geometry_files(tmp_path, text):
    save(tmp_path / "x.png", picture())
    (tmp_path / "geometry.json").write_text(text)
    assert "geometry.json" in refusal(tmp_path / "x.png")


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"view": "OBLIQUE"}, "unknown view"),
        ({"sid": 1.8}, "millimetres"),
        ({"sid": 180}, "millimetres"),
        ({"sid": float("nan")}, "millimetres"),
        ({"sod": -5}, "millimetres"),
        ({"sid": 1000, "sod": 1200}, "cannot exceed"),
        ({"sid": 550}, "SOD"),
        ({"pixel_spacing": 0}, "pixel spacing"),
        ({"pixel_spacing": 500}, "pixel spacing"),
    ],
)
def test_refuses_nonsense_from_the_user(tmp_path, settings, word):
    assert word in refusal(save(tmp_path / "x.png", picture()), **settings)


def test_arrays_from_a_host_pass_the_same_checks():
    geometry = turned_geometry()
    radiograph = radiograph_from_array(picture(), "node", geometry=geometry)
    assert isinstance(radiograph, Radiograph) and radiograph.geometry is not None and radiograph.known == ALL_KNOWN
    assert radiograph_from_array(picture(), "node", sid=1500).known == NOTHING_KNOWN | {"sid": True}
    for bad in (np.zeros((100, 100)), np.zeros((2, 100, 100)), picture(30, 30), np.full((80, 80), "a")):
        with pytest.raises(InputError, match="node"):
            radiograph_from_array(bad, "node")


# --- the network's input --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", ["AP", "PA", "LAT", "RLAT"])
@pytest.mark.parametrize(
    ("shape", "spacing"), [((512, 512), (0.9, 0.9)), ((700, 480), (0.7, 1.1)), ((90, 130), (5, 4))]
)
def test_a_known_point_lands_in_its_network_pixel(view, shape, spacing):
    geometry = XRayGeometry.from_view(
        view, shape=shape, spacing=spacing, isocentre=np.array([12.0, -30, 140]), sid=1400, sod=1200
    )
    size = 224
    for cube in ([0.21, 0.1, 0.18], [-0.3, -0.2, -0.11], [0.05, 0.0, -0.25]):
        point = geometry.cube_to_ras(np.array([cube]))
        column, row = geometry.project(point)[0]
        rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]]
        # a spot as wide on the detector whatever the pixels
        distance = np.hypot((rows - row) * spacing[0], (columns - column) * spacing[1])
        pixels = np.exp(-((distance / 8) ** 2)).astype(np.float32)
        image, _ = resample_to_network(pixels, geometry, size)
        weight = image / image.sum()
        ticks = np.arange(size)
        centre = np.array([(weight.sum(0) * ticks).sum(), (weight.sum(1) * ticks).sum()])
        x, _, z = geometry.ras_to_ray_cube(point)[0]
        np.testing.assert_allclose(centre, [(0.5 - x) * size - 0.5, (0.5 - z) * size - 0.5], atol=0.1)


def test_resampling_is_linear_upwards_and_area_correct_downwards():
    coarse = XRayGeometry.from_view("AP", shape=(100, 120), spacing=(5.2, 4.3))
    row, column = np.mgrid[0:100, 0:120].astype(np.float32)
    image, inside = resample_to_network(3 * row - 2 * column + 50, coarse, 224)
    at = coarse.network_pixels(224)
    assert inside.all()
    np.testing.assert_allclose(image, 3 * at[..., 1] - 2 * at[..., 0] + 50, atol=1e-3)
    # the finest checkerboard is grey from afar, and a picture seen at another resolution is the same picture
    fine = XRayGeometry.from_view("AP", shape=(2400, 2400), spacing=(0.2, 0.2))
    board = (np.indices((2400, 2400)).sum(0) % 2).astype(np.float32)
    assert np.abs(resample_to_network(board, fine, 224)[0] - 0.5).max() < 0.01
    smooth = gaussian_filter(np.random.default_rng(0).normal(size=(2400, 2400)), 25).astype(np.float32)
    halved = smooth.reshape(1200, 2, 1200, 2).mean((1, 3))
    one, _ = resample_to_network(smooth, fine, 224)
    two, _ = resample_to_network(halved, fine.resized((1200, 1200)), 224)
    assert np.abs(one - two).max() < 0.01 * one.std()


def test_outside_the_film_is_black_and_does_not_count():
    rng = np.random.default_rng(0)
    pixels = (gaussian_filter(rng.normal(size=(300, 500)), 4) + 100).astype(np.float32)
    radiograph = radiograph_from_array(pixels, "x", pixel_spacing=0.6)
    geometry = radiograph.geometry
    image, inside = resample_to_network(pixels, geometry, 224)
    at = geometry.network_pixels(224)
    expected = (np.abs(at[..., 0] - 249.5) <= 250) & (np.abs(at[..., 1] - 149.5) <= 150)
    np.testing.assert_array_equal(inside, expected)
    assert 0.2 < inside.mean() < 0.6 and (image[~inside] == 0).all() and image[inside].min() > 90
    for clahe in (False, True):
        shown = normalise(image, inside, clahe)
        assert (shown[~inside] == 0).all() and shown[inside].std() > 0.15
        np.testing.assert_array_equal(shown, network_image(radiograph, clahe=clahe))
    low, high = np.percentile(image[inside], (1, 99))
    plain = normalise(image, inside, clahe=False)
    np.testing.assert_allclose(plain[inside], np.clip((image[inside] - low) / (high - low), 0, 1), atol=1e-5)


@pytest.mark.parametrize("clahe", [False, True])
def test_brightness_contrast_and_outliers_do_not_matter(clahe):
    rng = np.random.default_rng(1)
    image = gaussian_filter(rng.normal(size=(224, 224)), 6).astype(np.float32)
    shown = normalise(image, clahe=clahe)
    assert shown.dtype == np.float32 and shown.min() == 0 and shown.max() <= 1
    assert np.abs(normalise(image * 37 + 1000, clahe=clahe) - shown).max() < 0.02
    marked = image.copy()
    marked[5:10, 5:15] = 50  # a lead letter
    assert np.abs(normalise(marked, clahe=clahe)[30:, 30:] - shown[30:, 30:]).mean() < 0.02


def test_normalise_refuses_nothing_and_blank_and_keeps_a_sparse_image():
    blank = np.ones((64, 64), np.float32)
    with pytest.raises(InputError, match="blank"):
        normalise(blank)
    with pytest.raises(InputError, match="does not cover"):
        normalise(blank, np.zeros((64, 64), bool))
    blank[3, 3] = 5
    assert normalise(blank, clahe=False)[3, 3] == 1
    elsewhere = XRayGeometry.from_view("AP", shape=(96, 80), spacing=(0.5, 0.5), principal_point=(5000, 5000))
    with pytest.raises(InputError, match="does not cover"):
        network_image(radiograph_from_array(picture(), "x", geometry=elsewhere))


def test_the_network_image_is_quick():
    pixels = np.random.default_rng(0).random((512, 512), dtype=np.float32)
    radiograph = radiograph_from_array(pixels, "x", pixel_spacing=0.9)
    network_image(radiograph)
    seconds = []
    for _ in range(7):
        start = time.perf_counter()
        network_image(radiograph)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.06
    assert CUBE_EDGE_MM == 400  # the field of view that the figure belongs to
