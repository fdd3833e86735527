"""Exports, each read back by a library that had no part in writing it."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest
import trimesh
from template_result import SOME, template_result, without_names

from X2BRLogic import anatomy
from X2BRLogic.cli import main
from X2BRLogic.errors import InputError
from X2BRLogic.export import FORMATS, export
from X2BRLogic.segmentation.reading import read_bone_labels
from X2BRLogic.template import bone_of
from X2BRLogic.volume import Volume

#: Half a voxel of the label map's diagonal, and what voxels of 1.5 mm make of a centre of mass.
_VOXEL_MM, _CENTRE_MM = 1.5, 0.3
RIB = "rib_left_5"


@pytest.fixture(scope="module")
def result():
    return template_result()


@pytest.fixture(scope="module")
def folder(result, tmp_path_factory):
    out = tmp_path_factory.mktemp("exported") / "out"
    written = export(result, out, list(FORMATS))
    assert all(path.exists() for path in written)
    assert sorted(path.name for path in out.iterdir()) == sorted({path.name for path in written})
    return out


@pytest.fixture(scope="module")
def labels(result):
    return result.label_map()


def colour_of(name):
    return np.round(255 * np.array(bone_of(name).colour))


def to_ras(points):
    return np.asarray(points) * [-1, -1, 1]


# --- surfaces: VTK, which reads all four, and 3D Slicer's own reader --------------------------------------------------


def points_and_triangles(polydata):
    from vtk.util.numpy_support import vtk_to_numpy

    points = vtk_to_numpy(polydata.GetPoints().GetData())
    return points, vtk_to_numpy(polydata.GetPolys().GetConnectivityArray()).reshape(-1, 3)


def read_with_vtk(reader, path):
    reader.SetFileName(str(path))
    reader.Update()
    return reader.GetOutput()


@pytest.mark.parametrize("kind", ["stl", "ply"])
def test_one_file_a_bone_in_place(folder, result, kind):
    vtk = pytest.importorskip("vtk")
    assert {path.stem for path in (folder / kind).iterdir()} == set(SOME)
    for name in (RIB, "vertebra_T4", "costal_cartilage_left_4"):
        reader = {"stl": vtk.vtkSTLReader, "ply": vtk.vtkPLYReader}[kind]()
        points, triangles = points_and_triangles(read_with_vtk(reader, folder / kind / f"{name}.{kind}"))
        read = trimesh.Trimesh(to_ras(points), triangles)
        assert len(read.faces) == len(result.bones[name].faces)
        np.testing.assert_allclose(read.bounds, result.bones[name].bounds, atol=1e-3)
        # closed, and not inside out
        assert read.volume == pytest.approx(result.bones[name].volume, rel=1e-3) and read.volume > 0


def test_an_stl_says_its_name_frame_and_colour(folder):
    content = (folder / "stl" / f"{RIB}.stl").read_bytes()
    assert content.startswith(RIB.encode()) and b"SPACE=LPS" in content[:80] and not content.startswith(b"solid")
    red, green, blue, opaque = content.partition(b"COLOR=")[2][:4]
    np.testing.assert_array_equal([red, green, blue], colour_of(RIB))
    assert opaque == 255
    packed = int.from_bytes(content[84 + 48 : 84 + 50], "little")
    shades = [(packed >> 10) & 31, (packed >> 5) & 31, packed & 31]
    np.testing.assert_array_equal(shades, colour_of(RIB) // 8)
    assert len(content) == 84 + 50 * int.from_bytes(content[80:84], "little")


def test_a_ply_has_colours_and_what_each_vertex_carries(folder, result):
    meshio = pytest.importorskip("meshio")
    read = meshio.read(folder / "ply" / f"{RIB}.ply")
    np.testing.assert_allclose(to_ras(read.points), result.bones[RIB].vertices, atol=1e-3)
    for name, values in result.bones[RIB].vertex_attributes.items():
        np.testing.assert_allclose(read.point_data[name].ravel(), values)
    # meshio takes unsigned bytes for signed ones
    found = [np.unique(read.point_data[channel].astype(np.uint8)) for channel in ("red", "green", "blue")]
    np.testing.assert_array_equal(found, colour_of(RIB)[:, None])
    assert f"comment bone {RIB}\n".encode() in (folder / "ply" / f"{RIB}.ply").read_bytes()[:600]


def test_an_obj_has_an_object_and_a_material_a_bone(folder, result):
    scene = trimesh.load_scene(folder / "bones.obj", split_objects=True, group_material=False)
    colours = dict(re.findall(r"newmtl (\S+)\nKd ([\d. ]+)\n", (folder / "bones.mtl").read_text(encoding="ascii")))
    text = (folder / "bones.obj").read_text(encoding="ascii")
    for mark in ("o", "usemtl"):
        assert re.findall(rf"^{mark} (\S+)$", text, re.MULTILINE) == list(SOME)
    for name in SOME:
        np.testing.assert_allclose([float(part) for part in colours[name].split()], bone_of(name).colour, atol=0.003)
    total = sum(mesh.volume for mesh in scene.geometry.values())
    assert total == pytest.approx(sum(mesh.volume for mesh in result.bones.values()), rel=1e-4)

    vtk = pytest.importorskip("vtk")
    points, triangles = points_and_triangles(read_with_vtk(vtk.vtkOBJReader(), folder / "bones.obj"))
    assert len(triangles) == sum(len(mesh.faces) for mesh in result.bones.values())
    together = np.concatenate([mesh.vertices for mesh in result.bones.values()])
    np.testing.assert_allclose(to_ras(points), together, atol=1e-3)


def test_a_vtp_names_colours_and_carries(folder, result):
    vtk = pytest.importorskip("vtk")
    from vtk.util.numpy_support import vtk_to_numpy

    read = read_with_vtk(vtk.vtkXMLPolyDataReader(), folder / "bones.vtp")
    about, cells = read.GetFieldData(), read.GetCellData()
    names = about.GetAbstractArray("bones")
    assert [names.GetValue(n) for n in range(names.GetNumberOfValues())] == list(SOME)
    assert about.GetAbstractArray("SPACE").GetValue(0) == "LPS"
    points, triangles = points_and_triangles(read)
    number = vtk_to_numpy(cells.GetArray("bone"))
    mine = triangles[number == SOME.index(RIB)]
    np.testing.assert_allclose(
        to_ras(points[mine]).reshape(-1, 3), result.bones[RIB].triangles.reshape(-1, 3), atol=1e-3
    )
    assert set(vtk_to_numpy(cells.GetArray("label"))[number == SOME.index(RIB)]) == {5}
    assert (vtk_to_numpy(cells.GetScalars())[number == SOME.index(RIB)] == colour_of(RIB)).all()
    errors = np.concatenate([mesh.vertex_attributes["expected_error_mm"] for mesh in result.bones.values()])
    np.testing.assert_allclose(vtk_to_numpy(read.GetPointData().GetArray("expected_error_mm")), errors)


@pytest.mark.parametrize("file", [f"stl/{RIB}.stl", f"ply/{RIB}.ply", "bones.obj", "bones.vtp"])
def test_slicer_puts_a_model_where_it_was(folder, result, file):
    slicer = pytest.importorskip("slicer")
    scene = slicer.vtkMRMLScene()
    model = slicer.vtkMRMLModelNode()
    storage = slicer.vtkMRMLModelStorageNode()
    for node in (model, storage):
        scene.AddNode(node)
    storage.SetFileName(str(folder / file))
    assert storage.ReadData(model)
    bounds = model.GetMesh().GetBounds()
    meshes = [result.bones[RIB]] if "/" in file else list(result.bones.values())
    expected = np.stack([np.min([m.bounds[0] for m in meshes], 0), np.max([m.bounds[1] for m in meshes], 0)], 1)
    np.testing.assert_allclose(bounds, expected.ravel(), atol=1e-2)


# --- voxels -----------------------------------------------------------------------------------------------------------


def centre(array, affine, label):
    """Of the voxels of a label, array [i, j, k] and affine as the library gives them, mm."""
    return affine[:3, :3] @ np.argwhere(array == label).mean(axis=0) + affine[:3, 3]


def assert_labelled(array, to_ras_matrix, result):
    """Every bone lies where its mesh does, and is as large."""
    for name in ("rib_left_5", "rib_right_5", "sternum", "vertebra_T7"):
        mesh, label = result.bones[name], bone_of(name).label
        np.testing.assert_allclose(centre(array, to_ras_matrix, label), mesh.center_mass, atol=_CENTRE_MM)
        assert (array == label).sum() * _VOXEL_MM**3 == pytest.approx(mesh.volume, rel=0.1)
    assert set(np.unique(array)) == {0, *(bone_of(name).label for name in result.bones)}


def test_a_nifti_by_nibabel(folder, result):
    nibabel = pytest.importorskip("nibabel")
    image = nibabel.load(folder / "labels.nii.gz")
    assert image.header.get_xyzt_units()[0] == "mm" and np.asarray(image.dataobj).dtype == np.uint8
    assert_labelled(np.asarray(image.dataobj), image.affine, result)  # nibabel speaks RAS


def test_a_nrrd_by_pynrrd(folder, result):
    nrrd = pytest.importorskip("nrrd")
    array, header = nrrd.read(str(folder / "labels.nrrd"))
    assert header["space"] == "left-posterior-superior"
    to_lps = np.eye(4)
    to_lps[:3, :3], to_lps[:3, 3] = header["space directions"].T, header["space origin"]
    assert_labelled(array, np.diag([-1, -1, 1, 1]) @ to_lps, result)


def test_the_legend_names_and_colours_every_label(folder, result):
    rows = [line for line in (folder / "labels.txt").read_text(encoding="utf-8").splitlines() if line[0].isdigit()]
    listed = {int(row.split()[0]): (row.split()[1:4], row.partition('"')[2].rstrip('"')) for row in rows}
    assert set(listed) == {0, *(bone_of(name).label for name in result.bones)}
    colour, words = listed[bone_of(RIB).label]
    assert words == "Left fifth rib" and [int(part) for part in colour] == list(colour_of(RIB))


def test_a_slicer_segmentation_by_slicer(folder, result):
    slicer = pytest.importorskip("slicer")
    scene = slicer.vtkMRMLScene()
    node, storage = slicer.vtkMRMLSegmentationNode(), slicer.vtkMRMLSegmentationStorageNode()
    for each in (node, storage):
        scene.AddNode(each)
    storage.SetFileName(str(folder / "bones.seg.nrrd"))
    assert storage.ReadData(node)
    segmentation = node.GetSegmentation()
    expected = {bone_of(name).name for name in result.bones}
    assert {segmentation.GetNthSegmentID(n) for n in range(segmentation.GetNumberOfSegments())} == expected
    segment = segmentation.GetSegment(RIB)
    assert segment.GetName() == "Left fifth rib"
    np.testing.assert_allclose(segment.GetColor(), bone_of(RIB).colour, atol=1e-3)
    entry = segment.GetTerminology()
    assert "SCT^15339008^Fifth rib" in entry and "SCT^7771000^Left" in entry and "SCT^123037004" in entry
    bounds = segment.GetRepresentation("Binary labelmap").GetBounds()
    assert bounds[1] > bounds[0]  # the layer that all segments share


def test_a_slicer_segmentation_by_pynrrd(folder, result):
    nrrd = pytest.importorskip("nrrd")
    array, header = nrrd.read(str(folder / "bones.seg.nrrd"))
    to_lps = np.eye(4)
    to_lps[:3, :3], to_lps[:3, 3] = header["space directions"].T, header["space origin"]
    assert_labelled(array, np.diag([-1, -1, 1, 1]) @ to_lps, result)
    number = next(n for n in range(99) if header[f"Segment{n}_ID"] == RIB)
    i0, i1, j0, j1, k0, k1 = map(int, header[f"Segment{number}_Extent"].split())
    found = np.argwhere(array == int(header[f"Segment{number}_LabelValue"]))
    np.testing.assert_array_equal([found.min(axis=0), found.max(axis=0)], [[i0, j0, k0], [i1, j1, k1]])


def dicom_frames(path):
    """Voxels of each segment, LPS mm, from the standard's attributes alone: PS3.3 C.8.20, frame by frame."""
    import pydicom

    dataset = pydicom.dcmread(path)
    shared = dataset.SharedFunctionalGroupsSequence[0]
    directions = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, dtype=float).reshape(2, 3)
    spacing = np.array(shared.PixelMeasuresSequence[0].PixelSpacing, dtype=float)
    size = dataset.Rows * dataset.Columns
    bits = np.unpackbits(np.frombuffer(dataset.PixelData, np.uint8), bitorder="little")
    places = {}
    for n, frame in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        rows, columns = np.nonzero(bits[n * size : (n + 1) * size].reshape(dataset.Rows, dataset.Columns))
        corner = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
        along = columns[:, None] * directions[0] * spacing[1] + rows[:, None] * directions[1] * spacing[0]
        number = frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        places.setdefault(number, []).append(corner + along)
    return dataset, {number: np.concatenate(found) for number, found in places.items()}


