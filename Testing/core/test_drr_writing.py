"""DRRs on disk: what is written reads back the same, in the same place, and says nothing of the patient."""

import gzip
import json
import re
import shutil
import subprocess

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataelem import DataElement

from X2BRLogic.cli import main
from X2BRLogic.drr import Detector, DrrWriter, Pose, as_radiograph
from X2BRLogic.drr.dicom import DicomStudy, orientation, positioner_angles
from X2BRLogic.geometry import VIEWS, XRayGeometry
from X2BRLogic.radiograph import read_radiograph

DETECTOR = Detector(sid=1700, sod=1400, shape=(96, 80), spacing=(1.5, 1.25), offset=(11.0, -7.0))
ISOCENTRE = np.array([12.3, -45.6, 78.9])
FORMATS = ["png", "nrrd", "dcm"]


@pytest.fixture
def image():
    """Line integrals of something lopsided: no flip or turn leaves it as it is."""
    y, x = np.mgrid[0:96, 0:80]
    return (4 * np.exp(-((x - 30) ** 2) / 500 - ((y - 60) ** 2) / 300) + x / 80).astype(np.float32)


def write(folder, image, *poses, **options):
    writer = DrrWriter(folder, raw=True, dicom=True, **options)
    for pose in poses:
        writer.add(pose.name, image, pose.geometry(DETECTOR, ISOCENTRE))
    writer.finish()


def assert_same_geometry(read: XRayGeometry, written: XRayGeometry):
    for name, value in written.to_dict().items():
        assert read.to_dict()[name] == pytest.approx(value), name


# --- round trips ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("pose", [Pose("x", v) for v in VIEWS] + [Pose("x", "PA", 33, -12, 7, (5, 6, 7))])
def test_what_is_written_reads_back_where_it_was(tmp_path, image, suffix, pose):
    write(tmp_path, image, pose)
    film = read_radiograph(tmp_path / f"x.{suffix}")
    expected = image if suffix == "nrrd" else as_radiograph(image)
    assert np.array_equal(film.pixels, expected.astype(np.float32))
    assert_same_geometry(film.geometry, pose.geometry(DETECTOR, ISOCENTRE))
    assert film.scale_known and not film.warnings


@pytest.mark.parametrize("view", VIEWS)
def test_dicom_alone_knows_its_geometry_but_for_the_place(tmp_path, image, view):
    """Without geometry.json: pixels, distances, pitch and view are in the tags; isocentre and offset are not."""
    write(tmp_path, image, Pose("x", view))
    (tmp_path / "geometry.json").unlink()
    film = read_radiograph(tmp_path / "x.dcm")
    assert np.array_equal(film.pixels, as_radiograph(image))
    geometry = film.geometry
    assert (geometry.sid, geometry.sod, geometry.spacing, geometry.view) == (1700, 1400, (1.5, 1.25), view)
    assert film.scale_known and all(film.known.values())


def test_the_slice_lies_on_its_detector(tmp_path, image):
    """A viewer that knows nothing of us shows the NRRD where the detector was."""
    import SimpleITK as sitk

    pose = Pose("x", "AP", 20, 10, 5)
    write(tmp_path, image, pose)
    slice_ = sitk.ReadImage(str(tmp_path / "x.nrrd"))
    geometry = pose.geometry(DETECTOR, ISOCENTRE)
    for column, row in ((0, 0), (79, 95), (10, 50)):
        at = np.array(slice_.TransformIndexToPhysicalPoint((column, row, 0))) * (-1, -1, 1)
        assert np.allclose(at, geometry.pixel_positions([(column, row)])[0], atol=1e-4)


def test_pictures_have_16_bits_and_equalising_leaves_the_line_integrals_alone(tmp_path, image):
    write(tmp_path, image, Pose("x", "AP"), clahe=True)
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.mode.startswith("I;16") and not picture.info
        pixels = np.asarray(picture)
    assert np.array_equal(pixels, as_radiograph(image, clahe=True))
    assert np.array_equal(pixels, pydicom.dcmread(tmp_path / "x.dcm").pixel_array)
    assert np.array_equal(read_radiograph(tmp_path / "x.nrrd").pixels, image)


