"""Is a volume file whole? Before ITK reads it, what ITK leaves unchecked.

ITK fills a truncated NIfTI with zeros without a word, takes damaged gzip data in NRRD as they come, writes beyond its
arrays when a MetaImage claims many dimensions, and frees memory twice when a compressed MetaImage is damaged.
"""

from __future__ import annotations

import gzip
import math
import re
import struct
import zlib
from pathlib import Path

from .errors import InputError
from .files import suffix

_CHUNK = 1 << 22
_META_BYTES = {"CHAR": 1, "SHORT": 2, "INT": 4, "LONG": 4, "LONG_LONG": 8, "FLOAT": 4, "DOUBLE": 8}


def require_sound_header(path: Path) -> None:
    """Before ITK parses the header. Raises `InputError`."""
    if suffix(path) in (".mha", ".mhd") and _meta_header(path)[0].get("NDims") not in ("2", "3", "4"):
        raise InputError(f"{path} is not a MetaImage of 2 to 4 dimensions, or is damaged; copy or export it again")


def require_all_data(path: Path) -> None:
    """Before ITK reads the voxels: count the bytes, unpacked where they are compressed. Raises `InputError`."""
    try:
        if suffix(path) in (".nii", ".nii.gz"):
            whole = _nifti_is_whole(path)
        elif suffix(path) in (".mha", ".mhd"):
            whole = _meta_is_whole(path)
        else:
            whole = _nrrd_is_whole(path)
    except (EOFError, OSError, zlib.error, ValueError, KeyError, struct.error):
        whole = False
    if not whole:
        raise InputError(f"{path} is truncated or damaged; copy or export it again")


def _nifti_is_whole(path: Path) -> bool:
    """NIfTI-1 header: dim at byte 40, bitpix at 72, vox_offset at 108; gzip has a checksum of its own."""
    opener = gzip.open if suffix(path) == ".nii.gz" else open
    with opener(path, "rb") as stream:
        header = stream.read(348)
        length = len(header)
        while chunk := stream.read(_CHUNK):
            length += len(chunk)
    order = "<" if header[:4] == struct.pack("<i", 348) else ">"
    if header[:4] != struct.pack(order + "i", 348):
        return True  # NIfTI-2, rare: ITK's reader decides
    dims = struct.unpack(order + "8h", header[40:56])
    bits = struct.unpack(order + "h", header[72:74])[0]
    offset = struct.unpack(order + "f", header[108:112])[0]
    return length >= offset + math.prod(dims[1 : dims[0] + 1]) * bits // 8


def _nrrd_is_whole(path: Path) -> bool:
    """Check the gzip data that follow the header's blank line; ITK checks that there are enough."""
    with path.open("rb") as stream:
        header = re.match(rb"NRRD.*?\r?\n\r?\n", stream.read(1 << 16), re.DOTALL)
    if header is None or not re.search(rb"^encoding: *gz", header[0], re.MULTILINE | re.IGNORECASE):
        return True  # not packed, or packed in a way that checks itself
    if re.search(rb"^(data ?file|(line|byte) ?skip):", header[0], re.MULTILINE | re.IGNORECASE):
        return True  # the data are not where the header ends
    return _unpack(path, header.end())[0]


def _unpack(path: Path, offset: int) -> tuple[bool, int]:
    """Whether the zlib or gzip data at `offset` come to their end, and how many bytes they hold; checks their sum."""
    unpacker, length = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32), 0
    with path.open("rb") as stream:
        stream.seek(offset)
        while not unpacker.eof and (chunk := stream.read(_CHUNK)):
            length += len(unpacker.decompress(chunk))
    return unpacker.eof, length


def _meta_is_whole(path: Path) -> bool:
    """Unpack a compressed MetaImage; uncompressed ones ITK checks."""
    fields, offset = _meta_header(path)
    if fields.get("CompressedData", "False").lower() not in ("true", "1"):
        return True
    local = fields["ElementDataFile"].upper() == "LOCAL"
    ended, length = _unpack(path if local else path.parent / fields["ElementDataFile"], offset if local else 0)
    kind = fields["ElementType"].removeprefix("MET_")
    size = _META_BYTES.get(kind) or _META_BYTES[kind.removeprefix("U")]
    return ended and length == math.prod(int(n) for n in fields["DimSize"].split()) * size


def _meta_header(path: Path) -> tuple[dict[str, str], int]:
    """The ``key = value`` lines of a MetaImage up to ElementDataFile, which is the last, and where they end."""
    with path.open("rb") as stream:
        start = stream.read(1 << 16)
    fields, offset = {}, 0
    for line in re.finditer(rb"([^\n]*)\n", start):
        key, _, value = line[1].decode("latin-1").partition("=")
        fields[key.strip()] = value.strip()
        offset = line.end()
        if key.strip() == "ElementDataFile":
            break
    return fields, offset
