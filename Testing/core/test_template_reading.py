"""Skeletons that a user brings: a folder of named meshes, a SKEL model."""

from __future__ import annotations

import pickle
from itertools import pairwise

import numpy as np
import pytest
import trimesh
from scipy import sparse

from X2BRLogic.errors import InputError
from X2BRLogic.surface import is_manifold, simplify
from X2BRLogic.template import load_template, read_skeleton
from X2BRLogic.template.folder import canonical_name
from X2BRLogic.template.parts import NAMES, SPINE, side_of
from X2BRLogic.template.skel_model import PARTS

FEW = ("rib_left_4", "rib_right_4", "rib_left_9", "rib_right_9", "sternum", "vertebra_T3", "vertebra_T4", "vertebra_T9")


@pytest.fixture(scope="module")
def coarse():
    """The template with few faces, so that files are small."""
    skeleton = load_template()
    return {name: simplify(mesh, 300) for name, mesh in skeleton.bones.items()}


def write_folder(folder, bones, suffix=".stl"):
    folder.mkdir(exist_ok=True)
    for name, mesh in bones.items():
        mesh.export(folder / f"{name}{suffix}")
    return folder


# --- a folder of meshes ---------------------------------------------------------------------------------------------


def test_a_published_atlas_is_read_in_ras(shared_data):
    skeleton = read_skeleton(shared_data / "template_bodyparts3d")
    assert len(skeleton.bones) == 65  # the sternum's three files are one bone
    assert not skeleton.notes
    assert all(is_manifold(mesh) for mesh in skeleton.bones.values())
    centre = {name: mesh.center_mass for name, mesh in skeleton.bones.items()}
    for n in range(1, 13):
        assert centre[f"rib_left_{n}"][0] < centre[f"vertebra_T{n}"][0] < centre[f"rib_right_{n}"][0]
        assert centre["sternum"][1] > centre[f"vertebra_T{n}"][1] + 60
    assert (np.diff([centre[f"vertebra_T{n}"][2] for n in range(1, 13)]) < -10).all()
    meetings = {frozenset(joint.parts) for joint in skeleton.joints}
    assert frozenset(("rib_left_3", "vertebra_T3")) in meetings
    assert frozenset(("costal_cartilage_right_4", "sternum")) in meetings
    assert frozenset(("costal_cartilage_right_9", "costal_cartilage_right_8")) not in meetings  # not in the source
    assert skeleton.bones["rib_left_6"].volume / 1000 == pytest.approx(31.54, rel=0.01)  # bones.csv
    assert skeleton.bones["sternum"].volume / 1000 == pytest.approx(59.79 + 38.47 + 2.51, rel=0.03)


@pytest.mark.parametrize("unit", [1.0, 0.1, 0.001])
@pytest.mark.parametrize(
    "turn",
    [
        np.eye(3),
        np.diag([-1.0, -1, 1]),  # LPS
        np.array([[-1.0, 0, 0], [0, 0, 1], [0, 1, 0]]),  # y up, front toward the viewer
        np.diag([-1.0, 1, 1]),  # left-handed
    ],
)
def test_axes_and_unit_are_found_from_the_bones(tmp_path, coarse, unit, turn):
    matrix = np.eye(4)
    matrix[:3, :3] = unit * turn
    turned = {name: coarse[name].copy().apply_transform(matrix) for name in FEW}
    found = read_skeleton(write_folder(tmp_path / "bones", turned, ".ply"))
    for name in FEW:
        np.testing.assert_allclose(found.bones[name].bounds, coarse[name].bounds, atol=0.01)
        assert found.bones[name].volume > 0


def test_what_slicer_writes_into_the_header_wins(tmp_path, coarse):
    bone = coarse["vertebra_T4"].copy().apply_transform(np.diag([-1.0, -1, 1, 1]))
    data = bytearray(bone.export(file_type="stl"))
    data[:9] = b"SPACE=LPS"
    (tmp_path / "T4.stl").write_bytes(data)
    found = read_skeleton(tmp_path)
    np.testing.assert_allclose(found.bones["vertebra_T4"].bounds, coarse["vertebra_T4"].bounds, atol=0.01)