def test_a_dicom_segmentation_by_pydicom(folder, result, labels):
    dataset, places = dicom_frames(folder / "bones.dcm")
    assert dataset.Modality == "SEG" and dataset.SegmentationType == "BINARY"
    segments = {segment.SegmentLabel: segment for segment in dataset.SegmentSequence}
    assert len(segments) == len({bone_of(name).label for name in result.bones})
    rib = segments["Left fifth rib"]
    kind = rib.SegmentedPropertyTypeCodeSequence[0]
    assert (kind.CodingSchemeDesignator, kind.CodeValue) == ("SCT", "15339008")
    assert kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeValue == "7771000"
    assert rib.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "123037004"
    assert rib.RecommendedDisplayCIELabValue
    for title, name in (("Left fifth rib", "rib_left_5"), ("Sternum", "sternum"), ("T7 vertebra", "vertebra_T7")):
        found = to_ras(places[segments[title].SegmentNumber])
        np.testing.assert_allclose(found.mean(axis=0), result.bones[name].center_mass, atol=_CENTRE_MM)
        assert len(found) == np.count_nonzero(labels.array == bone_of(name).label)


def test_a_dicom_segmentation_names_nobody_and_refers_to_nothing(folder):
    import pydicom

    dataset = pydicom.dcmread(folder / "bones.dcm", stop_before_pixels=True)
    assert not dataset.PatientName and not dataset.PatientID and not dataset.PatientBirthDate
    referred = [element for element in dataset.iterall() if element.keyword == "ReferencedSOPInstanceUID"]
    assert not referred
    assert not (dataset.StudyDate or dataset.StudyTime or dataset.AccessionNumber)


