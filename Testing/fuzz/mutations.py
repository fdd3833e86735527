"""Damage to files: blind, to numbers in headers, and below packing and checksums, where blind damage never comes."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import random
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable

#: What breaks readers of numbers.
_INTEGERS = (0, 1, -1, 2, 3, 7, 8, 16, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**31 - 1, -(2**31), 2**32 - 1)
_FLOATS = (0.0, -0.0, -1.0, 1e-30, 1e30, -1e30, 5e-324, 1.7e308, float("nan"), float("inf"), float("-inf"))
_WORDS = (
    *(b"0 -1 1 2 3 nan inf -inf 1e309 1e-309 -0 65535 65536 2147483648 4294967296 18446744073709551616".split()),
    b"9" * 30,
    b"",
    b" ",
    b"\0",
    b"\xff\xfe",
    b"%s%n",
    b"../../x",
    b"true",
    b"null",
    b"1,5",
    "ß日本\u202e".encode(),
)
#: JSON's and TOML's values where others are wanted.
_VALUES = (None, True, 0, -1, 1.5, 1e308, 10**30, "", "x", "../../x", "\0", "\n", "\ud800", [], {}, [[]], [0] * 3)

Damage = Callable[[bytes, random.Random], bytes]


def blind(data: bytes, rng: random.Random) -> bytes:
    """One to six small changes anywhere, headers before all."""
    content = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        if content:
            rng.choice(_CHANGES)(content, rng)
    return bytes(content)


def _place(content: bytearray, rng: random.Random) -> int:
    """Half of the time within the first bytes, where headers are."""
    end = len(content) if rng.random() < 0.5 else min(len(content), rng.choice((16, 64, 512)))
    return rng.randrange(end)


def _flip(content: bytearray, rng: random.Random) -> None:
    content[_place(content, rng)] ^= 1 << rng.randrange(8)


def _byte(content: bytearray, rng: random.Random) -> None:
    content[_place(content, rng)] = rng.randrange(256)


def _number(content: bytearray, rng: random.Random) -> None:
    order = rng.choice("<>")
    if rng.random() < 0.3:
        packed = struct.pack(order + rng.choice("fd"), min(max(rng.choice(_FLOATS), -3e38), 3e38))
    else:
        kind = rng.choice("BHIQ")
        value = rng.choice(_INTEGERS) + rng.choice((0, 0, 0, 1, -1))
        packed = struct.pack(order + kind, value % 2 ** (8 * struct.calcsize(order + kind)))
    at = _place(content, rng)
    if rng.random() < 0.7:
        at -= at % len(packed)
    content[at : at + len(packed)] = packed


def _word(content: bytearray, rng: random.Random) -> None:
    """A number written in letters becomes another."""
    found = list(re.finditer(rb"-?\d+(\.\d+)?([eE][-+]?\d+)?", bytes(content[:65536])))
    if found:
        chosen = rng.choice(found)
        content[chosen.start() : chosen.end()] = rng.choice(_WORDS)


def _line(content: bytearray, rng: random.Random) -> None:
    """A line is lost, doubled or moved."""
    lines = bytes(content).split(b"\n")
    one = lines.pop(rng.randrange(len(lines)))
    for _ in range(rng.randrange(3)):
        lines.insert(rng.randrange(len(lines) + 1), one)
    content[:] = b"\n".join(lines)


def _cut(content: bytearray, rng: random.Random) -> None:
    del content[_place(content, rng) :]


def _remove(content: bytearray, rng: random.Random) -> None:
    at = _place(content, rng)
    del content[at : at + rng.choice((1, 2, 4, 16, 200))]


def _double(content: bytearray, rng: random.Random) -> None:
    at = _place(content, rng)
    piece = content[at : at + rng.choice((1, 4, 16, 200))]
    content[at:at] = piece * rng.choice((1, 2, 50))


def _insert(content: bytearray, rng: random.Random) -> None:
    at = _place(content, rng)
    content[at:at] = rng.choice((rng.choice(_WORDS), rng.randbytes(rng.choice((1, 4, 32)))))


def _move(content: bytearray, rng: random.Random) -> None:
    """One place's bytes over another's."""
    start, at, length = _place(content, rng), _place(content, rng), rng.choice((1, 2, 4, 8, 64))
    piece = content[start : start + length]
    content[at : at + len(piece)] = piece


_CHANGES = (_flip, _flip, _byte, _byte, _number, _number, _number, _word, _line, _cut, _remove, _double, _insert, _move)


# --- below packing and checksums --------------------------------------------------------------------------------------


def in_gzip(data: bytes, rng: random.Random) -> bytes:
    """The packed file is damaged, and packed again."""
    return gzip.compress(blind(gzip.decompress(data), rng), 1, mtime=0)


def in_png(data: bytes, rng: random.Random) -> bytes:
    """One chunk is damaged, and gets its checksum; of the pixels sometimes what is packed in them."""
    chunks, at = [], 8
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    n = rng.randrange(len(chunks))
    kind, body = chunks[n]
    if kind == b"IDAT" and len([k for k, _ in chunks if k == kind]) == 1 and rng.random() < 0.5:
        body = zlib.compress(blind(zlib.decompress(body), rng), 1)
    elif body:
        body = blind(body, rng)
    chunks[n : n + 1] = [(kind, body)] * rng.choice((1, 1, 1, 1, 0, 2))
    framed = (struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in chunks)
    return data[:8] + b"".join(framed)


def in_packed_nrrd(data: bytes, rng: random.Random) -> bytes:
    """The voxels behind the header's blank line, packed with gzip."""
    return _below(data, rng, data.find(b"\n\n") + 2, zlib.MAX_WBITS | 16)


