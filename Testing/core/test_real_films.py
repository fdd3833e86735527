"""Measures on films without a truth, and the pages of the benchmarks that use them."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from skimage.morphology import convex_hull_image

from X2BRLogic.bench import films_report, fitness_report
from X2BRLogic.bench.fitness import other_picture, patients
from X2BRLogic.bench.other_pictures import from_folder, from_packages, made_here, usable
from X2BRLogic.cli import main
from X2BRLogic.evaluation.real_films import disturbed, edge_strength, stability, surface_distance, symmetry
from X2BRLogic.geometry import XRayGeometry
from X2BRLogic.radiograph import radiograph_from_array


def rib(x: float, length: float = 120.0, radius: float = 6.0) -> trimesh.Trimesh:
    """A rod from back to front, at `x` mm to the right."""
    rod = trimesh.creation.capsule(length, radius, count=[16, 16])
    rod.apply_translation([0, 0, -length / 2])
    rod.apply_transform(trimesh.transformations.rotation_matrix(np.deg2rad(60), [0, 1, 0]))
    rod.apply_translation([x, 0, 0])
    return rod.subdivide_to_size(8.0)  # a centre line goes by vertices


def _drawn(places: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    image = np.zeros(shape, dtype=bool)
    column, row = np.round(places).astype(int).T
    image[row, column] = True
    return image


@pytest.fixture
def film():
    """A film of one rib's shadow, and the rib."""
    geometry = XRayGeometry(shape=(256, 256), spacing=(1.8, 1.8))
    mesh = rib(40.0)
    shadow = convex_hull_image(_drawn(geometry.project(mesh.vertices), geometry.shape))
    pixels = np.random.default_rng(0).normal(0, 0.02, geometry.shape) + shadow
    return radiograph_from_array(pixels, "film", geometry=geometry), mesh


def test_equal_ribs_are_symmetric_and_unequal_ones_by_how_much():
    same = symmetry({"rib_left_4": rib(-50), "rib_right_4": rib(50)})
    assert same["rib_volume"] < 0.001 and same["rib_length"] < 0.06  # which end comes first is chance for a rod
    found = symmetry({"rib_left_4": rib(-50, 120), "rib_right_4": rib(50, 200)})
    assert found["rib_length"] == pytest.approx(80 / 172, abs=0.08) and found["rib_volume"] > 0.3
    assert symmetry({"rib_left_4": rib(-50)}) == {"rib_volume": None, "rib_length": None}


def test_an_outline_on_its_shadow_lies_on_an_edge_and_one_beside_does_not(film):
    radiograph, mesh = film
    there = edge_strength({"rib_right_4": mesh}, radiograph)
    beside = mesh.copy()
    beside.apply_translation([-90, 0, 60])
    assert there > 2 > 1.5 > edge_strength({"rib_right_4": beside}, radiograph)
    assert edge_strength({"sternum": mesh}, radiograph) is None


def test_disturbed_films_keep_the_place_of_what_they_show(film):
    radiograph, mesh = film
    point = mesh.vertices[:1]
    for name, changed, offset in disturbed(radiograph):
        column, row = changed.geometry.project(point + offset)[0]
        before = radiograph.geometry.project(point)[0]
        if name == "crop":
            assert changed.pixels.shape < radiograph.pixels.shape
            at = changed.pixels[round(row), round(column)]
            assert at == radiograph.pixels[round(before[1]), round(before[0])]
        else:
            assert np.allclose((column, row), before, atol=0.3)
            assert not np.array_equal(changed.pixels, radiograph.pixels) or name == "shift"


def test_stability_is_the_distance_of_what_moved(film):
    radiograph, mesh = film

    def surface(film):
        """A reconstruction that follows the film's place, and swells when it is noisy."""
        moved = mesh.copy()
        column = film.geometry.principal_point[0] - radiograph.geometry.principal_point[0]
        if film.geometry.shape == radiograph.geometry.shape:
            moved.apply_translation(-column * 1.8 * film.geometry.sod / film.geometry.sid * film.geometry.columns)
        if film.pixels.min() < radiograph.pixels.min() - 0.01:
            moved.apply_scale(1.1)
        return moved

    found = stability(radiograph, surface)
    assert found["crop"] < 0.3 and found["shift"] < 0.3 and found["darker"] < 0.3
    assert surface_distance(mesh, mesh.copy().apply_translation([0, 0, 5])) > 1.5


