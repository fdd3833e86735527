"""Labels that a user has: every file format, every numbering, on another grid, and the wrong ones."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
import SimpleITK as sitk

from X2BRLogic import anatomy
from X2BRLogic.errors import InputError
from X2BRLogic.segmentation import read_bone_labels
from X2BRLogic.segmentation.schemes import SCHEMES, label_of_code, label_of_name, numbers_of
from X2BRLogic.volume import Volume
from X2BRLogic.volume_io import write_volume

#: Bones of the little thorax below: a block each, (left edge, lower edge) in voxels.
_BLOCKS = {
    **{f"rib_left_{n}": (4, 40 - 6 * n) for n in range(1, 6)},
    **{f"rib_right_{n}": (30, 40 - 6 * n) for n in range(1, 6)},
    **{f"vertebra_T{n}": (17, 40 - 6 * n) for n in range(1, 6)},
}


@pytest.fixture
def truth() -> Volume:
    """Blocks in the order of bones, uint8 labels, oblique to the axes."""
    array = np.zeros((44, 36, 40), dtype=np.uint8)
    for name, (left, low) in _BLOCKS.items():
        array[low : low + 4, 8:16, left : left + 6] = anatomy.BY_NAME[name].label
    array[10:30, 2:5, 17:23] = anatomy.STERNUM
    to_ras = np.diag([2.0, 2.0, 2.0, 1.0])
    turn = np.deg2rad(12.0)
    to_ras[:2, :2] = 2.0 * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    to_ras[:3, 3] = (-30.0, 40.0, -500.0)
    return Volume(array, to_ras)


@pytest.fixture
def ct(truth) -> Volume:
    return Volume(np.where(truth.array > 0, 400, 20).astype(np.int16), truth.ijk_to_ras)


def in_scheme(truth: Volume, scheme: str) -> np.ndarray:
    """The truth with the numbers of a scheme; what the scheme lacks is left out."""
    array = np.zeros_like(truth.array)
    for number, label in numbers_of(scheme).items():
        if number != 26 or scheme == "x2br":  # S1 in TotalSegmentator's version 2: part of the sacrum
            array[truth.array == label] = number
    return array


def without(truth: Volume, *labels: int) -> np.ndarray:
    return np.where(np.isin(truth.array, labels), 0, truth.array)


# --- names, codes, numbers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "bone"),
    [
        ("rib_left_4", "rib_left_4"),
        ("Left fourth rib", "rib_left_4"),
        ("Right rib 12", "rib_right_12"),
        ("vertebrae_T4", "vertebra_T4"),
        ("T4 vertebra", "vertebra_T4"),
        ("L5", "vertebra_L5"),
        ("clavicula_right", "clavicle_right"),
        ("costal_cartilages", "costal_cartilages"),
        ("vertebrae_S1", "sacrum"),
        ("Sternum", "sternum"),
    ],
)
def test_names_of_other_programs_are_understood(name, bone):
    assert label_of_name(name) == anatomy.BY_NAME[bone].label


@pytest.mark.parametrize("name", ["liver", "First rib", "rib", "thyroid_cartilage", "vertebrae_L6", "T13"])
def test_what_names_no_bone_of_ours_is_none(name):
    assert label_of_name(name) is None


def test_every_bone_is_known_by_its_name_and_its_code():
    for bone in anatomy.BONES:
        assert label_of_name(bone.name) == bone.label
        assert label_of_code(bone.code, bone.side_code) == bone.label
    assert label_of_code("48535007", None) is None  # a first rib of no side


def test_the_numbers_are_those_of_the_package():
    """Against TotalSegmentator's own tables, where it is installed."""
    maps = pytest.importorskip("totalsegmentator.map_to_binary").class_map
    for scheme, task in (("totalsegmentator-v1", "total_v1"), ("totalsegmentator-v2", "total")):
        theirs = {number: label_of_name(name) for number, name in maps[task].items() if label_of_name(name)}
        assert numbers_of(scheme) == theirs


# --- plain numbers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("said", [True, False], ids=["said", "found out"])
def test_numbers_of_every_scheme(tmp_path, truth, ct, scheme, said):
    write_volume(tmp_path / "labels.nrrd", Volume(in_scheme(truth, scheme), truth.ijk_to_ras))
    labels = read_bone_labels(tmp_path / "labels.nrrd", ct, scheme if said else "auto")
    expected = without(truth, anatomy.STERNUM) if scheme == "totalsegmentator-v1" else truth.array
    np.testing.assert_array_equal(labels.array, expected)
    assert labels.array.dtype == np.uint8