def test_a_second_run_keeps_what_the_folder_says_of_other_images(tmp_path, image):
    folder, second = tmp_path / "out", tmp_path / "second"
    folder.mkdir()
    second.mkdir()
    write(folder, image, Pose("ap", "AP"), Pose("gone", "PA"), Pose("both", "AP"))
    for suffix in FORMATS:
        (folder / f"gone.{suffix}").unlink()
    writer = DrrWriter(second)
    writer.add("both", image, Pose("both", "LAT").geometry(DETECTOR, ISOCENTRE), {"exposure": {"energy_kev": 60}})
    writer.finish(beside=folder)
    images = json.loads((second / "geometry.json").read_text())["images"]
    assert {name for name in images if name.endswith("png")} == {"ap.png", "both.png"}
    assert images["both.png"]["view"] == "LAT" and images["both.png"]["exposure"] == {"energy_kev": 60}
    for broken in ("[]", "{", '{"images": 3}'):
        (folder / "geometry.json").write_text(broken)
        writer.finish(beside=folder)
        assert list(json.loads((second / "geometry.json").read_text())["images"]) == ["both.png"]


# --- DICOM ------------------------------------------------------------------------------------------------------------

#: PS3.3 A.26.3: the attributes that the mandatory modules of the DX IOD demand; type 1 with a value, type 2 present.
TYPE_1 = """SOPClassUID SOPInstanceUID StudyInstanceUID SeriesInstanceUID Modality PresentationIntentType
InstanceNumber ImageType PatientOrientation ImageLaterality AnatomicRegionSequence ImagerPixelSpacing SamplesPerPixel
PhotometricInterpretation Rows Columns BitsAllocated BitsStored HighBit PixelRepresentation PixelData
PixelIntensityRelationship PixelIntensityRelationshipSign RescaleIntercept RescaleSlope RescaleType
PresentationLUTShape LossyImageCompression BurnedInAnnotation WindowCenter WindowWidth PatientIdentityRemoved
DeidentificationMethod""".split()
TYPE_2 = """PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime AccessionNumber
ReferringPhysicianName StudyID SeriesNumber Manufacturer DetectorType PositionerType AcquisitionContextSequence
""".split()


@pytest.fixture
def dataset(tmp_path, image):
    write(tmp_path, image, Pose("x", "LAT"), Pose("y", "AP", 10))
    return pydicom.dcmread(tmp_path / "x.dcm")


def test_dicom_has_every_attribute_that_the_standard_demands(dataset):
    for name in TYPE_1:
        assert name in dataset and dataset[name].VM > 0 and dataset[name].value != "", name
    assert [name for name in TYPE_2 if name not in dataset] == []
    assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
    assert dataset.SOPClassUID.name == "Digital X-Ray Image Storage - For Presentation"


def test_dicom_values_obey_their_representations(dataset):
    """Lengths and characters of every value, as pydicom checks them when it is strict."""
    for element in dataset.iterall():
        if element.VR != "SQ":
            DataElement(element.tag, element.VR, element.value, validation_mode=pydicom.config.RAISE)


def test_dicom_tags_hold_the_geometry(dataset):
    assert dataset.PhotometricInterpretation == "MONOCHROME2" and dataset.BitsStored == 16
    assert (dataset.DistanceSourceToDetector, dataset.DistanceSourceToPatient) == (1700, 1400)
    assert dataset.EstimatedRadiographicMagnificationFactor == pytest.approx(1700 / 1400)
    assert list(dataset.ImagerPixelSpacing) == [1.5, 1.25]  # between rows first
    assert dataset.ViewPosition == "LL" and list(dataset.PatientOrientation) == ["A", "F"]
    assert dataset.PresentationIntentType == "FOR PRESENTATION"
    assert dataset.PositionerPrimaryAngle == 90 and dataset.PositionerSecondaryAngle == 0


def test_a_series_has_one_study_and_images_of_their_own(tmp_path, dataset):
    other = pydicom.dcmread(tmp_path / "y.dcm")
    assert other.StudyInstanceUID == dataset.StudyInstanceUID and other.SeriesInstanceUID == dataset.SeriesInstanceUID
    assert other.SOPInstanceUID != dataset.SOPInstanceUID and other.InstanceNumber == 2
    assert other.ViewPosition == "" and "ViewCodeSequence" not in other
    assert DicomStudy()._study != DicomStudy()._study


