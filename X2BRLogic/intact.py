"""Is a file whole? What ITK leaves unchecked.

ITK fills a truncated NIfTI with zeros without a word, takes damaged gzip data in NRRD as they come, writes beyond its
arrays when a MetaImage claims many dimensions, and frees memory twice when a compressed MetaImage is damaged. And
pydicom, which inflates without limit, and goes round for ever in a damaged JPEG 2000.
"""

from __future__ import annotations

import gzip
import math
import re
import struct
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO, NamedTuple

from .errors import InputError
from .files import shown, suffix

_CHUNK = 1 << 22
#: Deflate packs 258 bytes into two bits at best.
_DEFLATE_LIMIT = 1032
#: UID of DICOM's deflated transfer syntax, and the most that is unpacked of such a file, or of arrays: far too much.
_DEFLATED, _MOST_INFLATED = b"1.2.840.10008.1.2.1.99", 1 << 29
#: Bytes of a NRRD header; that of a segmentation with a hundred segments has a tenth of it.
_LONGEST_HEADER = 1 << 20
#: What a text does not hold; ITK's NRRD reader crashes over lines of voxels.
_NO_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_META_BYTES = {"CHAR": 1, "SHORT": 2, "INT": 4, "LONG": 4, "LONG_LONG": 8, "FLOAT": 4, "DOUBLE": 8}


