"""Volumes from files and back. SimpleITK speaks LPS; the change to RAS happens here and nowhere else."""

from __future__ import annotations

import locale
import math
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from .errors import InputError
from .files import PICTURES, VOLUMES, is_dicom, reason, require_file, suffix, written_whole
from .intact import may_be_read_unchecked, require_all_data, require_sound_header
from .quiet import quiet_stderr
from .volume import Volume

#: 2 GiB as int16: more than any chest CT, less than what brings a workstation down.
MAX_VOXELS = 2**30
#: Fewer voxels along an edge is a slice or a slab, no scan of the thorax.
MIN_EDGE = 16
AIR_HU = -500
BONE_HU = 150
#: Lowest value of the Hounsfield scale as scanners store it; what lies below is padding outside the scan circle.
LOWEST_HU = -1024
MAX_LABELS = 512
_HIGHEST_HU = 32767

_LPS_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@contextmanager
def quiet_itk() -> Iterator[None]:
    """Keep ITK, and the C libraries in it that print by themselves, off stderr; and numbers with a decimal point.

    Its NRRD reader takes 1.5 for 1 where the host has set a locale with a decimal comma, as Qt does.
    """
    shown, numbers = sitk.ProcessObject.GetGlobalWarningDisplay(), locale.setlocale(locale.LC_NUMERIC)
    with quiet_stderr():
        sitk.ProcessObject.SetGlobalWarningDisplay(False)
        locale.setlocale(locale.LC_NUMERIC, "C")
        try:
            yield
        finally:
            locale.setlocale(locale.LC_NUMERIC, numbers)
            sitk.ProcessObject.SetGlobalWarningDisplay(shown)


def volume_size(path: str | os.PathLike) -> tuple[int, ...]:
    """Number of voxels ``(I, J, K)`` from the header of a NIfTI, NRRD or MetaImage file; 2D images have two.

    Raises `InputError` when the file is none of these, has several values per voxel or is absurdly large.
    """
    return _open(require_file(path)).GetSize()


