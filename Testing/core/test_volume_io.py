"""Volumes from files: the same physical answer from every format, and one sentence for what is no CT."""

from __future__ import annotations

import gzip
import os
import shutil
import struct
import threading
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from scipy.ndimage import map_coordinates

from X2BRLogic.errors import InputError
from X2BRLogic.volume import Volume
from X2BRLogic.volume_io import match_grid, quiet_itk, read_ct, read_labels, read_volume, volume_size, write_volume


def oblique(shape=(20, 24, 28), seed=1) -> Volume:
    """A small CT on an oblique, flipped, anisotropic grid: air, a soft body and a bone in it."""
    rng = np.random.default_rng(seed)
    array = np.full(shape, -1000, np.int16)
    array[4:-4, 4:-4, 4:-4] = rng.integers(-50, 80, [n - 8 for n in shape])
    array[8:10, 8:12, 8:14] = 700
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * [0.8, -1.1, 2.5]
    matrix[:3, 3] = [-31.5, 12.25, 140]
    return Volume(array, matrix)


@pytest.fixture
def ct() -> Volume:
    return oblique()


def refusal(function, *arguments, **settings) -> str:
    """The sentence of the `InputError`, which must be one line that names a remedy."""
    with pytest.raises(InputError) as caught:
        function(*arguments, **settings)
    sentence = str(caught.value)
    assert "\n" not in sentence and len(sentence) < 600
    return sentence


# --- formats --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_round_trip_keeps_values_and_place(tmp_path, ct, suffix):
    write_volume(tmp_path / f"ct{suffix}", ct)
    again = read_ct(tmp_path / f"ct{suffix}")
    assert again.array.dtype == np.int16
    np.testing.assert_array_equal(again.array, ct.array)
    np.testing.assert_allclose(again.corners, ct.corners, atol=1e-3)  # NIfTI keeps float32
    assert [p.name for p in tmp_path.iterdir()] == [f"ct{suffix}"]


def test_nifti_means_what_nibabel_says(tmp_path, ct):
    nibabel = pytest.importorskip("nibabel")
    write_volume(tmp_path / "ct.nii", ct)
    image = nibabel.load(tmp_path / "ct.nii")
    np.testing.assert_allclose(image.affine, ct.ijk_to_ras, atol=1e-4)
    np.testing.assert_array_equal(np.asarray(image.dataobj).transpose(), ct.array)


def test_2d_and_4d_images_of_one_volume(tmp_path, ct):
    sitk.WriteImage(sitk.GetImageFromArray(ct.array[10]), str(tmp_path / "plane.nrrd"))
    assert volume_size(tmp_path / "plane.nrrd") == (28, 24)
    assert read_volume(tmp_path / "plane.nrrd").array.shape == (1, 24, 28)
    volume = sitk.GetImageFromArray(ct.array)
    volume.SetSpacing((1, 2, 3))
    sitk.WriteImage(sitk.JoinSeries([volume]), str(tmp_path / "one.nrrd"))
    np.testing.assert_allclose(read_volume(tmp_path / "one.nrrd").spacing, [1, 2, 3])
    sitk.WriteImage(sitk.JoinSeries([volume, volume]), str(tmp_path / "two.nrrd"))
    assert "4 dimensions" in refusal(read_volume, tmp_path / "two.nrrd")


@pytest.mark.parametrize("kind", [bool, np.float16, np.uint16, np.float32])
def test_writes_the_types_that_arrays_come_in(tmp_path, kind):
    array = (np.arange(16**3).reshape(16, 16, 16) % 2).astype(kind)
    write_volume(tmp_path / "x.nrrd", Volume(array, np.eye(4)))
    np.testing.assert_array_equal(read_volume(tmp_path / "x.nrrd").array, array)


def test_refused_writes_leave_nothing(tmp_path, ct):
    assert ".nii" in refusal(write_volume, tmp_path / "x.png", ct)
    sheared = ct.ijk_to_ras.copy()
    sheared[:3, 1] += 0.3 * sheared[:3, 0]
    assert "perpendicular" in refusal(write_volume, tmp_path / "x.nrrd", Volume(ct.array, sheared))
    assert "folder does not exist" in refusal(write_volume, tmp_path / "no" / "x.nrrd", ct)
    (tmp_path / "taken.nrrd").mkdir()
    refusal(write_volume, tmp_path / "taken.nrrd", ct)
    assert [p.name for p in tmp_path.iterdir()] == ["taken.nrrd"]


