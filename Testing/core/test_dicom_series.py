"""DICOM series as scanners write them: tilted gantries, packed pixels, a scale of its own in each slice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom import uid

from X2BRLogic.drr import RayTracer, isocentre
from X2BRLogic.errors import InputError
from X2BRLogic.geometry import XRayGeometry
from X2BRLogic.volume import Volume
from X2BRLogic.volume_io import match_grid, read_ct, read_volume, write_volume

LPS_RAS = np.array([-1.0, -1.0, 1.0])
SUPINE = np.array([[1.0, 0, 0], [0, 1, 0]])
PIXEL, COLUMNS, ROWS = 3.0, 76, 64


def phantom(ras: np.ndarray) -> np.ndarray:
    """HU at RAS points (..., 3): an oval body with soft edges, two lungs of unlike size, a spine, one rib aslant."""

    def inside(centre, radii):
        distance = np.linalg.norm((ras - centre) / radii, axis=-1)
        return 1 / (1 + np.exp((distance - 1) * 20))

    hu = -1000 + 1040 * inside((0, 0, 0), (95, 70, 62))
    hu += -800 * inside((45, 10, 5), (30, 35, 40)) - 800 * inside((-42, 12, 0), (26, 38, 34))
    rib = np.array([[1.0, 0.3, 0.5], [-0.3, 1.0, 0.0], [-0.5, 0.1, 1.0]])
    along = np.linalg.norm((ras - (20, 45, 8)) @ np.linalg.qr(rib.T)[0] / (50, 6, 6), axis=-1)
    return hu + 900 * inside((0, -48, 0), (12, 12, 55)) + 800 / (1 + np.exp((along - 1) * 20))


def write_series(
    folder: Path, hu=None, *, positions, orientation=SUPINE, pack=lambda d: d, rescale=lambda k: (1, -1024)
):
    """Slices at `positions` (LPS mm, of the first pixel), of the phantom unless values `hu` (K, J, I) are given.

    `rescale(k)` gives slice k's slope and intercept, `pack(dataset)` compresses it; files are not in order of place.
    """
    folder.mkdir(exist_ok=True)
    row, column = orientation
    j, i = np.mgrid[:ROWS, :COLUMNS][..., None] * PIXEL
    series = uid.generate_uid()
    for k, position in enumerate(positions):
        values = phantom((position + i * row + j * column) * LPS_RAS) if hu is None else hu[k]
        slope, intercept = rescale(k)
        stored = np.round((values - intercept) / slope).astype(np.int16)
        d = pydicom.Dataset()
        d.file_meta = pydicom.dataset.FileMetaDataset()
        d.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
        d.file_meta.MediaStorageSOPClassUID = d.SOPClassUID = uid.CTImageStorage
        d.file_meta.MediaStorageSOPInstanceUID = d.SOPInstanceUID = uid.generate_uid()
        d.SeriesInstanceUID, d.StudyInstanceUID, d.Modality = series, series, "CT"
        d.ImagePositionPatient = [f"{v:.6f}" for v in position]
        d.ImageOrientationPatient = [f"{v:.8f}" for v in orientation.ravel()]
        d.PixelSpacing = [PIXEL, PIXEL]
        d.RescaleSlope, d.RescaleIntercept = slope, intercept
        d.PhotometricInterpretation, d.SamplesPerPixel = "MONOCHROME2", 1
        d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = 16, 16, 15, 1
        d.Rows, d.Columns = stored.shape
        d.PixelData = stored.tobytes()
        d["PixelData"].VR = "OW"
        pack(d).save_as(folder / f"{(k * 29) % len(positions):03}", enforce_file_format=True)
    return folder


def places(orientation=SUPINE, *, count=56, table_step=3.0, tilt_direction=(0.0, 0.0, 1.0)) -> np.ndarray:
    """First pixels of `count` slices centred on the origin, the table moving along the patient from feet to head."""
    row, column = orientation
    middle = -0.5 * PIXEL * ((COLUMNS - 1) * row + (ROWS - 1) * column)
    return middle + (np.arange(count) - (count - 1) / 2)[:, None] * table_step * np.array(tilt_direction)


def tilted(degrees: float) -> np.ndarray:
    """Rows and columns of slices under a gantry that leans by `degrees` about the patient's left-right axis."""
    a = np.deg2rad(degrees)
    return np.array([[1.0, 0, 0], [0, np.cos(a), np.sin(a)]])


def refusal(path) -> str:
    with pytest.raises(InputError) as caught:
        read_ct(path)
    return str(caught.value)