def read_volume(path: str | os.PathLike, *, modality: str | None = None) -> Volume:
    """Read a volume.

    Args:
        path: NIfTI, NRRD or MetaImage; or a DICOM series as a folder or as one of its slices.
        modality: what a DICOM series must be, e.g. ``CT``.

    Returns:
        The values as stored, DICOM with rescale slope and intercept applied, in RAS. A 2D image has one slice; a DICOM
        series taken with a tilted gantry has sheared axes.

    Raises `InputError` for anything else: see the messages.
    """
    path = Path(path)
    if path.is_dir():
        return _read_series(path, modality)
    path = require_file(path)
    if is_dicom(path):
        return _read_series(path, modality)
    image = _read_whole(path, _open(path))
    if image.GetDimension() == 2:
        image = sitk.JoinSeries(image)
    while image.GetDimension() > 3:  # dimensions of 1
        image = image[..., 0]
    to_lps = np.eye(4)
    to_lps[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    to_lps[:3, 3] = image.GetOrigin()
    return _placed(path, sitk.GetArrayFromImage(image), to_lps)


def read_ct(path: str | os.PathLike) -> Volume:
    """Read a CT in Hounsfield units, int16 (or float32 where the file holds fractions), padding raised to -1024.

    Raises `InputError` for what is no CT: pictures and radiographs, other modalities, label maps, values that cannot be
    Hounsfield units (there must be air and bone), NaNs, missing slices, absurd sizes.
    """
    path = Path(path)
    if suffix(path) in PICTURES and path.is_file():
        raise InputError(f"{path} is a picture, not a CT; for a radiograph use x2br reconstruct")
    if suffix(path) in VOLUMES and path.is_file():
        _require_3d(path, volume_size(path))
    volume = read_volume(path, modality="CT")
    spacing = volume.spacing
    if spacing.min() < 0.05 or spacing.max() > 20:
        listed = " x ".join(f"{s:g}" for s in spacing)
        raise InputError(
            f"{path}: a voxel of {listed} mm is no CT's; give the spacing in millimetres in the file's header"
        )
    array = volume.array
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InputError(f"{path} has NaN or infinite voxels; replace them by -1024 (air) and try again")
    low, high = float(array.min()), float(array.max())
    if low == high:
        raise InputError(f"{path} is empty: every voxel is {low:g}; export it again")
    if low > AIR_HU or not BONE_HU <= high <= 2**16:
        raise InputError(
            f"{path} is no CT in Hounsfield units: its values run from {low:g} to {high:g}, a CT has air near -1000 "
            "and bone above 150; give the original CT, not a label map or a rescaled image"
        )
    whole = array.dtype.kind in "iu" or all((plane == np.rint(plane)).all() for plane in array)
    kind = np.int16 if whole else np.float32  # many tools store whole units as floating-point numbers
    if low < LOWEST_HU or high > _HIGHEST_HU:
        array = np.clip(array, LOWEST_HU, _HIGHEST_HU)
    return Volume(array.astype(kind, copy=False), volume.ijk_to_ras)


def read_labels(path: str | os.PathLike) -> Volume:
    """Read a label map: whole numbers from 0 (background), as uint8 or uint16.

    Raises `InputError` when the values cannot be labels, or there are none.
    """
    path = Path(path)
    if suffix(path) in VOLUMES and path.is_file():
        _require_3d(path, volume_size(path))
    volume = read_volume(path)
    array = volume.array
    if array.dtype.kind == "f" and not (np.isfinite(array).all() and (array == np.round(array)).all()):
        raise InputError(f"{path} is no label map: it has fractional values; give the segmentation, not the CT")
    low, high = int(array.min()), int(array.max())
    if low < 0 or high > 65535:
        raise InputError(f"{path} is no label map: its values run from {low} to {high}; labels start at 0 (background)")
    if high == 0:
        raise InputError(f"{path} holds no label: every voxel is 0; give the segmentation of the bones")
    array = array.astype(np.uint8 if high < 256 else np.uint16, copy=False)
    present = np.zeros(65536, dtype=bool)
    for plane in array:  # plane by plane: indexing makes 8-byte copies
        present[plane] = True
    found = np.count_nonzero(present)
    if found > MAX_LABELS:
        raise InputError(f"{path} is no label map: it has {found} different values; give the segmentation, not the CT")
    return Volume(array, volume.ijk_to_ras)


def match_grid(labels: Volume, ct: Volume) -> Volume:
    """`labels` on the grid of `ct`: as they are where the grids agree to 0.001 mm, else resampled to the nearest voxel.

    Raises `InputError` when no labelled voxel lies inside the CT.
    """
    same_size = labels.array.shape == ct.array.shape
    if same_size and np.abs(labels.corners - ct.corners).max() < 1e-3:
        return Volume(labels.array, ct.ijk_to_ras)
    from scipy.ndimage import affine_transform  # slow to import, seldom needed

    # scipy counts axes as the array does (k, j, i), the matrices as (i, j, k)
    step = (labels.ras_to_ijk @ ct.ijk_to_ras)[:3]
    matrix, offset = step[::-1, 2::-1], step[::-1, 3]
    array = affine_transform(
        labels.array, matrix, offset, output_shape=ct.array.shape, order=0, mode="grid-constant", cval=0
    )
    if not array.any():
        raise InputError("the labels and the CT do not overlap; give the labels that belong to this CT")
    return Volume(array, ct.ijk_to_ras)


def write_volume(path: str | os.PathLike, volume: Volume) -> None:
    """Write NIfTI, NRRD or MetaImage (``.mha``), compressed, in one piece: a failure leaves nothing behind.

    Raises `InputError` for another suffix, a sheared grid or a folder that cannot be written to.
    """
    path = Path(path)
    allowed = tuple(s for s in VOLUMES if s != ".mhd")  # .mhd is two files, which cannot appear at once
    if suffix(path) not in allowed:
        raise InputError(f"cannot write a volume as {path.name}; use one of {', '.join(allowed)}")
    try:
        image = to_sitk(volume)
    except InputError as error:
        raise InputError(f"cannot write {path.name}: {error}") from None
    write_image(path, image)


def write_image(path: Path, image: sitk.Image) -> None:
    """Write an image of SimpleITK, compressed, whole or not at all. Raises `InputError` where that is not possible."""
    with written_whole(path) as temporary, quiet_itk():
        try:
            sitk.WriteImage(image, str(temporary), True)
        except RuntimeError as error:
            raise InputError(f"cannot write {path}: {reason(error)}; check the folder and the free space") from None


def to_sitk(volume: Volume) -> sitk.Image:
    """The volume as SimpleITK has it, in LPS. Raises `InputError` for a sheared grid."""
    to_lps = _LPS_RAS @ volume.ijk_to_ras
    direction = to_lps[:3, :3] / volume.spacing
    if not np.allclose(direction.T @ direction, np.eye(3), atol=1e-4):
        raise InputError("the volume's axes are not perpendicular; resample it first")
    stored_as = {"?": np.uint8, "e": np.float32}.get(volume.array.dtype.char, volume.array.dtype)
    image = sitk.GetImageFromArray(volume.array.astype(stored_as, copy=False))
    image.SetSpacing(volume.spacing.tolist())
    image.SetDirection(direction.ravel().tolist())
    image.SetOrigin(to_lps[:3, 3].tolist())
    return image


def _open(path: Path) -> sitk.ImageFileReader:
    """A reader that has read the header only: a wrong size must not cost memory."""
    if suffix(path) not in VOLUMES:
        raise InputError(f"{path} is no volume that can be read; give {', '.join(VOLUMES)} or a DICOM series")
    require_sound_header(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    with quiet_itk():
        try:
            reader.ReadImageInformation()
        except RuntimeError as error:
            if "orthonormal" in str(error):
                raise InputError(f"{path} has sheared axes; resample it to a rectangular grid first") from None
            raise InputError(f"{path} is not a {suffix(path)} volume, or is damaged; copy or export it again") from None
    if reader.GetNumberOfComponents() != 1 or "complex" in sitk.GetPixelIDValueAsString(reader.GetPixelID()):
        raise InputError(f"{path} has several values per voxel (colour or vectors); give a volume with one")
    size = reader.GetSize()
    if math.prod(size) > MAX_VOXELS:
        listed = " x ".join(map(str, size))
        raise InputError(f"{path} has {listed} voxels, more than can be read ({MAX_VOXELS}); crop or resample it")
    if math.prod(size[3:]) > 1:
        raise InputError(f"{path} has {len(size)} dimensions; extract one 3D volume")
    return reader


def _read_whole(path: Path, reader: sitk.ImageFileReader) -> sitk.Image:
    """The voxels, all of them: ITK takes what is missing for zeros, or worse, so `require_all_data` looks as well."""
    bits = int(sitk.GetPixelIDValueAsString(reader.GetPixelID()).partition("-")[0])  # "16-bit signed integer"
    expected = math.prod(reader.GetSize()) * bits // 8
    with ThreadPoolExecutor(max_workers=1) as beside:
        check = beside.submit(require_all_data, path, expected)
        if not may_be_read_unchecked(path, expected):
            check.result()
        with quiet_itk():
            try:
                image = reader.Execute()
            except RuntimeError as error:
                sentence = f"{path} is damaged or truncated ({reason(error)}); copy or export it again"
                raise InputError(sentence) from None
        check.result()
    return image


def _read_series(path: Path, modality: str | None) -> Volume:
    from .dicom_series import find_series  # so is pydicom

    files, to_lps, size, one_scale = find_series(path, modality)
    if math.prod(size) > MAX_VOXELS:
        raise InputError(f"{path} has {' x '.join(map(str, size))} voxels, more than can be read; export a part of it")
    with quiet_itk():
        try:
            # GDCM decodes and applies slope and intercept; the places come from the headers. Left alone, ITK squeezes
            # all slices into the type of the first.
            kind = sitk.sitkUnknown if one_scale else sitk.sitkFloat32
            array = sitk.GetArrayFromImage(sitk.ReadImage([str(f) for f in files], kind))
        except RuntimeError as error:
            raise InputError(f"{path} has a damaged slice ({reason(error)}); export the series again") from None
    if array.shape != size[::-1]:
        raise InputError(f"{path}: the slices are no greyscale images of one size; export the series again")
    return _placed(path, array, to_lps)


def _placed(path: Path, array: np.ndarray, to_lps: np.ndarray) -> Volume:
    try:
        return Volume(array, _LPS_RAS @ to_lps)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _require_3d(path: Path, size: tuple[int, ...]) -> None:
    if len(size) < 3 or min(size[:3]) == 1:
        raise InputError(f"{path} is a 2D image, not a CT volume; for a radiograph use x2br reconstruct")
    if min(size[:3]) < MIN_EDGE:
        listed = " x ".join(map(str, size))
        raise InputError(f"{path} has only {listed} voxels; a volume needs {MIN_EDGE} along each edge")