def test_other_pictures_are_all_kinds_and_each_can_be_looked_at(tmp_path):
    found = [*from_packages(), *made_here()]
    assert {"photograph", "noise", "pattern"} <= {kind for kind, _, _ in found}
    assert all(usable(pixels) and np.isfinite(pixels).all() for _, _, pixels in found) and len(found) > 40
    (tmp_path / "broken.png").write_bytes(b"no picture")
    assert list(from_folder(tmp_path, "hand")) == []
    assert other_picture(("pattern", "blank", np.zeros((99, 99))), print) is None


def test_the_table_of_films_keeps_patients_apart(tmp_path):
    (tmp_path / "films.csv").write_text("file,patient_id,view\na.png,p1,PA\nb.png,p1,AP\n")
    assert patients(tmp_path)["b.png"] == {"file": "b.png", "patient_id": "p1", "view": "AP"}
    assert patients(tmp_path / "nothing") == {}


def chest(film: str, patient: str, upright: float) -> dict:
    ways = [f"--turn {turn}" if turn else "" for turn in (0, 90, 180, 270)]
    ways += [f"{way} --invert".strip() for way in ways]
    seen = dict.fromkeys(ways, 1.0) | {"": upright}
    return {"film": film, "patient": patient, "view": "AP", "seen": seen, "heart": 0.4, "heart_mirrored": -0.3,
            "spacing_of_cassette": 0.9}  # fmt: skip


def test_the_page_of_the_check_counts_verdicts_of_the_test_half(tmp_path):
    films = [chest("a", "p1", 20.0), chest("b", "p2", 22.0), chest("c", "p2", 5.0)]
    others = [{"kind": "noise", "name": "n", "seen": 0.5, "most": 3.0}, {"kind": "slice", "name": "s", "seen": 9.0,
              "most": 9.0}]  # fmt: skip
    result = {"films": films, "others": others, "scale": [], "held_out": "", "machine": {}, "detector": "d"}
    assert fitness_report.auc(np.array([3.0, 2.0]), np.array([1.0, 2.0])) == 0.875
    text = fitness_report.tables(result)
    assert "| chest films of the other half | 2 | 13.5 (22.0) | | 1 | 0 |" in text
    assert "| noise | 1 | 0.5 (0.5) | 1.000 | 1 | 1 |" in text and "| slice | 1 | 9.0 (9.0) | 0.500 | 1 | 0 |" in text
    assert "| turned by 180 | 1 | 0 | 0 | 0 | 1 |" in text and "| as they are | 1 | 0.40 | 0 |" in text
    assert set(fitness_report.write(result, tmp_path / "out")) == {"fitness.md", "fitness.csv"}


def test_the_page_of_real_films_names_those_that_failed(tmp_path):
    row = {"film": "a.png", "status": "done", "view": "AP", "bones": 60, "box_iou": 0.7, "stability": {"crop": 1.0}}
    row["stability"] |= dict.fromkeys(("shift", "darker", "brighter", "noise"), 2.0)
    failed = {"film": "b.png", "status": "failed", "reason": "shows no thorax"}
    result = {"films": [row, failed], "machine": {}, "load_after": None, "model": "0" * 64}
    text = films_report.tables(result)
    assert "1 of 2 films" in text and "b.png: shows no thorax" in text and "0.70 (0.70–0.70)" in text
    films_report.write(result, tmp_path)
    assert (tmp_path / "films.csv").read_text().count("\n") == 3


def test_the_commands_want_folders(tmp_path, capsys):
    file = tmp_path / "film.png"
    file.write_bytes(b"")
    for arguments in (["films", file, "--out", tmp_path / "o"], ["fitness", file], ["fitness", tmp_path / "nothing"]):
        assert main(["bench", *map(str, arguments)]) == 2
        assert "x2br: error:" in capsys.readouterr().err
