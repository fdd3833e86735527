"""DICOM radiographs: CR, DX, XA, RF and secondary capture.

Greyscale goes through the standard's pipeline (PS3.4 N.2): modality LUT, VOI LUT or window, and MONOCHROME1 inverted,
so that bone is bright as on the reading screen.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.encaps import encapsulate, get_frame
from pydicom.errors import InvalidDicomError
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut, pixel_array

from ..dicom_series import quiet_pydicom
from ..errors import InputError
from ..files import cut, reason, shown
from ..intact import require_inflatable, require_sound_boxes
from ..volume_io import quiet_itk
from .film import Film, require_size, to_grey

_MODALITIES = ("CR", "DX", "RG", "RF", "XA", "OT", "SC")
#: View Position (0018,5101), PS3.3 C.8.7.1 and C.8.11.1, and what devices write besides.
_VIEWS = {"AP": "AP", "PA": "PA", "LL": "LAT", "LAT": "LAT", "LATERAL": "LAT", "RL": "RLAT"}


def read_dicom(path: Path) -> Film:
    """Read a DICOM radiograph. Raises `InputError` for other modalities, colour, and damaged files."""
    with quiet_pydicom():
        require_inflatable(path)
        try:
            dataset = pydicom.dcmread(path)
        except InvalidDicomError:
            raise InputError(f"{path} is not a DICOM file, whatever its name says; export it again") from None
        except Exception as error:  # a damaged file can fail anywhere in the parser
            raise InputError(
                f"{path} is a damaged or truncated DICOM file ({reason(error)}); export it again"
            ) from None
        return _read(path, dataset)


def _read(path: Path, dataset: pydicom.Dataset) -> Film:
    modality = dataset.get("Modality") or "OT"
    if modality not in _MODALITIES:
        raise InputError(
            f"{path} has the DICOM modality {cut(str(modality))}, not a radiograph's (CR, DX, RF, XA); "
            "make a radiograph of a CT with x2br drr"
        )
    if "PixelData" not in dataset:
        raise InputError(f"{path} is a DICOM file without an image; give the radiograph itself")
    notes = []
    try:
        require_size(path.name, int(dataset.Rows), int(dataset.Columns))
        frames = int(dataset.get("NumberOfFrames") or 1)
        if frames > 1:
            notes.append(f"{path.name} has {frames} frames; the first is used")
        pixels = _greyscale(path, dataset, notes)
        spacing = _spacing(dataset)
        view = _view(dataset, notes)
    except InputError:
        raise
    except Exception as error:  # as above: the values are the file's
        raise InputError(f"{path} is a damaged or truncated DICOM file ({reason(error)}); export it again") from None
    if dataset.get("PresentationIntentType") == "FOR PROCESSING":
        notes.append(f"{path.name} is a raw image (FOR PROCESSING); use the one FOR PRESENTATION where there is one")
    return Film(
        pixels=pixels,
        spacing=spacing,
        sid=_positive(dataset.get("DistanceSourceToDetector")),
        sod=_positive(dataset.get("DistanceSourceToPatient")),
        view=view,
        directions=_directions(dataset),
        warnings=tuple(notes),
    )


def _greyscale(path: Path, dataset: pydicom.Dataset, notes: list[str]) -> np.ndarray:
    """The first frame, bone bright."""
    stored = _stored(path, dataset)
    photometric = dataset.PhotometricInterpretation
    if photometric == "PALETTE COLOR":
        return to_grey(path.name, apply_color_lut(stored, dataset))
    if stored.ndim == 3:
        return to_grey(path.name, stored)
    values = apply_modality_lut(stored, dataset)
    try:
        values = apply_voi_lut(values, dataset)
    except (ValueError, AttributeError, TypeError, KeyError, IndexError) as error:
        notes.append(f"{path.name}: its display window is not valid and is left out ({reason(error)})")
    values = np.asarray(values, dtype=np.float32)
    return values.min() + values.max() - values if photometric == "MONOCHROME1" else values


def _stored(path: Path, dataset: pydicom.Dataset) -> np.ndarray:
    """Stored values of the first frame, decompressed by pydicom's plugins or else by the GDCM inside SimpleITK."""
    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated:
        return pixel_array(dataset, index=0)
    frame = get_frame(dataset.PixelData, 0, number_of_frames=int(dataset.get("NumberOfFrames") or 1))
    require_sound_boxes(path, frame)
    try:
        return pixel_array(dataset, index=0)
    except RuntimeError:
        pass
    single = pydicom.Dataset()
    single.file_meta = dataset.file_meta
    # the pixel module alone: GDCM would apply a slope and an inversion by rules of its own
    for name in ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"):
        setattr(single, name, dataset[name].value)
    colour = single.SamplesPerPixel > 1
    single.PhotometricInterpretation = dataset.PhotometricInterpretation if colour else "MONOCHROME2"
    if colour:
        single.PlanarConfiguration = 0
    single.SOPClassUID, single.SOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    single.PixelData = encapsulate([frame])
    single["PixelData"].VR = "OB"
    with tempfile.TemporaryDirectory(prefix="x2br-") as folder, quiet_itk():
        file = Path(folder, "frame.dcm")
        single.save_as(file, enforce_file_format=True)
        try:
            return sitk.GetArrayFromImage(sitk.ReadImage(str(file)))[0]
        except RuntimeError:
            raise InputError(
                f"{path} is compressed ({syntax.name}) in a way that cannot be read here, or is damaged; "
                "export it uncompressed (Explicit VR Little Endian)"
            ) from None


def _spacing(dataset: pydicom.Dataset) -> tuple[float, float] | None:
    """Pixel pitch at the detector.

    Imager Pixel Spacing is that by definition (PS3.3 C.8.11.3); Pixel Spacing is either the same or calibrated to the
    patient (PS3.3 10.7.1.3), so it is second; Nominal Scanned Pixel Spacing is a digitised film's.
    """
    for name in ("ImagerPixelSpacing", "PixelSpacing", "NominalScannedPixelSpacing"):
        try:
            rows, columns = (float(v) for v in dataset.get(name) or ())
        except (TypeError, ValueError):
            continue
        if _positive(rows) and _positive(columns):
            return rows, columns
    return None


def _view(dataset: pydicom.Dataset, notes: list[str]) -> str | None:
    said = str(dataset.get("ViewPosition") or "").strip().upper()
    if said and said not in _VIEWS:
        notes.append(f"its DICOM view position {shown(said)} is none of AP, PA, LL, RL")
    return _VIEWS.get(said)


def _directions(dataset: pydicom.Dataset) -> tuple[str, str] | None:
    """First letters of Patient Orientation, which are the main directions (PS3.3 C.7.6.1.1.1)."""
    letters = [str(v).strip()[:1].upper() for v in dataset.get("PatientOrientation") or ()]
    return (letters[0], letters[1]) if len(letters) == 2 and all(v and v in "RLAPHF" for v in letters) else None


def _positive(value) -> float | None:
    """A finite positive number, or ``None``: devices write 0 or nothing for "unknown"."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) and number > 0 else None