# --- the shared CTs -------------------------------------------------------------------------------------------------


def test_reads_every_subject(subjects):
    assert len(subjects) == 5
    for folder in subjects:
        ct, labels = read_ct(folder / "ct.nii.gz"), read_labels(folder / "bones.nii.gz")
        assert ct.array.dtype == np.int16 and labels.array.dtype == np.uint8
        np.testing.assert_allclose(ct.spacing, 1.5, atol=1e-5)
        assert match_grid(labels, ct).array is labels.array
        assert ct.array[labels.array > 0].mean() > 150  # the labels lie on bone


def test_dicom_series_lies_where_its_nifti_twin_lies(shared_data):
    name = "cptac_pda_C3N-00249"
    series = read_ct(shared_data / "dicom" / name)
    twin = read_ct(shared_data / "ct" / name / "ct.nii.gz")
    assert series.array.shape == (102, 512, 512) and series.array.dtype == np.int16
    np.testing.assert_allclose(series.spacing, [0.8828125, 0.8828125, 3], atol=1e-6)
    bones = read_labels(shared_data / "ct" / name / "bones.nii.gz")
    inside = np.argwhere(bones.array > 0)[::997, ::-1]
    at = series.to_ijk(twin.to_ras(inside))
    from_series = map_coordinates(series.array, at.T[::-1], output=np.float32, order=1)
    from_twin = twin.array[inside[:, 2], inside[:, 1], inside[:, 0]]
    agreement = np.corrcoef(from_series, from_twin)[0, 1]
    shifted = [map_coordinates(series.array, at.T[::-1] + np.eye(3)[:, [n]], order=1) for n in range(3)]
    assert agreement > 0.97
    assert all(np.corrcoef(other, from_twin)[0, 1] < agreement - 0.01 for other in shifted)  # one voxel off is worse


def test_dicom_slope_and_intercept_are_applied_once(shared_data):
    folder = shared_data / "dicom" / "cptac_pda_C3N-00249"
    files = sorted(folder.glob("*.dcm"), key=lambda f: pydicom.dcmread(f).ImagePositionPatient[2])
    volume = read_volume(files[7])  # any slice stands for its series
    for k in (0, 50, 101):
        dataset = pydicom.dcmread(files[k])
        expected = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
        np.testing.assert_array_equal(volume.array[k], expected)
        first = volume.to_ras(np.array([[0, 0, k]]))[0]
        np.testing.assert_allclose(first, np.array(dataset.ImagePositionPatient) * [-1, -1, 1], atol=1e-6)


# --- DICOM series that are not one whole scan -----------------------------------------------------------------------


def write_series(folder: Path, slices=20, *, description="chest", modality="CT", spacing=2.0, tilt=0.0, skip=()):
    """A small axial DICOM series, head to feet in file order, stored with slope 2 and intercept -1024."""
    folder.mkdir(exist_ok=True)
    uid = pydicom.uid.generate_uid()
    for k in range(slices):
        if k in skip:
            continue
        dataset = pydicom.Dataset()
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        dataset.SOPClassUID = pydicom.uid.CTImageStorage
        dataset.SOPInstanceUID = pydicom.uid.generate_uid()
        dataset.SeriesInstanceUID, dataset.SeriesDescription, dataset.Modality = uid, description, modality
        dataset.ImagePositionPatient = [-10, -20 + tilt * k, 100 - spacing * k]
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.PixelSpacing = [0.5, 0.75]
        dataset.RescaleSlope, dataset.RescaleIntercept = 2, -1024
        dataset.PhotometricInterpretation, dataset.SamplesPerPixel = "MONOCHROME2", 1
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
        pixels = np.zeros((32, 24), np.uint16)
        pixels[8:24, 6:18] = 1000 + k
        dataset.Rows, dataset.Columns = pixels.shape
        dataset.PixelData = pixels.tobytes()
        dataset.save_as(folder / f"{description}-{k:03}", enforce_file_format=True)