def label_table(labels) -> str:
    """As TotalSegmentator adds it to its NIfTI, of numbers that are nobody's."""
    rows = "".join(
        f'<Label Key="{label + 60}" Red="1"><![CDATA[{anatomy.BY_LABEL[label].name}]]></Label>\n' for label in labels
    )
    return f"<CaretExtension><LabelTable>{rows}</LabelTable></CaretExtension>"


def named_nifti(path, truth: Volume, table: str) -> None:
    """A NIfTI of those numbers, with a table in its header."""
    write_volume(path, Volume(truth.array + 60 * (truth.array > 0), truth.ijk_to_ras))
    extension = table.encode()
    size = (len(extension) + 8 + 15) // 16 * 16
    raw = bytearray(path.read_bytes())
    raw[108:112] = np.float32(352 + size).tobytes()
    raw[348:352] = b"\x01\0\0\0"
    raw[352:352] = np.array([size, 0], dtype="<i4").tobytes() + extension.ljust(size - 8, b"\0")
    path.write_bytes(bytes(raw))


def test_names_in_the_header_decide(tmp_path, truth, ct):
    named_nifti(tmp_path / "named.nii", truth, label_table(np.unique(truth.array)[1:]))
    packed = gzip.compress((tmp_path / "named.nii").read_bytes())
    (tmp_path / "packed.nii.gz").write_bytes(packed)
    for name in ("named.nii", "packed.nii.gz"):
        np.testing.assert_array_equal(read_bone_labels(tmp_path / name, ct).array, truth.array)


@pytest.mark.parametrize(
    "table",
    ['<Label Key="99999999999">x', '<Label Key="' + "9" * 5000 + '">rib', '<Label Key="999999999">rib_left_1<'],
    ids=["large", "many digits", "beyond all"],
)
def test_absurd_numbers_in_the_header_cost_nothing(tmp_path, truth, ct, table):
    wanted = label_table(np.unique(truth.array)[1:])
    named_nifti(tmp_path / "named.nii", truth, table + wanted)
    np.testing.assert_array_equal(read_bone_labels(tmp_path / "named.nii", ct).array, truth.array)


def test_two_possible_numberings_are_refused(tmp_path, truth, ct):
    """Vertebrae alone, counted upwards from 30: so do both versions of TotalSegmentator."""
    array = np.zeros_like(truth.array)
    for n in range(1, 6):
        array[truth.array == anatomy.BY_NAME[f"vertebra_T{n}"].label] = 35 - n
    write_volume(tmp_path / "spine.nrrd", Volume(array, ct.ijk_to_ras))
    with pytest.raises(InputError, match="totalsegmentator-v1 or totalsegmentator-v2"):
        read_bone_labels(tmp_path / "spine.nrrd", ct)


def test_numbers_that_lie_like_no_bones_are_refused(tmp_path, truth, ct):
    write_volume(tmp_path / "odd.nrrd", Volume(truth.array[::-1].copy(), ct.ijk_to_ras))
    with pytest.raises(InputError, match="no known numbering"):
        read_bone_labels(tmp_path / "odd.nrrd", ct)


def test_a_scheme_that_does_not_exist(tmp_path, ct):
    with pytest.raises(InputError, match="totalsegmentator-v2"):
        read_bone_labels(tmp_path / "any.nrrd", ct, "totalsegmentator-v9")


# --- folders, Slicer, DICOM -----------------------------------------------------------------------------------------


def test_a_folder_of_masks(tmp_path, truth, ct):
    for label in np.unique(truth.array)[1:]:
        name = anatomy.BY_LABEL[label].name.replace("vertebra_", "vertebrae_")
        write_volume(tmp_path / f"{name}.nii.gz", Volume((truth.array == label).astype(np.uint8), truth.ijk_to_ras))
    write_volume(tmp_path / "rib_left_12.nii.gz", Volume(np.zeros_like(truth.array), truth.ijk_to_ras))
    write_volume(tmp_path / "liver.nii.gz", Volume(np.ones_like(truth.array), truth.ijk_to_ras))
    np.testing.assert_array_equal(read_bone_labels(tmp_path, ct).array, truth.array)


def test_a_folder_without_bones(tmp_path, ct):
    write_volume(tmp_path / "liver.nii.gz", Volume(np.ones_like(ct.array, dtype=np.uint8), ct.ijk_to_ras))
    with pytest.raises(InputError, match="rib_left_1"):
        read_bone_labels(tmp_path, ct)


