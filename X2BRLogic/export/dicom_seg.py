"""DICOM Segmentation, PS3.3 A.51, in the patient's space."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, generate_uid

from .. import __version__
from ..errors import InputError
from ..volume import Volume
from .labels import bones_in
from .terminology import CATEGORY, bone_code, side_code, title

if TYPE_CHECKING:
    import highdicom

    from .. import anatomy

_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])


def write_dicom_seg(labels: Volume, folder: Path) -> None:
    """``bones.dcm``: a binary segment a bone with its SNOMED CT codes and colour.

    It has a frame of reference of its own, for a radiograph has none, and refers to no image. The patient is nobody:
    what could identify one is empty, and every UID is new and random.

    Raises:
        InputError: highdicom is not installed.
    """
    try:
        import highdicom
    except ImportError:
        raise InputError("writing DICOM SEG needs the package highdicom; pip install highdicom") from None
    from ..dicom_series import quiet_pydicom

    bones = bones_in(labels)
    numbers = np.zeros(256, dtype=np.uint8)
    numbers[[bone.label for bone in bones]] = np.arange(1, len(bones) + 1)
    # highdicom counts (slice, row, column) and speaks LPS; so the first column of its matrix is that of k
    volume = highdicom.Volume(
        numbers[labels.array],
        (_FLIP @ labels.ijk_to_ras)[:, [2, 1, 0, 3]],
        coordinate_system="PATIENT",
        frame_of_reference_uid=highdicom.UID(),
    )
    with quiet_pydicom():
        segmentation = highdicom.seg.Segmentation(
            source_images=[_nobody(volume)],
            pixel_array=volume,
            segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[_described(n, bone) for n, bone in enumerate(bones, start=1)],
            series_instance_uid=highdicom.UID(),
            series_number=1,
            sop_instance_uid=highdicom.UID(),
            instance_number=1,
            manufacturer="X2BR",
            manufacturer_model_name="x2br export",
            software_versions=__version__,
            device_serial_number="0",
            content_label="BONES",
            content_description="Bones of the thorax from one radiograph, for research use only",
        )
        # highdicom refers to the image whose patient and study it takes over; here there is none
        for attribute in ("ReferencedSeriesSequence", "SourceImageSequence"):
            if attribute in segmentation:
                delattr(segmentation, attribute)
        segmentation.save_as(folder / "bones.dcm")


def _nobody(volume: highdicom.Volume) -> Dataset:
    """An image without pixels in the place of the first plane, in which no bone is: highdicom takes over from one the
    patient, who is nobody, the study, which is new, and the frame of reference."""
    image, plane = Dataset(), volume[:1]
    image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, generate_uid(prefix=None)
    image.StudyInstanceUID, image.SeriesInstanceUID = generate_uid(prefix=None), generate_uid(prefix=None)
    image.FrameOfReferenceUID = volume.frame_of_reference_uid
    image.PatientName = image.PatientID = image.PatientBirthDate = image.PatientSex = ""
    image.AccessionNumber = image.StudyID = image.StudyDate = image.StudyTime = image.ReferringPhysicianName = ""
    image.Modality = "OT"
    image.Rows, image.Columns = plane.spatial_shape[1:]
    image.PixelSpacing, image.SliceThickness = list(plane.pixel_spacing), plane.spacing_between_slices
    image.ImagePositionPatient, image.ImageOrientationPatient = list(plane.position), list(plane.direction_cosines)
    return image


def _described(number: int, bone: anatomy.Bone) -> highdicom.seg.SegmentDescription:
    import highdicom
    from highdicom.color import CIELabColor
    from highdicom.sr import CodedConcept

    def concept(code: tuple[str, str, str]) -> CodedConcept:
        scheme, value, meaning = code
        return CodedConcept(value, scheme, meaning)

    described = highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=title(bone),
        segmented_property_category=concept(CATEGORY),
        segmented_property_type=concept(bone_code(bone)),
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name="X2BR", version=__version__, family=CodedConcept("123111", "DCM", "Deformable Models")
        ),
        display_color=CIELabColor.from_rgb(*(round(255 * part) for part in bone.colour)),
    )
    if side := side_code(bone):
        described.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [concept(side)]
    return described