# --- tilted gantries ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("degrees", [-20.0, 12.0, 30.0])
def test_a_tilted_series_gives_the_drr_of_its_upright_twin(tmp_path, degrees):
    """The same patient scanned upright and with a tilted gantry: the same places in RAS, the same radiographs."""
    upright = read_ct(write_series(tmp_path / "upright", positions=places()))
    leaning = tilted(degrees)
    aslant = read_ct(write_series(tmp_path / "tilted", positions=places(leaning), orientation=leaning))
    shear = aslant.ijk_to_ras[:3, :3] / aslant.spacing
    assert np.isclose(shear[:, 1] @ shear[:, 2], np.sin(np.deg2rad(degrees)), atol=1e-4)
    ijk = np.stack(np.meshgrid([10, 40, 70], [12, 33, 50], [5, 25, 50], indexing="ij"), -1).reshape(-1, 3)
    found = aslant.array[ijk[:, 2], ijk[:, 1], ijk[:, 0]]
    assert np.abs(found - np.maximum(phantom(aslant.to_ras(ijk)), -1024)).max() <= 0.51  # rounding to whole HU
    for view in ("AP", "LAT"):
        geometry = XRayGeometry.from_view(view, angle=10, tilt=5, shape=(96, 96), spacing=(3.0, 3.0))
        images = [RayTracer(ct, offset=1000).integrate(geometry) for ct in (upright, aslant)]
        agreement = np.corrcoef(images[0].ravel(), images[1].ravel())[0, 1]
        assert agreement > 0.9998
        assert images[1].mean() == pytest.approx(images[0].mean(), rel=2e-3)
        # Taken for an upright stack, the same slices show another picture: the test would notice.
        straight = aslant.ijk_to_ras.copy()
        straight[:3, 2] = np.cross(shear[:, 0], shear[:, 1]) * aslant.spacing[2]
        wrong = RayTracer(Volume(aslant.array, straight), offset=1000).integrate(geometry)
        assert np.corrcoef(images[0].ravel(), wrong.ravel())[0, 1] < 0.997


def test_both_twins_are_aimed_at_the_same_place(tmp_path):
    upright = read_ct(write_series(tmp_path / "upright", positions=places()))
    leaning = tilted(20)
    aslant = read_ct(write_series(tmp_path / "tilted", positions=places(leaning), orientation=leaning))
    assert np.linalg.norm(isocentre(upright) - isocentre(aslant)) < 2 * PIXEL


def test_labels_reach_a_tilted_ct_and_a_file_of_it_is_refused(tmp_path):
    """Labels on an upright grid find their place on the sheared one; formats without shear are refused, not bent."""
    leaning = tilted(25)
    aslant = read_ct(write_series(tmp_path / "tilted", positions=places(leaning), orientation=leaning))
    matrix = np.diag([2.0, 2.0, 2.0, 1.0])
    matrix[:3, 3] = (-110, -90, -75)
    grid = np.stack(np.meshgrid(np.arange(111), np.arange(91), np.arange(76), indexing="ij"), -1).reshape(-1, 3)
    bone = phantom(Volume(np.zeros((76, 91, 111), np.uint8), matrix).to_ras(grid)) > 300
    labels = Volume(bone.reshape(111, 91, 76).T.astype(np.uint8) * 34, matrix)
    there = match_grid(labels, aslant).array > 0
    expected = aslant.array > 300
    dice = 2 * (there & expected).sum() / (there.sum() + expected.sum())
    assert dice > 0.85 and there.sum() > 1000
    with pytest.raises(InputError, match="not perpendicular"):
        write_volume(tmp_path / "x.nii.gz", aslant)
    assert not (tmp_path / "x.nii.gz").exists()


def test_places_that_no_scanner_makes_are_refused(tmp_path):
    far = tilted(60)
    assert "60 degrees aslant" in refusal(write_series(tmp_path / "far", positions=places(far), orientation=far))
    shifted = places()
    shifted[20] += (9.0, 0, 0)
    assert "9.0 mm beside its place" in refusal(write_series(tmp_path / "shifted", positions=shifted))
    skew = np.array([[1.0, 0, 0], [0.5, 0.8, 0]])
    assert "not perpendicular" in refusal(write_series(tmp_path / "skew", positions=places(), orientation=skew))


# --- uneven and missing slices --------------------------------------------------------------------------------------


def test_missing_uneven_and_doubled_slices_are_named(tmp_path):
    hu = np.zeros((20, ROWS, COLUMNS))
    even = places(count=20)
    gone = np.delete(even, 8, axis=0)
    sentence = refusal(write_series(tmp_path / "gone", hu[1:], positions=gone))
    assert "slices are missing or uneven: 6.00 mm between" in sentence and "elsewhere 3.00 mm" in sentence
    uneven = even.copy()
    uneven[12:] += (0, 0, 0.5)
    assert "3.50 mm between" in refusal(write_series(tmp_path / "uneven", hu, positions=uneven))
    doubled = even.copy()
    doubled[5] = doubled[4]
    assert "same place" in refusal(write_series(tmp_path / "doubled", hu, positions=doubled))