def require_sound_header(path: Path) -> None:
    """Before ITK parses the header. Raises `InputError`."""
    if suffix(path) in (".mha", ".mhd"):
        fields, _ = _meta_header(path)
        if fields.get("NDims") not in ("2", "3", "4") or not fields.get("ElementDataFile"):
            raise InputError(f"{path} is not a MetaImage of 2 to 4 dimensions, or is damaged; copy or export it again")
    if suffix(path) == ".nrrd":
        with path.open("rb") as stream:
            header, end, _ = stream.read(_LONGEST_HEADER).replace(b"\r\n", b"\n").partition(b"\n\n")
        if (not end and len(header) > _LONGEST_HEADER // 2) or _NO_TEXT.search(header):
            raise InputError(f"{path} is not a NRRD volume, or its header is damaged; copy or export it again")
    for name in _detached(path):
        if name.startswith("LIST") or "%" in name:  # ITK gives the pattern to printf as it comes
            raise InputError(f"{path} has its voxels in many files; convert it to one file, such as .nii.gz")
        if not _leads_inside(path.parent, name):
            raise InputError(
                f"{path} takes its voxels from {shown(name)}, outside its folder; put both into one folder"
            )
    if suffix(path) in (".nii", ".nii.gz"):
        try:
            with _nifti_stream(path) as stream:
                header = _NiftiHeader.read(stream)
        except (EOFError, OSError, zlib.error, struct.error):
            header = None
        if header is None:
            raise InputError(f"{path} is not a NIfTI volume, or is damaged; copy or export it again")
        # ITK reads 1 mm where there is no spacing
        if not all(0 < abs(step) < math.inf for n, step in zip(header.dims, header.steps, strict=True) if n > 1):
            raise InputError(f"{path} has no voxel spacing; give the spacing in millimetres in the file's header")


def may_be_read_unchecked(path: Path, expected: int) -> bool:
    """Whether ITK may read the voxels while `require_all_data` still counts: damage to a gzipped NIfTI does no harm.

    Unless the file is far too small for its voxels, for which ITK would fill the memory with zeros.
    """
    return suffix(path) == ".nii.gz" and path.stat().st_size * _DEFLATE_LIMIT > expected


def require_all_data(path: Path, expected: int) -> None:
    """Count the voxels' bytes, unpacked where they are compressed. Raises `InputError`.

    Args:
        expected: bytes that the voxels take according to ITK's reading of the header.
    """
    try:
        if suffix(path) in (".nii", ".nii.gz"):
            whole = _nifti_is_whole(path)
        elif suffix(path) in (".mha", ".mhd"):
            whole = _meta_is_whole(path)
        else:
            whole = _nrrd_is_whole(path, expected)
    except (EOFError, OSError, zlib.error, ValueError, KeyError, struct.error):
        whole = False
    if not whole:
        raise InputError(f"{path} is truncated or damaged; copy or export it again")


def require_inflatable(path: Path) -> None:
    """Before pydicom inflates a deflated DICOM file (PS3.5 A.5), whatever that comes to. Raises `InputError`."""
    with path.open("rb") as stream:
        start = stream.read(1024)
    if _DEFLATED in start:
        offset = 144 + int.from_bytes(start[140:144], "little")  # behind the group of meta information
        try:
            size = _unpacked_size(path, offset, _MOST_INFLATED, -zlib.MAX_WBITS)
        except zlib.error:
            return  # pydicom says so
        if size > _MOST_INFLATED:
            raise InputError(f"{path} unpacks to more than {_MOST_INFLATED >> 20} MiB; export it uncompressed")


def require_modest(path: Path) -> None:
    """Before NumPy unpacks an archive of arrays (.npz) whatever it comes to.

    Raises `InputError`, and `zipfile.BadZipFile` where it is none.
    """
    with zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > _MOST_INFLATED:
        raise InputError(f"{path} unpacks to {size >> 20} MiB, more than {_MOST_INFLATED >> 20}; get it again")


def require_sound_boxes(path: Path, codestream: bytes) -> None:
    """Of a JPEG 2000 image in DICOM: where it has boxes (ISO/IEC 15444-1 I.4), each has a length. Raises `InputError`.

    pydicom looks for the codestream among them, and at a box of no length it looks for ever.
    """
    at = 12 if codestream.startswith(b"\0\0\0\x0cjP  ") else len(codestream)
    while at < len(codestream) and codestream[at + 4 : at + 8] != b"jp2c":
        length = int.from_bytes(codestream[at : at + 4], "big")
        if length < 8:
            raise InputError(f"{path} is damaged: its JPEG 2000 image has a box without length; export it again")
        at += length


def _detached(path: Path) -> list[str]:
    """What a header says of other files that hold the voxels: those may not lead to anywhere on the disk."""
    if suffix(path) in (".mha", ".mhd"):
        name = _meta_header(path)[0]["ElementDataFile"]
        return [] if name.upper() == "LOCAL" else [name]
    if suffix(path) == ".nrrd":
        with path.open("rb") as stream:
            header = stream.read(_LONGEST_HEADER).replace(b"\r\n", b"\n").partition(b"\n\n")[0].decode("latin-1")
        return re.findall(r"^data ?file:[ \t]*(.+)$", header, re.MULTILINE | re.IGNORECASE)
    return []


def _leads_inside(folder: Path, name: str) -> bool:
    """Whether a name in a file is that of one below a folder, also after symbolic links."""
    try:
        return (folder / name).resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError):  # too long, a null character
        return False


class _NiftiHeader(NamedTuple):
    """What tells a NIfTI's size: the sizes and steps along its axes, bits a voxel, and where the voxels start."""

    dims: tuple[int, ...]
    steps: tuple[float, ...]
    bits: int
    offset: int

    @classmethod
    def read(cls, stream: BinaryIO) -> _NiftiHeader | None:
        """NIfTI-1 (348 bytes, magic at 344) or NIfTI-2 (540 bytes, magic at 4); ``None`` where it is neither.

        ITK takes a file without the magic for an Analyze 7.5, which says nothing of where the patient lies.
        """
        start = stream.read(540)
        for order in "<>":
            if start[:4] == struct.pack(order + "i", 348) and start[344:348] == b"n+1\0":
                rank, *dims = struct.unpack_from(order + "8h", start, 40)
                steps = struct.unpack_from(order + "7f", start, 80)
                bits, offset = (
                    struct.unpack_from(order + "h", start, 72)[0],
                    struct.unpack_from(order + "f", start, 108)[0],
                )
            elif start[:4] == struct.pack(order + "i", 540) and start[4:8] == b"n+2\0":
                rank, *dims = struct.unpack_from(order + "8q", start, 16)
                steps = struct.unpack_from(order + "7d", start, 112)
                bits, offset = (
                    struct.unpack_from(order + "h", start, 14)[0],
                    struct.unpack_from(order + "q", start, 168)[0],
                )
            else:
                continue
            if 1 <= rank <= 7 and 0 <= offset < 2**40:
                return cls(tuple(dims[:rank]), steps[:rank], bits, int(offset))
        return None


