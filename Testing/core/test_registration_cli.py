"""``x2br register``: files in, files out, and its options."""

from __future__ import annotations

import json
from dataclasses import fields

import numpy as np
import pytest
import trimesh

from X2BRLogic.cli.main import main, parser
from X2BRLogic.registration import DEFAULTS, METHODS, Settings
from X2BRLogic.registration.files import read_shape


@pytest.fixture
def shapes(tmp_path):
    """Two ellipsoids as PLY files."""
    for name, scale in (("moving", (30, 20, 25)), ("fixed", (33, 18, 27))):
        trimesh.creation.icosphere(subdivisions=2).apply_scale(scale).export(tmp_path / f"{name}.ply")
    return tmp_path / "moving.ply", tmp_path / "fixed.ply"


def run(*arguments) -> int:
    return main(["register", *map(str, arguments)])


def test_a_mesh_comes_back_with_its_topology_and_a_summary(shapes, tmp_path, capsys):
    out = tmp_path / "out.ply"
    assert run(*shapes, "--out", out, "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    moving, deformed = read_shape(shapes[0]), read_shape(out)
    np.testing.assert_array_equal(deformed.faces, moving.faces)
    assert np.abs(deformed.vertices - moving.vertices).max() > 1.0
    summary = json.loads((tmp_path / "out.json").read_text())
    assert summary == {key: value for key, value in printed.items() if key != "out"}
    assert summary["method"] == "gbcpd++" and summary["reason"] == "converged"
    assert summary["distance_after_mm"] < 0.5 * summary["distance_before_mm"]
    assert summary["settings"]["beta"] == Settings().beta and summary["settings"]["kappa"] is None
    assert b"float uncertainty" in out.read_bytes()[:400]


def test_the_programs_own_letters_mean_its_options(shapes, tmp_path):
    letters = (
        "-w0.1 -b1.5 -l30 -g3 -k7 -K40 -J50 -c1e-5 -n90 -N5 -r3 -d6 -e0.2 -f0.3 -z1e-2 -Tsrn -ux --no-local --tau 0.2"
    )
    assert run(*shapes, "--method", "gbcpd", "--out", tmp_path / "out.stl", *letters.split()) == 0
    expected = Settings(
        omega=0.1, beta=1.5, lambda_=30, gamma=3, kappa=7, nystrom_g=40, nystrom_p=50, tolerance=1e-5, iterations=90,
        minimum_iterations=5, seed=3, local_sigmas=6, local_radius=0.2, local_below=0.3, epsilon=1e-2,
        transformation="srn", normalise="x", local=False, tau=0.2,
    )  # fmt: skip
    told = json.loads((tmp_path / "out.json").read_text())["settings"]
    assert told == {field.name: getattr(expected, field.name) for field in fields(expected)}


def test_each_set_may_be_thinned_its_own_way(shapes, tmp_path):
    thin = ("-DX,100,0.05", "--downsample", "y,80,0.1")
    assert run(*shapes, "--method", "bcpd++", "--out", tmp_path / "out.obj", *thin) == 0
    assert json.loads((tmp_path / "out.json").read_text())["settings"]["downsample"] == ["X,100,0.05", "y,80,0.1"]
    assert len(read_shape(tmp_path / "out.obj").vertices) == 162


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".npy", ".ply"])
def test_clouds_of_points_come_back_as_points(shapes, tmp_path, suffix):
    points = read_shape(shapes[0]).vertices
    if suffix == ".npy":
        np.save(tmp_path / "cloud.npy", points)
    elif suffix == ".ply":
        trimesh.PointCloud(points).export(tmp_path / "cloud.ply")
    else:
        np.savetxt(tmp_path / f"cloud{suffix}", points, delimiter="," if suffix == ".csv" else "\t", header="x y z")
    out = tmp_path / f"out{suffix}"
    assert run(tmp_path / f"cloud{suffix}", shapes[1], "--method", "cpd", "--out", out) == 0
    assert read_shape(out).shape == points.shape


