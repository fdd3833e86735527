"""VTK's XML format for surfaces, https://docs.vtk.org/en/latest/vtk_file_formats/vtkxml_file_format.html."""

from __future__ import annotations

import base64
from pathlib import Path
from xml.etree import ElementTree as Xml

import numpy as np

from .surfaces import Meshes, colour_of, in_lps, label_of

_TYPES = {"f": "Float32", "i": "Int32", "u": "UInt8"}


def write_vtp(bones: Meshes, folder: Path) -> None:
    """``bones.vtp``: all bones, LPS mm.

    Each triangle has its ``colour``, its ``label`` of `anatomy` and the number of its ``bone`` in the list of names,
    which the file has as a whole; each point has what the meshes' vertices carry.
    """
    meshes = [in_lps(mesh) for mesh in bones.values()]
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    faces = np.concatenate([mesh.faces + start for mesh, start in zip(meshes, starts, strict=False)])
    sizes = [len(mesh.faces) for mesh in meshes]
    carried = set.intersection(*(set(mesh.vertex_attributes) for mesh in meshes))

    root = Xml.Element("VTKFile", type="PolyData", version="1.0", byte_order="LittleEndian", header_type="UInt64")
    surface = Xml.SubElement(root, "PolyData")
    about = Xml.SubElement(surface, "FieldData")
    _strings(about, "SPACE", ["LPS"])
    _strings(about, "bones", list(bones))
    counts = {"NumberOfPoints": starts[-1], "NumberOfPolys": len(faces)}
    piece = Xml.SubElement(surface, "Piece", {key: str(value) for key, value in counts.items()})
    points = Xml.SubElement(piece, "PointData")
    for name in sorted(carried):
        values = np.concatenate([mesh.vertex_attributes[name] for mesh in meshes])
        _numbers(points, name, values.astype(np.float32))
    cells = Xml.SubElement(piece, "CellData", Scalars="colour")
    _numbers(cells, "colour", np.repeat(np.array([colour_of(name) for name in bones], np.uint8), sizes, axis=0))
    _numbers(cells, "label", np.repeat(np.array([label_of(name) for name in bones], np.uint8), sizes))
    _numbers(cells, "bone", np.repeat(np.arange(len(bones), dtype=np.uint8), sizes))
    places = np.concatenate([mesh.vertices for mesh in meshes]).astype(np.float32)
    _numbers(Xml.SubElement(piece, "Points"), "Points", places)
    polygons = Xml.SubElement(piece, "Polys")
    _numbers(polygons, "connectivity", faces.astype(np.int32).ravel())
    _numbers(polygons, "offsets", np.arange(3, 3 * len(faces) + 1, 3, dtype=np.int32))
    Xml.ElementTree(root).write(folder / "bones.vtp", encoding="utf-8", xml_declaration=True)


def _numbers(parent: Xml.Element, name: str, values: np.ndarray) -> None:
    """Numbers in base64, after their size in bytes."""
    array = Xml.SubElement(parent, "DataArray", type=_TYPES[values.dtype.kind], Name=name, format="binary")
    if values.ndim == 2:
        array.set("NumberOfComponents", str(values.shape[1]))
    content = np.ascontiguousarray(values).tobytes()
    array.text = base64.b64encode(np.uint64(len(content)).tobytes() + content).decode()


def _strings(parent: Xml.Element, name: str, words: list[str]) -> None:
    """Words as the numbers of their letters, each word closed by a zero."""
    array = Xml.SubElement(parent, "Array", type="String", Name=name, NumberOfTuples=str(len(words)), format="ascii")
    array.text = " ".join(str(letter) for word in words for letter in (*word.encode(), 0))