def in_packed_mha(data: bytes, rng: random.Random) -> bytes:
    """The voxels behind the header's last line, packed with zlib."""
    return _below(data, rng, data.find(b"LOCAL\n") + 6, zlib.MAX_WBITS)


def in_deflated(data: bytes, rng: random.Random) -> bytes:
    """A deflated DICOM file: all that follows the meta information, whose length stands at 140."""
    return _below(data, rng, 144 + int.from_bytes(data[140:144], "little"), -zlib.MAX_WBITS)


def _below(data: bytes, rng: random.Random, start: int, wbits: int) -> bytes:
    """Damage before it is packed; blind where nothing is packed there."""
    try:
        body = zlib.decompress(data[start:], wbits)
    except zlib.error:
        return blind(data, rng)
    packer = zlib.compressobj(1, wbits=wbits)
    return data[:start] + packer.compress(blind(body, rng)) + packer.flush()


def in_zip(data: bytes, rng: random.Random) -> bytes:
    """One member of an archive (npz) is damaged, renamed, lost or doubled; checksums fit."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    n = rng.randrange(len(members))
    name, content = members[n]
    changed = rng.choice(((name, blind(content, rng)),) * 4 + (("../" + name, content), ("x.npy", content)))
    members[n : n + 1] = [changed] * rng.choice((1, 1, 1, 1, 0, 2))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive, warnings.catch_warnings(action="ignore"):  # of two equal names
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content)
    return out.getvalue()


def in_safetensors(data: bytes, rng: random.Random) -> bytes:
    """The JSON header, or the JSON in its metadata; its length is put right most of the time."""
    (length,) = struct.unpack_from("<Q", data)
    head, body = data[8 : 8 + length], data[8 + length :]
    if rng.random() < 0.4:  # what we wrote into it ourselves is JSON in a text
        tree = json.loads(head)
        key = rng.choice(list(tree["__metadata__"]))
        tree["__metadata__"][key] = in_json(tree["__metadata__"][key].encode(), rng).decode(errors="replace")
        head = json.dumps(tree).encode()
    else:
        head = in_json(head, rng) if rng.random() < 0.7 else blind(head, rng)
    told = len(head) if rng.random() < 0.8 else rng.choice((0, 2**32, 2**63, 2**64 - 1, len(head) * 2))
    return struct.pack("<Q", told) + head + body


def in_json(data: bytes, rng: random.Random) -> bytes:
    """A value somewhere in the tree is replaced, lost, doubled or swapped with another, or the text is damaged."""
    try:
        tree = json.loads(data)
    except ValueError:
        return blind(data, rng)
    if rng.random() < 0.25:
        return blind(data, rng)
    for _ in range(rng.choice((1, 1, 2))):
        places = list(_places([tree]))
        holder, key = rng.choice(places)
        if holder is None:
            tree = rng.choice(_VALUES)
        elif rng.random() < 0.2:
            del holder[key]
        elif rng.random() < 0.3:
            other, place = rng.choice([p for p in places if p[0] is not None])
            with contextlib.suppress(KeyError, IndexError):
                holder[key] = json.loads(json.dumps(other[place]))
        else:
            holder[key] = rng.choice((*_VALUES, *_FLOATS))
    return json.dumps(tree).encode("utf-8", "surrogatepass")


def _places(trees: list, depth: int = 0):
    """Every ``(holder, key)`` in a tree; of the tree itself ``(None, 0)``."""
    yield None, 0
    stack = list(trees)
    while stack:
        node = stack.pop()
        keys = node.keys() if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
        for key in keys:
            yield node, key
            stack.append(node[key])


def deep_json(data: bytes, rng: random.Random) -> bytes:
    """JSON that is deeper or longer than any parser likes."""
    depth = rng.choice((10, 990, 5000, 100_000))
    opening, closing = rng.choice(((b"[", b"]"), (b'{"a":', b"}")))
    return rng.choice((opening * depth + b"0" + closing * depth, b'{"schema":' + b"9" * depth + b"}", opening * depth))


def either(*ways: Damage) -> Damage:
    """One of these, by lot."""

    def damage(data: bytes, rng: random.Random) -> bytes:
        return rng.choice(ways)(data, rng)

    return damage