def test_an_stl_file_is_welded(shapes, tmp_path):
    read_shape(shapes[0]).export(tmp_path / "moving.stl")
    assert len(read_shape(tmp_path / "moving.stl").vertices) == 162


def test_a_mesh_in_lps_is_turned(shapes, tmp_path):
    mesh = trimesh.creation.box((1, 2, 3)).apply_translation([10, 20, 30])
    data = mesh.export(file_type="ply").replace(b"comment ", b"comment SPACE=LPS ", 1)
    (tmp_path / "lps.ply").write_bytes(data)
    np.testing.assert_allclose(read_shape(tmp_path / "lps.ply").vertices.mean(axis=0), [-10, -20, 30], atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--method", "gbcpd", "--downsample", "B,100,0.02"], "--downsample is for"),
        (["--method", "ndp", "--omega", "0.1"], "--omega means nothing to ndp"),
        (["--omega", "1"], "omega is 1.0"),
        (["--nystrom-g", "0"], "landmarks"),
        (["--downsample", "100,5,5,5"], "is not understood"),
        (["--method", "icp"], "invalid choice"),
        (["--seed", "-1"], "seed"),
    ],
)
def test_options_that_do_not_fit_are_told_and_nothing_is_written(shapes, tmp_path, capsys, arguments, words):
    assert run(*shapes, "--out", tmp_path / "out.ply", *arguments) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("x2br: error: ") and words in error
    assert not (tmp_path / "out.ply").exists() and not (tmp_path / "out.json").exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("broken.ply", b"ply\nformat binary_little_endian 1.0\nelement vertex 900\nproperty float x\nend_header\n"),
        ("broken.stl", b"solid nothing"),
        ("broken.obj", b"v 1 2 three\n"),
        ("broken.npy", b"\x93NUMPY"),
        ("words.txt", b"a rib\nand another\n"),
        ("ragged.txt", b"1 2 3\n4 5\n"),
        ("two.txt", b"1 2 3\n4 5 6\n"),
        ("nan.txt", b"1 2 3\n4 5 6\n7 8 9\n1 1 1\nnan 2 2\n"),
        ("empty.txt", b""),
        ("scan.dcm", b"DICM"),
    ],
)
def test_broken_files_are_told_in_one_line(shapes, tmp_path, capsys, name, content):
    (tmp_path / name).write_bytes(content)
    assert run(tmp_path / name, shapes[1], "--out", tmp_path / "out.npy") == 2
    assert run(shapes[0], tmp_path / name, "--out", tmp_path / "out.ply") == 2
    for line in capsys.readouterr().err.strip().splitlines():
        assert line.startswith("x2br: error: ") and "Traceback" not in line


def test_an_output_that_cannot_be_is_told_before_the_work(shapes, tmp_path, capsys):
    assert run(*shapes, "--out", tmp_path / "out.docx") == 2
    assert run(*shapes, "--out", tmp_path / "nowhere" / "out.ply") == 2
    assert "0%" not in capsys.readouterr().err


def test_the_help_names_every_method_and_the_presets(capsys):
    with pytest.raises(SystemExit):
        parser().parse_args(["register", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert all(method in text for method in METHODS)
    preset, cpd = Settings(), DEFAULTS["cpd"]
    assert (
        f"-w {preset.omega:g} -b {preset.beta:g} -l {preset.lambda_:g} -g {preset.gamma:g} --tau {preset.tau:g} "
        f"-u {preset.normalise} -T {preset.transformation} -K {preset.nystrom_g} -J {preset.nystrom_p} -p "
        f"-D {preset.downsample} -c 1e-6 -n {preset.iterations}"
    ) in text
    assert f"-w {cpd.omega:g} -b {cpd.beta:g} -l {cpd.lambda_:g} -T n -K 0 -J 0 -c 1e-5 -n {cpd.iterations}" in text
    assert preset.tolerance == 1e-6 and cpd.tolerance == 1e-5 and DEFAULTS["ndp"].levels == 9