def slicer_segmentation(path, truth: Volume, layers: int) -> None:
    """As 3D Slicer writes one: names or terminology per segment, segments spread over layers."""
    present = np.unique(truth.array)[1:]
    arrays = [np.zeros_like(truth.array) for _ in range(layers)]
    for n, label in enumerate(present):
        arrays[n % layers][truth.array == label] = n // layers + 1
    images = [sitk.GetImageFromArray(array) for array in arrays]
    image = images[0] if layers == 1 else sitk.Compose(images)
    to_lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ truth.ijk_to_ras
    image.SetSpacing(truth.spacing.tolist())
    image.SetDirection((to_lps[:3, :3] / truth.spacing).ravel().tolist())
    image.SetOrigin(to_lps[:3, 3].tolist())
    for n, label in enumerate(present):
        bone = anatomy.BY_LABEL[int(label)]
        side = f"SCT^{bone.side_code}^{bone.side}" if bone.side else "^^"
        coded = f"SCT^123037004^Anatomical Structure~SCT^{bone.code}^{bone.meaning}~{side}"
        plain = "SCT^85756007^Tissue~SCT^85756007^Tissue~^^"
        entry = coded if n % 2 else plain
        facts = {
            "ID": f"Segment_{n}",
            "Name": "some bone" if n % 2 else bone.name,
            "LabelValue": str(n // layers + 1),
            "Layer": str(n % layers),
            "Tags": f"TerminologyEntry:Segmentation category and type~{entry}~Anatomic codes~^^~^^|",
        }
        for key, value in facts.items():
            image.SetMetaData(f"Segment{n}_{key}", value)
    sitk.WriteImage(image, str(path), True)


@pytest.mark.parametrize("layers", [1, 3])
def test_a_slicer_segmentation_by_terminology_or_name(tmp_path, truth, ct, layers):
    slicer_segmentation(tmp_path / "bones.seg.nrrd", truth, layers)
    np.testing.assert_array_equal(read_bone_labels(tmp_path / "bones.seg.nrrd", ct).array, truth.array)


def test_a_truncated_slicer_segmentation(tmp_path, truth, ct):
    slicer_segmentation(tmp_path / "bones.seg.nrrd", truth, 2)
    whole = (tmp_path / "bones.seg.nrrd").read_bytes()
    (tmp_path / "bones.seg.nrrd").write_bytes(whole[: len(whole) - 200])
    with pytest.raises(InputError, match=r"damaged|truncated"):
        read_bone_labels(tmp_path / "bones.seg.nrrd", ct)


def dicom_segmentation(path, truth: Volume, coded: bool) -> None:
    highdicom = pytest.importorskip("highdicom")
    from pydicom.sr.codedict import codes
    from pydicom.sr.coding import Code

    affine = (np.diag([-1.0, -1.0, 1.0, 1.0]) @ truth.ijk_to_ras)[:, [2, 1, 0, 3]]
    volume = highdicom.Volume(truth.array, affine, "PATIENT", frame_of_reference_uid=highdicom.UID())
    present = np.unique(truth.array)[1:]
    pixels = np.zeros_like(truth.array)
    descriptions = []
    for n, label in enumerate(present, start=1):
        pixels[truth.array == label] = n
        bone = anatomy.BY_LABEL[int(label)]
        description = highdicom.seg.SegmentDescription(
            segment_number=n,
            segment_label="a bone" if coded else bone.name,
            segmented_property_category=codes.SCT.AnatomicalStructure,
            segmented_property_type=Code(bone.code, "SCT", bone.meaning) if coded else codes.SCT.Tissue,
            algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        if coded and bone.side:
            side = highdicom.sr.CodedConcept(bone.side_code, "SCT", bone.side)
            description.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [side]
        descriptions.append(description)
    highdicom.seg.Segmentation(
        source_images=source_slices(volume),
        pixel_array=volume.with_array(pixels),
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=descriptions,
        series_instance_uid=highdicom.UID(),
        series_number=2,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="nobody",
        manufacturer_model_name="none",
        software_versions="0",
        device_serial_number="0",
    ).save_as(path)


def source_slices(volume) -> list:
    """Headers of the CT slices that the segmentation refers to."""
    import highdicom
    from pydicom import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    study, series = highdicom.UID(), highdicom.UID()
    slices = []
    for n in range(volume.spatial_shape[0]):
        header = Dataset()
        header.file_meta = FileMetaDataset()
        header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        header.SOPClassUID = header.file_meta.MediaStorageSOPClassUID = CTImageStorage
        header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = highdicom.UID()
        header.StudyInstanceUID, header.SeriesInstanceUID = study, series
        header.FrameOfReferenceUID = volume.frame_of_reference_uid
        header.PatientID = header.AccessionNumber = header.StudyID = "0"
        header.PatientBirthDate = header.PatientSex = header.StudyDate = header.StudyTime = ""
        header.PatientName, header.ReferringPhysicianName = "Nobody^", ""
        header.Modality, header.InstanceNumber = "CT", n + 1
        header.Rows, header.Columns = volume.spatial_shape[1:]
        plane = volume[n : n + 1]
        header.ImagePositionPatient = list(plane.position)
        header.ImageOrientationPatient = list(plane.direction_cosines)
        header.PixelSpacing = list(plane.pixel_spacing)
        header.SliceThickness = plane.spacing_between_slices
        slices.append(header)
    return slices


@pytest.mark.parametrize("coded", [True, False], ids=["by code", "by name"])
def test_dicom_seg(tmp_path, truth, ct, coded):
    dicom_segmentation(tmp_path / "seg.dcm", truth, coded)
    np.testing.assert_array_equal(read_bone_labels(tmp_path / "seg.dcm", ct).array, truth.array)
    np.testing.assert_array_equal(read_bone_labels(tmp_path, ct).array, truth.array)  # alone in its folder


def test_a_ct_slice_is_no_segmentation(shared_data, ct):
    slices = sorted((shared_data / "dicom" / "cptac_pda_C3N-00249").rglob("*.dcm"))
    with pytest.raises(InputError, match="CT"):
        read_bone_labels(slices[0], ct)


# --- the wrong place ------------------------------------------------------------------------------------------------


def test_labels_on_a_coarser_grid_come_back_on_the_ct(tmp_path, truth, ct):
    coarse = truth.ijk_to_ras @ np.diag([2.0, 2.0, 2.0, 1.0])
    coarse[:3, 3] = truth.to_ras([[0.5, 0.5, 0.5]])[0]
    write_volume(tmp_path / "coarse.nrrd", Volume(truth.array[::2, ::2, ::2].copy(), coarse))
    labels = read_bone_labels(tmp_path / "coarse.nrrd", ct)
    assert labels.array.shape == ct.array.shape
    np.testing.assert_array_equal(labels.ijk_to_ras, ct.ijk_to_ras)
    assert np.mean(labels.array[truth.array > 0] == truth.array[truth.array > 0]) > 0.85


def test_labels_of_another_frame_are_refused(tmp_path, truth, ct):
    moved = truth.ijk_to_ras.copy()
    moved[:3, 3] += (14.0, 10.0, 8.0)
    write_volume(tmp_path / "moved.nrrd", Volume(truth.array, moved))
    with pytest.raises(InputError, match="one patient"):
        read_bone_labels(tmp_path / "moved.nrrd", ct)
    moved[:3, 3] += 1000.0
    write_volume(tmp_path / "far.nrrd", Volume(truth.array, moved))
    with pytest.raises(InputError, match="overlap"):
        read_bone_labels(tmp_path / "far.nrrd", ct)


def test_labels_without_bones_are_refused(tmp_path, ct):
    write_volume(tmp_path / "liver.nrrd", Volume(np.full(ct.array.shape, 5, dtype=np.uint8), ct.ijk_to_ras))
    with pytest.raises(InputError, match="no bone"):
        read_bone_labels(tmp_path / "liver.nrrd", ct, "totalsegmentator-v2")


def test_another_patients_real_labels_are_refused(tmp_path, subjects):
    """Two real people whose scans share a frame of reference only by accident."""
    from X2BRLogic.volume_io import read_ct, read_labels

    ct = read_ct(subjects[0] / "ct.nii.gz")
    own = read_labels(subjects[0] / "bones.nii.gz")
    assert np.array_equal(read_bone_labels(subjects[0] / "bones.nii.gz", ct).array, own.array)
    other = read_labels(subjects[1] / "bones.nii.gz")
    aligned = other.ijk_to_ras.copy()
    aligned[:3, 3] += own.corners.mean(axis=0) - other.corners.mean(axis=0)
    write_volume(tmp_path / "other.nrrd", Volume(other.array, aligned))
    with pytest.raises(InputError, match="one patient"):
        read_bone_labels(tmp_path / "other.nrrd", ct)