def test_positions_rounded_by_the_scanner_pass(tmp_path):
    rng = np.random.default_rng(3)
    positions = places() + rng.uniform(-0.05, 0.05, (56, 3))
    ct = read_ct(write_series(tmp_path / "s", positions=positions))
    np.testing.assert_allclose(ct.spacing, [3, 3, 3], atol=0.01)


def test_feet_first_and_coronal_stacks_lie_where_they_are(tmp_path):
    """Slices of any orientation: rows to the left and up, stacked from front to back."""
    coronal = np.array([[1.0, 0, 0], [0, 0, -1.0]])
    ct = read_ct(
        write_series(tmp_path / "s", positions=places(coronal, tilt_direction=(0, 1.0, 0)), orientation=coronal)
    )
    ijk = np.array([[20, 30, 10], [60, 10, 40]])
    np.testing.assert_allclose(ct.array[[10, 40], [30, 10], [20, 60]], phantom(ct.to_ras(ijk)), atol=0.51)


# --- values ---------------------------------------------------------------------------------------------------------


def checkered() -> np.ndarray:
    """Whole HU that no two slices share, (20, ROWS, COLUMNS), even so that slope 2 stores them exactly."""
    k, j, i = np.mgrid[:20, :ROWS, :COLUMNS]
    return (2 * ((i * 7 + j * 13 + k * 29) % 1000) - 1000).astype(float)


@pytest.mark.parametrize(
    "rescale",
    [
        lambda k: (1, -1024),
        lambda k: (2 if k % 2 else 1, -1000),
        lambda k: (1, -1000 - 10 * k),
        lambda k: (0.5 if k else 1, -1000),  # the first slice's type must not round the others
    ],
    ids=["one", "slope", "intercept", "fraction"],
)
def test_every_slice_has_its_own_slope_and_intercept(tmp_path, rescale):
    hu = checkered()
    if rescale(1)[0] == 0.5:
        hu[1:] += 0.5
    ct = read_ct(write_series(tmp_path / "s", hu, positions=places(count=20), rescale=rescale))
    np.testing.assert_array_equal(ct.array, hu)


def test_a_first_slice_without_negative_values_does_not_clip_the_others(tmp_path):
    """The first is stored unsigned without an intercept, so its values start at 0: nothing forbids it."""

    def pack(dataset):
        dataset.PixelRepresentation = int(dataset.RescaleIntercept == -1024)
        return dataset

    hu = checkered()
    hu[0] += 1000
    ct = read_ct(
        write_series(
            tmp_path / "s", hu, positions=places(count=20), rescale=lambda k: (1, -1024 if k else 0), pack=pack
        )
    )
    np.testing.assert_array_equal(ct.array, hu)


def packed_by_gdcm(compressor: str, syntax: str):
    """Pixels packed by the GDCM inside SimpleITK, and put into the dataset that says where they are."""

    def pack(dataset, scratch):
        stored = np.frombuffer(dataset.PixelData, np.int16).reshape(1, ROWS, COLUMNS)
        writer = sitk.ImageFileWriter()
        writer.SetImageIO("GDCMImageIO")
        writer.SetFileName(str(scratch / "packed.dcm"))
        writer.UseCompressionOn()
        writer.SetCompressor(compressor)
        writer.Execute(sitk.GetImageFromArray(stored))
        packed = pydicom.dcmread(scratch / "packed.dcm")
        assert packed.file_meta.TransferSyntaxUID == syntax
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.PixelData = packed.PixelData
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
        return dataset

    return pack


def rle(dataset, _):
    dataset.compress(uid.RLELossless)
    return dataset


def big_endian(dataset, _):
    values = np.frombuffer(dataset.PixelData, np.int16)
    dataset.PixelData = values.astype(">i2").tobytes()
    dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRBigEndian
    return dataset


def with_syntax(syntax):
    def pack(dataset, _):
        dataset.file_meta.TransferSyntaxUID = syntax
        return dataset

    return pack


@pytest.mark.parametrize(
    "pack",
    [
        with_syntax(uid.ImplicitVRLittleEndian),
        with_syntax(uid.DeflatedExplicitVRLittleEndian),
        big_endian,
        rle,
        packed_by_gdcm("JPEG2000", uid.JPEG2000Lossless),
        packed_by_gdcm("JPEG", uid.JPEGLosslessSV1),
    ],
    ids=["implicit", "deflated", "big endian", "RLE", "JPEG 2000", "lossless JPEG"],
)
def test_every_transfer_syntax_gives_the_same_values(tmp_path, pack):
    hu = checkered()
    folder = write_series(tmp_path / "s", hu, positions=places(count=20), pack=lambda dataset: pack(dataset, tmp_path))
    volume = read_volume(folder, modality="CT")
    np.testing.assert_array_equal(volume.array, hu)
