"""DRRs as DICOM: Digital X-Ray Image Storage - For Presentation (PS3.3 A.26), which has tags for the geometry.

The pixels are the picture's, 16 bits, MONOCHROME2, so that every viewer shows bone bright. The patient is nobody: all
that could identify one is empty, and every UID is new and random, so nothing leads back to the CT.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid
from pydicom.valuerep import DSfloat

from .. import __version__
from ..geometry import XRayGeometry

#: View Position (0018,5101), PS3.3 C.8.11.5: LL and RL are named after the side at the detector, as our views are.
_VIEW_POSITION = {"AP": "AP", "PA": "PA", "LAT": "LL", "RLAT": "RL"}
#: The same as codes: PS3.16 CID 4010.
_VIEW_CODES = {
    "AP": ("399348003", "antero-posterior"),
    "PA": ("272479007", "postero-anterior"),
    "LAT": ("399173006", "left lateral"),
    "RLAT": ("399198007", "right lateral"),
}
#: Directions of a patient on their feet (PS3.3 C.7.6.1.1.1): towards negative and positive R, A, S.
_LETTERS = (("L", "R"), ("P", "A"), ("F", "H"))
#: A direction cosine below this (about 3 degrees) is not worth a letter.
_NOTICEABLE = 0.05


class DicomStudy:
    """One DICOM study with one series, to which DRRs are added."""

    def __init__(self):
        self._study, self._series = generate_uid(prefix=None), generate_uid(prefix=None)
        self._count = 0

    def write(self, path: Path, pixels: np.ndarray, geometry: XRayGeometry) -> None:
        """Write one DRR. `pixels`: uint16 ``(rows, columns)``, bone bright."""
        self._count += 1
        dataset = FileDataset(str(path), {}, file_meta=FileMetaDataset(), preamble=b"\0" * 128)
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.update(_nobody())
        dataset.update(self._place_in_study())
        dataset.update(_acquisition(geometry))
        dataset.update(_picture(pixels))
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.save_as(path, enforce_file_format=True)

    def _place_in_study(self) -> Dataset:
        """General Study, General and DX Series, Equipment, General Image, SOP Common."""
        made = Dataset()
        made.SpecificCharacterSet = "ISO_IR 192"
        made.SOPClassUID = DigitalXRayImageStorageForPresentation
        made.SOPInstanceUID = generate_uid(prefix=None)
        made.StudyInstanceUID, made.SeriesInstanceUID = self._study, self._series
        # All of type 2: the study is the CT's, whose date and numbers would lead back to the patient.
        made.StudyDate = made.StudyTime = made.AccessionNumber = made.ReferringPhysicianName = made.StudyID = ""
        made.Modality = "DX"
        made.PresentationIntentType = "FOR PRESENTATION"
        made.SeriesNumber, made.InstanceNumber = 1, self._count
        made.SeriesDescription = "DRR"
        made.Manufacturer, made.ManufacturerModelName, made.SoftwareVersions = "X2BR", "x2br drr", __version__
        made.AcquisitionContextSequence = []
        return made


def _nobody() -> Dataset:
    patient = Dataset()
    patient.PatientName = patient.PatientID = patient.PatientBirthDate = patient.PatientSex = ""
    patient.PatientIdentityRemoved = "YES"
    patient.DeidentificationMethod = "computed from voxels alone; no attribute is carried over"
    return patient


def _acquisition(geometry: XRayGeometry) -> Dataset:
    """DX Anatomy Imaged, DX Detector, DX Positioning: where source, patient and detector are."""
    taken = Dataset()
    taken.BodyPartExamined = "CHEST"
    taken.ImageLaterality = "U"
    taken.AnatomicRegionSequence = [_code("43799004", "Thorax")]
    taken.PatientOrientation = [orientation(geometry.columns), orientation(geometry.rows)]
    taken.ViewPosition = _VIEW_POSITION.get(geometry.view, "")
    if geometry.view in _VIEW_CODES:
        taken.ViewCodeSequence = [_code(*_VIEW_CODES[geometry.view])]
    taken.DetectorType = ""
    taken.ImagerPixelSpacing = [_decimal(value) for value in geometry.spacing]
    taken.DistanceSourceToDetector = _decimal(geometry.sid)
    # The isocentre stands for the patient, so that the two give the magnification.
    taken.DistanceSourceToPatient = _decimal(geometry.sod)
    taken.EstimatedRadiographicMagnificationFactor = _decimal(geometry.sid / geometry.sod)
    taken.PositionerType = "CARM"
    primary, secondary = positioner_angles(geometry)
    taken.PositionerPrimaryAngle, taken.PositionerSecondaryAngle = _decimal(primary), _decimal(secondary)
    return taken


def _picture(pixels: np.ndarray) -> Dataset:
    """Image Pixel, DX Image, VOI LUT: stored values are shown as they are."""
    image = Dataset()
    image.ImageType = ["DERIVED", "PRIMARY", ""]
    image.DerivationDescription = "Digitally reconstructed radiograph of a CT, by exact ray tracing"
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.Rows, image.Columns = pixels.shape
    image.BitsAllocated = image.BitsStored = 16
    image.HighBit, image.PixelRepresentation = 15, 0
    image.PixelIntensityRelationship, image.PixelIntensityRelationshipSign = "LOG", -1
    image.RescaleIntercept, image.RescaleSlope, image.RescaleType = 0, 1, "US"
    image.PresentationLUTShape = "IDENTITY"
    image.LossyImageCompression, image.BurnedInAnnotation = "00", "NO"
    # The whole range: (x - (c - 0.5)) / (w - 1) + 0.5 runs from 0 to 1 (PS3.3 C.11.2.1.2.1).
    image.WindowCenter, image.WindowWidth, image.VOILUTFunction = 32768, 65536, "LINEAR"
    image.PixelData = np.ascontiguousarray(pixels, dtype="<u2").tobytes()
    image["PixelData"].VR = "OW"
    return image


def orientation(direction: np.ndarray) -> str:
    """A RAS direction in letters, the main one first, as in Patient Orientation: ``L``, ``FP``."""
    order = np.argsort(-np.abs(direction), kind="stable")
    return "".join(_LETTERS[a][int(direction[a] > 0)] for a in order if abs(direction[a]) > _NOTICEABLE)


def positioner_angles(geometry: XRayGeometry) -> tuple[float, float]:
    """Positioner Primary and Secondary Angle in degrees, PS3.3 C.8.7.5.1.2: where the detector is from the isocentre.

    0 is anterior, +90 the patient's left, 180 posterior; the secondary angle is positive towards the head.
    """
    right, anterior, superior = -geometry.to_source
    primary = float(np.degrees(np.arctan2(-right, anterior)))
    return primary, float(np.degrees(np.arcsin(np.clip(superior, -1.0, 1.0))))


def _code(value: str, meaning: str) -> Dataset:
    """A SNOMED CT concept."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", meaning
    return item


def _decimal(value: float) -> DSfloat:
    """A decimal string of at most 16 characters, as the standard has it."""
    return DSfloat(float(value) + 0.0, auto_format=True)  # no minus before a zero