def _nifti_stream(path: Path) -> BinaryIO:
    return gzip.open(path, "rb") if suffix(path) == ".nii.gz" else path.open("rb")


def _nifti_is_whole(path: Path) -> bool:
    """Plain: long enough. Gzipped: it comes to its end, where the checksum is, and not far beyond the voxels."""
    with _nifti_stream(path) as stream:
        header = _NiftiHeader.read(stream)
    expected = header.offset + math.prod(header.dims) * header.bits // 8
    if suffix(path) == ".nii":
        return path.stat().st_size >= expected
    return expected <= _unpacked_size(path, 0, expected + _CHUNK) <= expected + _CHUNK


def _nrrd_is_whole(path: Path, expected: int) -> bool:
    """Check the data that follow the header's blank line, raw or packed with gzip."""
    with path.open("rb") as stream:
        header = re.match(rb"NRRD.*?\r?\n\r?\n", stream.read(1 << 16), re.DOTALL)
    if header is None or re.search(rb"^(data ?file|(line|byte) ?skip):", header[0], re.MULTILINE | re.IGNORECASE):
        return True  # the data are not where the header ends; ITK looks for them
    encoding = re.search(rb"^encoding: *(\w+)", header[0], re.MULTILINE | re.IGNORECASE)
    if encoding is None or encoding[1].lower() not in (b"raw", b"gz", b"gzip"):
        return True  # packed in a way that checks itself
    if encoding[1].lower() == b"raw":
        return path.stat().st_size - header.end() >= expected
    return _unpacked_size(path, header.end(), expected) == expected


def _unpacked_size(path: Path, offset: int, limit: int, wbits: int = zlib.MAX_WBITS | 32) -> int:
    """How many bytes the zlib or gzip data at `offset` hold; their checksum is checked.

    Data that end early count nothing, and no more is unpacked than a little beyond `limit`. In large pieces, each
    without Python's global lock: the check then does not wait for what else the program does.
    """
    length = 0
    with path.open("rb") as stream:
        stream.seek(offset)
        packed = stream.read(_CHUNK)
        while True:
            unpacker = zlib.decompressobj(wbits=wbits)
            while not unpacker.eof:
                if not packed:
                    return 0
                length += len(unpacker.decompress(packed, _CHUNK))
                if length > limit:
                    return length
                packed = unpacker.unconsumed_tail or stream.read(_CHUNK)
            packed = unpacker.unused_data + packed
            if not packed.startswith(b"\x1f\x8b"):  # gzip data may be several, one after another
                return length


def _meta_is_whole(path: Path) -> bool:
    """Unpack a compressed MetaImage; uncompressed ones ITK checks."""
    fields, offset = _meta_header(path)
    if fields.get("CompressedData", "False").lower() not in ("true", "1"):
        return True
    local = fields["ElementDataFile"].upper() == "LOCAL"
    kind = fields["ElementType"].removeprefix("MET_")
    size = _META_BYTES.get(kind) or _META_BYTES[kind.removeprefix("U")]
    expected = math.prod(int(n) for n in fields["DimSize"].split()) * size
    data = path if local else path.parent / fields["ElementDataFile"]
    return _unpacked_size(data, offset if local else 0, expected) == expected


def _meta_header(path: Path) -> tuple[dict[str, str], int]:
    """The lines ``key = value`` or ``key : value`` of a MetaImage up to ElementDataFile, the last, and their end."""
    with path.open("rb") as stream:
        start = stream.read(1 << 16)
    fields, offset = {}, 0
    for line in start.split(b"\n")[:-1]:
        key, *value = re.split("[=:]", line.decode("latin-1"), maxsplit=1)
        fields[key.strip()] = "".join(value).strip()
        offset += len(line) + 1
        if key.strip() == "ElementDataFile":
            break
    return fields, offset