def test_bones_that_do_not_tell_their_axes_need_them_told(tmp_path, coarse):
    folder = write_folder(tmp_path / "bones", {"vertebra_T4": coarse["vertebra_T4"]})
    with pytest.raises(InputError, match="RAS or LPS"):
        read_skeleton(folder)
    found = read_skeleton(folder, axes="LPS")
    np.testing.assert_allclose(
        found.bones["vertebra_T4"].center_mass, coarse["vertebra_T4"].center_mass * [-1, -1, 1], atol=0.01
    )
    with pytest.raises(InputError, match="axes"):
        read_skeleton(folder, axes="XYZ")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("rib_left_4", "rib_left_4"),
        ("left_rib_4", "rib_left_4"),
        ("Rib R 11", "rib_right_11"),
        ("rib4_l", "rib_left_4"),
        ("vertebrae_T4", "vertebra_T4"),
        ("T12", "vertebra_T12"),
        ("l3_vertebra", "vertebra_L3"),
        ("sternum_manubrium", "sternum"),
        ("Xiphoid", "sternum"),
        ("costal_cartilage_left_10", "costal_cartilage_left_10"),
        ("left costal cartilage 2", "costal_cartilage_left_2"),
        ("clavicula", None),
        ("clavicle_right", "clavicle_right"),
        ("rib_left_13", None),
        ("T13", None),
        ("heart", None),
        ("", None),
    ],
)
def test_names_of_other_programs(text, name):
    assert canonical_name(text) == name


def test_every_name_is_its_own():
    assert all(canonical_name(name) == name for name in NAMES)


def test_a_list_of_names_beside_the_files(tmp_path, coarse):
    folder = write_folder(tmp_path / "bones", {f"mesh{n}": coarse[name] for n, name in enumerate(FEW)})
    rows = "".join(f"mesh{n}.stl,{name}\n" for n, name in enumerate(FEW))
    (folder / "bones.csv").write_text("file,bone\n" + rows)
    assert set(read_skeleton(folder).bones) == set(FEW)
    (folder / "bones.csv").write_text("name;bone\n1;2\n")
    with pytest.raises(InputError, match=r"bones\.csv"):
        read_skeleton(folder)


def test_files_that_are_no_bones(tmp_path, coarse):
    folder = write_folder(tmp_path / "bones", {name: coarse[name] for name in FEW} | {"heart": coarse["sternum"]})
    (folder / "notes.txt").write_text("hello")
    skeleton = read_skeleton(folder)
    assert set(skeleton.bones) == set(FEW)
    (note,) = skeleton.notes
    assert "heart.stl" in note


@pytest.mark.parametrize("content", [b"", b"solid nothing\nendsolid\n", b"\x01" * 1000])
def test_a_damaged_mesh_is_one_clear_sentence(tmp_path, coarse, content):
    folder = write_folder(tmp_path / "bones", {name: coarse[name] for name in FEW})
    (folder / "sternum.stl").write_bytes(content)
    with pytest.raises(InputError, match=r"sternum\.stl"):
        read_skeleton(folder)


def test_an_open_mesh_is_closed(tmp_path, coarse):
    torn = trimesh.Trimesh(coarse["rib_left_4"].vertices, coarse["rib_left_4"].faces[3:], process=False)
    folder = write_folder(tmp_path / "bones", {name: coarse[name] for name in FEW} | {"rib_left_4": torn})
    assert is_manifold(read_skeleton(folder).bones["rib_left_4"])