def test_a_series_written_head_first_without_suffixes(tmp_path):
    write_series(tmp_path / "s")
    (tmp_path / "s" / "notes.txt").write_text("not a slice")
    volume = read_ct(tmp_path / "s")
    assert volume.array.shape == (20, 32, 24)
    assert volume.array[0, 16, 12] == 2 * 1019 - 1024 and volume.array[-1, 16, 12] == 2 * 1000 - 1024
    np.testing.assert_allclose(volume.to_ras([[0, 0, 0], [1, 1, 19]]), [[10, 20, 62], [9.25, 19.5, 100]], atol=1e-9)


def test_a_scout_beside_the_scan_does_not_count(tmp_path):
    write_series(tmp_path / "s")
    write_series(tmp_path / "s", 2, description="scout")
    write_series(tmp_path / "s", 18, description="pet", modality="PT")
    assert read_ct(tmp_path / "s").array.shape[0] == 20


def test_two_scans_in_a_folder_are_listed_and_a_slice_chooses(tmp_path):
    write_series(tmp_path / "s")
    write_series(tmp_path / "s", 17, description="thick")
    sentence = refusal(read_ct, tmp_path / "s")
    assert "'chest', 20 slices" in sentence and "'thick', 17 slices" in sentence and "one slice file" in sentence
    assert read_ct(tmp_path / "s" / "thick-003").array.shape[0] == 17


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"skip": (9,)}, "slices are missing"),
        ({"tilt": 3.0}, "aslant"),
        ({"slices": 5}, "has 5 slice"),
        ({"modality": "MR"}, "no CT series"),
        ({"spacing": 0.0}, "same place"),
    ],
)
def test_refuses_a_series_that_is_no_whole_ct(tmp_path, settings, word):
    write_series(tmp_path / "s", **settings)
    assert word in refusal(read_ct, tmp_path / "s")


def test_refuses_other_folders_and_damaged_slices(tmp_path):
    assert "holds no DICOM" in refusal(read_ct, tmp_path)
    write_series(tmp_path / "s")
    slice_ = tmp_path / "s" / "chest-007"
    content = slice_.read_bytes()
    slice_.write_bytes(content[:-500])
    assert "damaged" in refusal(read_ct, tmp_path / "s")
    slice_.write_bytes(content[:200])
    refusal(read_ct, tmp_path / "s")
    write_series(tmp_path / "dx", 1, modality="DX")
    assert "modality is DX" in refusal(read_ct, tmp_path / "dx" / "chest-000")


# --- files that are no CT -------------------------------------------------------------------------------------------