def test_directions_in_letters_and_angles():
    """Left posterior oblique and the like, by hand."""
    assert orientation(np.array([-1.0, 0, 0])) == "L" and orientation(np.array([0, 0, -1.0])) == "F"
    assert orientation(np.array([-0.8, 0.6, 0])) == "LA" and orientation(np.array([0.02, -0.1, 0.99])) == "HP"
    angles = {view: positioner_angles(XRayGeometry.from_view(view)) for view in VIEWS}
    assert np.allclose(angles["AP"], (180, 0)) or np.allclose(angles["AP"], (-180, 0))
    assert np.allclose(angles["PA"], (0, 0)) and np.allclose(angles["LAT"], (90, 0))
    assert np.allclose(angles["RLAT"], (-90, 0))
    # PA tilted so that the source goes to the feet and the detector to the head: cranial is positive.
    low = XRayGeometry.from_view("PA", tilt=20)
    secondary = positioner_angles(low)[1]
    assert abs(secondary) == pytest.approx(20) and (secondary > 0) == (low.to_source[2] < 0)


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (Debian's dicom3tools) is not installed")
def test_dciodvfy_finds_no_error(tmp_path, image):
    write(tmp_path, image, *(Pose(v, v) for v in VIEWS), Pose("x", "AP", 33, -12, 7))
    for file in tmp_path.glob("*.dcm"):
        said = subprocess.run(["dciodvfy", str(file)], capture_output=True, text=True)
        complaints = [line for line in (said.stdout + said.stderr).splitlines() if line.startswith(("Error", "Abort"))]
        assert complaints == [] and "DXImageForPresentation" in said.stdout + said.stderr


# --- nobody -----------------------------------------------------------------------------------------------------------


def test_nothing_of_a_dicom_cts_header_gets_into_a_drr(shared_data, tmp_path, capsys):
    """No name, number, date, time, free text or UID of the series is in any byte of any output, or in what is said."""
    (folder,) = shared_data.glob("dicom/*")
    neutral = tmp_path / "series"  # the folder's own name is the patient's number
    neutral.symlink_to(folder)
    out = tmp_path / "out"
    assert main(["drr", str(neutral), "--out", str(out), "--size", "128", "--raw", "--dicom", "--json"]) == 0
    said = capsys.readouterr()
    written = {path.name: path.read_bytes() for path in out.iterdir()}
    assert set(written) == {"drr_ap.png", "drr_ap.nrrd", "drr_ap.dcm", "geometry.json"}
    header, _, packed = written["drr_ap.nrrd"].partition(b"\n\n")
    assert b"gzip" in header
    written |= {"unpacked": header + gzip.decompress(packed), "said": (said.out + said.err).encode()}

    telling = set()
    for file in sorted(folder.iterdir()):
        for element in pydicom.dcmread(file, stop_before_pixels=True).iterall():
            values = element.value if element.VM > 1 else [element.value]
            if element.VR in ("PN", "LO", "SH", "LT", "ST", "UT", "DA", "TM", "DT", "UI", "AS", "IS") and values:
                telling |= {str(value).strip() for value in values}
    registered = {str(uid) for uid in pydicom.uid.UID_dictionary}
    telling = {t for t in telling if len(t) >= (8 if t.isdigit() else 6) and t not in registered}
    assert {"C3N-00249", "20091122", "8625101821338098"} < telling and len(telling) > 200
    for name, content in written.items():
        for text in telling:
            assert text.encode() not in content, f"{text!r} of the CT is in {name}"


def test_nobody_has_no_name_date_or_uid_of_an_organisation(dataset):
    for name in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"):
        assert not dataset[name].value
    for element in dataset.iterall():
        assert element.VR not in ("DA", "TM", "DT", "PN") or not element.value
        if element.VR == "UI" and "InstanceUID" in element.keyword:
            assert re.fullmatch(r"2\.25\.\d+", element.value)  # random, PS3.5 B.2