def test_what_is_no_skeleton(tmp_path):
    with pytest.raises(InputError, match="named after a bone"):
        read_skeleton(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        read_skeleton(tmp_path / "nothing")
    (tmp_path / "scan.txt").write_text("hello")
    with pytest.raises(InputError, match="no skeleton"):
        read_skeleton(tmp_path / "scan.txt")


def test_a_mouse_is_no_thorax(tmp_path, coarse):
    tiny = {name: coarse[name].copy().apply_scale(1e-4) for name in FEW}
    with pytest.raises(InputError, match="unit"):
        read_skeleton(write_folder(tmp_path / "bones", tiny, ".ply"))


# --- SKEL -----------------------------------------------------------------------------------------------------------


def skel_data(bones) -> dict:
    """The template laid out as SKEL stores its skeleton: one mesh in metres, y up, weights of 24 parts."""
    world = np.array([[-1e-3, 0, 0, 0], [0, 0, 1e-3, 0], [0, 1e-3, 0, 0], [0, 0, 0, 1]])
    part = {name: "lumbar_body" if name.startswith("vertebra_L") else "thorax" for name in bones}
    part["vertebra_C7"] = "head"
    mesh = trimesh.util.concatenate([bone.copy().apply_transform(world) for bone in bones.values()])
    column = np.concatenate([np.full(len(bone.vertices), PARTS.index(part[name])) for name, bone in bones.items()])
    weights = sparse.csc_matrix((np.ones(len(column)), (np.arange(len(column)), column)), (len(column), len(PARTS)))
    return {
        "skel_template_v": np.array(mesh.vertices),
        "skel_template_f": np.array(mesh.faces),
        "skel_weights": weights,
        "joints_name": list(PARTS),
        "shapedirs": np.zeros((4, 3, 2)),
    }


def dumped(path, data, protocol=4):
    path.write_bytes(pickle.dumps(data, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_skel_model_is_taken_apart_and_named(tmp_path, coarse, protocol):
    skeleton = read_skeleton(dumped(tmp_path / "skel_male.pkl", skel_data(coarse), protocol))
    wanted = set(coarse) - {"vertebra_C7"}
    assert set(skeleton.bones) == wanted
    for name in wanted:
        np.testing.assert_allclose(skeleton.bones[name].bounds, coarse[name].bounds, atol=0.01, err_msg=name)
    assert skeleton.joints and not skeleton.notes


def test_the_same_as_npz(tmp_path, coarse):
    data = skel_data(coarse)
    data["skel_weights"] = data["skel_weights"].toarray()
    data.pop("joints_name")
    np.savez(tmp_path / "skel.npz", **data)
    assert len(read_skeleton(tmp_path / "skel.npz").bones) == len(coarse) - 1


def test_a_fused_spine_is_left_out_and_said(tmp_path, coarse):
    spine = [coarse[name] for name in SPINE[1:]]
    rods = [trimesh.creation.cylinder(8, segment=[a.center_mass, b.center_mass]) for a, b in pairwise(spine)]
    column = trimesh.boolean.union([*spine, *rods], engine="manifold")
    bones = {name: mesh for name, mesh in coarse.items() if not name.startswith("vertebra")} | {"vertebra_T6": column}
    skeleton = read_skeleton(dumped(tmp_path / "skel.pkl", skel_data(bones)))
    assert set(skeleton.bones) == {name for name in bones if side_of(name) or name == "sternum"}
    assert "vertebrae are left out" in skeleton.notes[0]


def test_fused_ribs_cannot_be_named(tmp_path, coarse):
    bones = {name: mesh for name, mesh in coarse.items() if name != "rib_left_6"}
    with pytest.raises(InputError, match="11 separate piece"):
        read_skeleton(dumped(tmp_path / "skel.pkl", skel_data(bones)))


class Evil:
    """What a pickle can do to a reader that trusts it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_pickle_cannot_run_code(tmp_path, coarse):
    trap = tmp_path / "written_by_the_pickle"
    data = skel_data(coarse) | {"skel_template_v": Evil(trap)}
    path = dumped(tmp_path / "skel.pkl", data)
    with pytest.raises(InputError, match="does not read"):
        read_skeleton(path)
    assert not trap.exists()


@pytest.mark.parametrize(
    "attack",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"cnumpy.f2py\nrun_main\n(tR.",
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cnumpy.core.multiarray\nfromfile\n(S'x'\ntR.",
        b"c_codecs\nencode\n(S'x'\nS'zlib'\ntR.",
    ],
)
def test_nothing_but_arrays_is_let_through(tmp_path, attack):
    (tmp_path / "skel.pkl").write_bytes(attack)
    with pytest.raises(InputError, match="does not read"):
        read_skeleton(tmp_path / "skel.pkl")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda data: data.pop("skel_weights"), "skel_weights"),
        (lambda data: data.update(skel_template_v=np.zeros((3, 3))), "fit each other"),
        (lambda data: data.update(skel_template_f=data["skel_template_f"] + 10**6), "fit each other"),
        (lambda data: data.update(skel_template_v=np.full_like(data["skel_template_v"], np.nan)), "fit each other"),
        (lambda data: data.update(skel_template_v="vertices"), "numbers"),
    ],
)
def test_a_model_that_lacks_something(tmp_path, coarse, change, what):
    data = skel_data(coarse)
    change(data)
    with pytest.raises(InputError, match=what):
        read_skeleton(dumped(tmp_path / "skel.pkl", data))


@pytest.mark.parametrize("name", ["skel.pkl", "skel.npz"])
@pytest.mark.parametrize("content", [b"PK\x03\x04", b"hello", pickle.dumps([1, 2])])
def test_a_file_that_is_no_model(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError):
        read_skeleton(tmp_path / name)


def test_an_npz_with_objects_is_refused(tmp_path):
    np.savez(tmp_path / "skel.npz", skel_template_v=np.array([{}], dtype=object))
    with pytest.raises(InputError, match="plain arrays"):
        read_skeleton(tmp_path / "skel.npz")