def test_refuses_what_cannot_be_a_ct(tmp_path, ct):
    def write(name, array):
        write_volume(tmp_path / name, Volume(array, ct.ijk_to_ras))
        return tmp_path / name

    assert "Hounsfield" in refusal(read_ct, write("labels.nrrd", (ct.array > 100).astype(np.uint8)))
    assert "Hounsfield" in refusal(read_ct, write("bytes.nrrd", ((ct.array + 1000) // 8).astype(np.uint8)))
    assert "Hounsfield" in refusal(read_ct, write("offset.nrrd", (ct.array + 1024).astype(np.uint16)))
    assert "Hounsfield" in refusal(read_ct, write("unit.nrrd", ct.array.astype(np.float32) / 1000))
    assert "every voxel" in refusal(read_ct, write("constant.nrrd", np.full_like(ct.array, -1000)))
    holed = ct.array.astype(np.float32)
    holed[3, 3, 3] = np.nan
    assert "NaN" in refusal(read_ct, write("nan.nrrd", holed))
    assert "16 along each edge" in refusal(read_ct, write("slab.nrrd", ct.array[:6].copy()))
    assert "2D image" in refusal(read_ct, write("slice.nrrd", ct.array[:1].copy()))
    metres = ct.ijk_to_ras.copy()
    metres[:3] /= 1000
    write_volume(tmp_path / "metres.nrrd", Volume(ct.array, metres))
    assert "millimetres" in refusal(read_ct, tmp_path / "metres.nrrd")


def test_padding_outside_the_scan_circle_becomes_air(tmp_path, ct):
    padded = ct.array.copy()
    padded[:, :2] = -3024
    write_volume(tmp_path / "x.mha", Volume(padded, ct.ijk_to_ras))
    assert read_ct(tmp_path / "x.mha").array.min() == -1024
    fractions = padded + np.float32(0.5)
    write_volume(tmp_path / "f.mha", Volume(fractions, ct.ijk_to_ras))
    assert read_ct(tmp_path / "f.mha").array.dtype == np.float32
    write_volume(tmp_path / "w.mha", Volume(ct.array.astype(np.float64), ct.ijk_to_ras))
    whole = read_ct(tmp_path / "w.mha").array
    assert whole.dtype == np.int16 and (whole == ct.array).all()


def test_refuses_pictures_colour_and_other_files(tmp_path, ct, shared_data):
    assert "x2br reconstruct" in refusal(read_ct, shared_data / "radiographs" / "006f3a8a.png")
    colour = sitk.GetImageFromArray(np.zeros((20, 20, 20, 3), np.uint8), isVector=True)
    sitk.WriteImage(colour, str(tmp_path / "colour.nrrd"))
    assert "several values per voxel" in refusal(read_ct, tmp_path / "colour.nrrd")
    assert "does not exist" in refusal(read_ct, tmp_path / "none.nii.gz")
    (tmp_path / "empty.nii.gz").touch()
    assert "empty" in refusal(read_ct, tmp_path / "empty.nii.gz")
    (tmp_path / "text.docx").write_text("hello")
    assert ".nrrd" in refusal(read_ct, tmp_path / "text.docx")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_damaged_files_give_one_sentence_and_nothing_on_stderr(tmp_path, ct, suffix, capfd):
    whole = tmp_path / f"whole{suffix}"
    write_volume(whole, ct)
    content = whole.read_bytes()
    for n, damaged in enumerate([content[: len(content) * 2 // 3], content[:100], b"hello world\n" * 100]):
        path = tmp_path / f"damaged{n}{suffix}"
        path.write_bytes(damaged)
        assert path.name in refusal(read_ct, path)
    assert capfd.readouterr() == ("", "")


def test_a_gzip_that_ends_early_inside_is_noticed(tmp_path, ct):
    write_volume(tmp_path / "x.nii", ct)
    (tmp_path / "x.nii.gz").write_bytes(gzip.compress((tmp_path / "x.nii").read_bytes()[:-300]))
    assert "truncated" in refusal(read_ct, tmp_path / "x.nii.gz")


def test_absurd_sizes_are_refused_from_the_header(tmp_path, ct):
    write_volume(tmp_path / "x.nii", ct)
    content = bytearray((tmp_path / "x.nii").read_bytes())
    content[42:48] = struct.pack("<3h", 30000, 30000, 30000)
    (tmp_path / "x.nii").write_bytes(content)
    assert "30000 x 30000 x 30000" in refusal(read_ct, tmp_path / "x.nii")


def test_a_metaimage_that_claims_many_dimensions_does_not_reach_itk(tmp_path, ct):
    write_volume(tmp_path / "x.mha", ct)
    content = (tmp_path / "x.mha").read_bytes()
    (tmp_path / "x.mha").write_bytes(content.replace(b"NDims = 3", b"NDims = 93"))
    assert "2 to 4 dimensions" in refusal(read_ct, tmp_path / "x.mha")


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_damage_inside_compressed_data_is_noticed(tmp_path, ct, suffix):
    path = tmp_path / f"x{suffix}"
    write_volume(path, ct)
    content = bytearray(path.read_bytes())
    for place in (len(content) // 2, len(content) * 3 // 4):
        content[place] ^= 0x55
    path.write_bytes(content)
    assert "damaged" in refusal(read_ct, path)


def test_a_metaimage_with_fewer_voxels_than_it_claims(tmp_path, ct):
    write_volume(tmp_path / "x.mha", ct)
    content = (tmp_path / "x.mha").read_bytes()
    (tmp_path / "x.mha").write_bytes(content.replace(b"DimSize = 28 24 20", b"DimSize = 28 24 90"))
    assert "truncated" in refusal(read_ct, tmp_path / "x.mha")


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.float64])
@pytest.mark.parametrize("compress", [True, False])
def test_metaimages_of_every_type_and_in_two_files(tmp_path, kind, compress):
    array = np.arange(16 * 17 * 18).reshape(16, 17, 18).astype(kind)
    for name in ("x.mha", "x.mhd"):
        sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / name), compress)
        np.testing.assert_array_equal(read_volume(tmp_path / name).array, array)


def test_stderr_comes_back_after_concurrent_reads(tmp_path, ct, capfd):
    write_volume(tmp_path / "x.mha", ct)
    threads = [threading.Thread(target=read_ct, args=(tmp_path / "x.mha",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with quiet_itk():
        os.write(2, b"silenced")
    os.write(2, b"heard")
    assert capfd.readouterr().err == "heard"


# --- labels ---------------------------------------------------------------------------------------------------------


def test_reads_labels_whatever_type_they_are_stored_in(tmp_path, ct):
    labels = (ct.array > 500) * 34
    for kind, expected in ((np.uint8, np.uint8), (np.float32, np.uint8), (np.int16, np.uint8)):
        write_volume(tmp_path / "l.nii.gz", Volume(labels.astype(kind), ct.ijk_to_ras))
        again = read_labels(tmp_path / "l.nii.gz").array
        assert again.dtype == expected
        np.testing.assert_array_equal(again, labels)
    write_volume(tmp_path / "l.nii.gz", Volume((labels * 10).astype(np.int16), ct.ijk_to_ras))
    assert read_labels(tmp_path / "l.nii.gz").array.dtype == np.uint16


def test_refuses_what_are_no_labels(tmp_path, ct):
    def write(array):
        write_volume(tmp_path / "x.nrrd", Volume(array, ct.ijk_to_ras))
        return tmp_path / "x.nrrd"

    assert "-1000" in refusal(read_labels, write(ct.array))
    assert "fractional" in refusal(read_labels, write(np.abs(ct.array) / np.float32(7)))
    assert "no label" in refusal(read_labels, write(np.zeros_like(ct.array)))
    many = np.arange(ct.array.size, dtype=np.uint16).reshape(ct.array.shape)
    assert "different values" in refusal(read_labels, write(many))


def test_match_grid_resamples_onto_another_grid(ct):
    labels = Volume((ct.array > 500).astype(np.uint8) * 7, ct.ijk_to_ras)
    # the same space on a grid that is flipped, transposed, shifted and finer
    other = ct.ijk_to_ras @ np.array([[0, -0.5, 0, 27], [0.4, 0, 0, 0], [0, 0, 0.25, 0], [0, 0, 0, 1.0]])
    target = Volume(np.zeros((80, 55, 60), np.int16), other)
    matched = match_grid(labels, target)
    k, j, i = np.meshgrid(*(np.arange(n) for n in target.array.shape), indexing="ij")
    ijk = np.round(ct.to_ijk(target.to_ras(np.stack([i, j, k], -1).reshape(-1, 3))) + 1e-9).astype(int)
    limits = np.array(ct.array.shape[::-1]) - 1
    inside = ((ijk >= 0) & (ijk <= limits)).all(1)
    ijk = np.clip(ijk, 0, limits)
    expected = np.where(inside, labels.array[ijk[:, 2], ijk[:, 1], ijk[:, 0]], 0).reshape(target.array.shape)
    assert (matched.array != expected).mean() < 0.002  # ties at half a voxel may round either way
    assert matched.array.max() == 7
    np.testing.assert_array_equal(matched.ijk_to_ras, target.ijk_to_ras)


def test_match_grid_refuses_labels_of_another_place(ct):
    moved = ct.ijk_to_ras.copy()
    moved[:3, 3] += 500
    labels = Volume((ct.array > 500).astype(np.uint8), moved)
    assert "do not overlap" in refusal(match_grid, labels, ct)


def test_a_copied_series_reads_the_same_after_its_files_are_renamed(tmp_path, shared_data):
    source = sorted((shared_data / "dicom" / "cptac_pda_C3N-00249").glob("*.dcm"))[40:60]
    for n, file in enumerate(source):
        shutil.copy(file, tmp_path / f"{(n * 7) % 20:02}")
    volume = read_ct(tmp_path)
    positions = sorted(pydicom.dcmread(f).ImagePositionPatient[2] for f in source)
    np.testing.assert_allclose(volume.to_ras([[0, 0, 0], [0, 0, 19]])[:, 2], [positions[0], positions[-1]])