def test_a_dicom_segmentation_by_its_validator(folder):
    if not shutil.which("dciodvfy"):
        pytest.skip("needs dciodvfy (apt install dicom3tools)")
    said = subprocess.run(["dciodvfy", str(folder / "bones.dcm")], capture_output=True, text=True)
    assert "Error" not in said.stderr + said.stdout and "Segmentation" in said.stderr + said.stdout


@pytest.mark.parametrize("file", ["bones.dcm", "bones.seg.nrrd", "labels.nrrd", "labels.nii.gz"])
def test_x2br_reads_its_own(folder, labels, file):
    ct = Volume(np.where(labels.array > 0, 500, -200).astype(np.int16), labels.ijk_to_ras)
    np.testing.assert_array_equal(read_bone_labels(folder / file, ct).array, labels.array)


# --- whole or not at all ----------------------------------------------------------------------------------------------


def test_without_names_there_is_one_surface_and_no_label_map(result, tmp_path):
    unnamed = without_names(result)
    export(unnamed, tmp_path / "out", ["stl", "obj", "vtp", "ply"])
    assert [path.name for path in (tmp_path / "out" / "stl").iterdir()] == ["bones.stl"]
    with pytest.raises(InputError, match="no named bones"):
        export(unnamed, tmp_path / "labels", ["stl", "nrrd"])
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_failure_leaves_what_was_there(result, tmp_path, monkeypatch):
    out = tmp_path / "out"
    export(result, out, ["obj"])
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def full(*arguments, **settings):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("X2BRLogic.export.surfaces.np.savetxt", full)
    with pytest.raises(InputError, match="No space left"):
        export(result, out, ["stl", "obj"])
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_command_knows_every_format():
    from X2BRLogic.cli.export import FORMATS as OFFERED

    assert tuple(FORMATS) == OFFERED


def test_an_unknown_format_is_one_sentence(result, tmp_path):
    with pytest.raises(InputError, match="unknown format 'step'"):
        export(result, tmp_path / "out", ["stl", "step"])
    assert not list(tmp_path.iterdir())


def test_the_command_exports_a_saved_result(result, tmp_path, capsys):
    result.save(tmp_path / "result")
    words = ["export", str(tmp_path / "result"), "--format", "ply", "nrrd", "--out", str(tmp_path / "out"), "--json"]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert {path.rpartition("/")[2] for path in told["written"]} == {"ply", "labels.nrrd", "labels.txt"}
    assert len(list((tmp_path / "out" / "ply").iterdir())) == len(SOME)
    assert main(["export", str(tmp_path), "--format", "stl", "--out", str(tmp_path / "none")]) == 2
    assert "summary.json" in capsys.readouterr().err and not (tmp_path / "none").exists()


def test_every_bone_has_a_code_and_a_side_where_it_needs_one():
    for bone in anatomy.BONES:
        assert bone.code.isdigit() and (bone.side is None) == (bone.side_code is None)
