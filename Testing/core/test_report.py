"""The report: what is measured, with which uncertainty, and a page that holds it all and harms nobody."""

import base64
import hashlib
import html
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import trimesh
from template_result import template_result, without_names

from X2BRLogic.cli import main
from X2BRLogic.errors import InputError
from X2BRLogic.models import DEFAULT_METHOD, weights_of
from X2BRLogic.report import write_report
from X2BRLogic.report.card import card_of
from X2BRLogic.report.measures import Ruler
from X2BRLogic.report.tables import measured
from X2BRLogic.report.uncertainty import CORRELATION_MM, displaced
from X2BRLogic.results import read_result

LIMIT_BYTES = 8_000_000
NASTY = "<script>window.hacked=1</script>\"&'.png"


@pytest.fixture(scope="module")
def result():
    return template_result()


@pytest.fixture(scope="module")
def page(result, tmp_path_factory):
    path = write_report(template_result(source=NASTY), tmp_path_factory.mktemp("report") / "report.html")
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def saved(result, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "result"
    result.save(folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    return Path(shutil.copytree(saved, tmp_path / "result"))


# --- measures, on shapes whose measures are known -------------------------------------------------------------------


def ball(centre, radius=8.0):
    mesh = trimesh.creation.icosphere(subdivisions=2, radius=radius)
    return trimesh.Trimesh(mesh.vertices + centre, mesh.faces, process=False)


def spine(bend_right=0.0, bend_front=0.0, step=22.0):
    """Twelve balls along a curve whose tangents turn evenly by so many degrees from T1 to T12."""
    part = np.linspace(-0.5, 0.5, 12)
    right, front = (np.tan(np.radians(bend * part)) for bend in (bend_right, bend_front))
    places = np.cumsum(np.stack([right, front, -np.ones(12)], axis=1) * step, axis=0)
    return {f"vertebra_T{n}": ball(place) for n, place in enumerate(places, start=1)}


def measure(bones):
    ruler = Ruler.of(bones)
    return ruler.measure(ruler.rest)


@pytest.mark.parametrize("bend", [0.0, 12.0, -40.0])
def test_the_cobb_angle_of_a_bent_spine(bend):
    found = measure(spine(bend_right=bend))
    assert found["cobb"] == pytest.approx(abs(bend), abs=0.06 * abs(bend) + 0.1)
    assert found["kyphosis"] == pytest.approx(0.0, abs=0.1)
    if bend:
        assert (found["upper"], found["lower"]) == (1, 12)


@pytest.mark.parametrize("bend", [33.0, -20.0])
def test_a_back_that_is_round_to_the_rear_has_kyphosis(bend):
    """The tangent turns from frontwards to rearwards going up; T4 to T12 is 8 of the 11 steps."""
    found = measure(spine(bend_front=bend))
    assert found["kyphosis"] == pytest.approx(bend * 8 / 11, abs=1.5)
    assert found["cobb"] == pytest.approx(0.0, abs=0.1)


def test_the_length_of_a_straight_spine():
    assert measure(spine(step=22.0))["length"] == pytest.approx(11 * 22.0, abs=0.5)


def half_ring(height, radius_right=120.0, radius_front=80.0, thickness=5.0, around=12):
    """Half an ellipse from the spine around the right side: a rib, closed at both ends."""
    turn = np.linspace(0.0, np.pi, 60)
    line = np.stack([radius_right * np.sin(turn), -radius_front * np.cos(turn), np.full(60, height)], axis=1)
    along = np.gradient(line, axis=0)
    across = np.cross(along, [0.0, 0.0, 1.0])
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    angle = np.linspace(0.0, 2 * np.pi, around, endpoint=False)
    circle = np.cos(angle)[:, None] * across[:, None] + np.sin(angle)[:, None] * np.array([0.0, 0.0, 1.0])
    vertices = np.concatenate([(line[:, None] + thickness * circle).reshape(-1, 3), line[[0, -1]]])
    here = np.arange(59 * around)
    beside = here - here % around + (here + 1) % around
    sides = [[here, beside, here + around], [beside, beside + around, here + around]]
    first, last = np.arange(around), np.arange(59 * around, 60 * around)
    caps = [
        [np.full(around, 60 * around), np.roll(first, -1), first],
        [np.full(around, 60 * around + 1), last, np.roll(last, -1)],
    ]
    mesh = trimesh.Trimesh(vertices, np.concatenate([np.stack(part, axis=1) for part in sides + caps]), process=False)
    assert mesh.is_watertight
    return mesh


def test_spacing_width_and_depth_of_half_rings():
    bones = {f"rib_right_{n}": half_ring(-25.0 * n) for n in (4, 5, 6, 7)}
    bones |= {"vertebra_T6": ball([0.0, -80.0, -150.0])}
    found = measure(bones)
    assert found["space right 4"] == pytest.approx(25.0, abs=0.5) == found["space right"]
    assert "space left" not in found and "cobb" not in found
    assert found["breadth T6"] == pytest.approx(125.0, abs=1.0)
    assert found["depth T6"] == pytest.approx(170.0, abs=1.0)


def test_volumes_and_how_they_change():
    bones = {
        "sternum": ball([0, 0, 0], 10.0),
        "rib_left_3": ball([80, 0, 0], 6.0),
        "rib_left_4": ball([80, 0, -40], 6.0),
    }
    ruler = Ruler.of(bones)
    found = ruler.measure(ruler.rest)
    assert found["volume sternum"] == pytest.approx(bones["sternum"].volume / 1000)
    assert found["volume ribs_left"] == pytest.approx((bones["rib_left_3"].volume + bones["rib_left_4"].volume) / 1000)
    larger = ruler.measure({name: (v - v.mean(0)) * 1.01 + v.mean(0) for name, v in ruler.rest.items()})
    assert larger["volume sternum"] == pytest.approx(found["volume sternum"] * 1.03, rel=1e-3)
    moved = ruler.measure({name: v + np.array([5.0, -3.0, 40.0]) for name, v in ruler.rest.items()})
    assert moved["volume sternum"] == pytest.approx(found["volume sternum"], rel=1e-4)


# --- uncertainty ------------------------------------------------------------------------------------------------------


def test_displacements_have_the_size_and_the_reach_that_they_should():
    places = {"a": np.array([[0.0, 0, 0]]), "b": np.array([[0.0, CORRELATION_MM, 0]]), "c": np.array([[900.0, 0, 0]])}
    errors = {"a": np.array([2.0]), "b": np.array([2.0]), "c": np.array([6.0])}
    drawn = list(displaced(places, errors, draws=4000))
    moves = {name: np.array([draw[name][0] - places[name][0] for draw in drawn]) for name in places}
    # the mean absolute displacement across a surface is the expected error
    for name, error in errors.items():
        assert np.abs(moves[name]).mean() == pytest.approx(error[0], rel=0.12)
    along = [np.corrcoef(moves["a"][:, axis], moves["b"][:, axis])[0, 1] for axis in range(3)]
    assert np.mean(along) == pytest.approx(np.exp(-0.5), abs=0.12)
    assert abs(np.corrcoef(moves["a"][:, 0], moves["c"][:, 0])[0, 1]) < 0.25
    for first, second in zip(displaced(places, errors, draws=3), displaced(places, errors, draws=3), strict=True):
        np.testing.assert_array_equal(first["b"], second["b"])


def test_uncertainty_grows_with_the_errors(result):
    def deviations(error):
        tables = measured(template_result(error=error))
        spread = re.search(r"± ([\d.]+)", next(row.value for row in tables.rows["Spine"] if "Kyphosis" in row.name))
        return float(spread[1]), tables.volumes["sternum"].deviation

    small, large = deviations(1.0), deviations(4.0)
    assert small[0] > 0.1 and large[0] == pytest.approx(4 * small[0], rel=0.25)
    assert small[1] > 0.0 and large[1] == pytest.approx(4 * small[1], rel=0.05)


def test_without_errors_no_uncertainty_is_told(result):
    bare = {name: trimesh.Trimesh(mesh.vertices, mesh.faces, process=False) for name, mesh in result.bones.items()}
    tables = measured(type(result)(result.radiograph, result.mesh, bare, result.boxes, result.summary))
    assert not [row for rows in tables.rows.values() for row in rows if "±" in row.value]


def test_counts_say_how_many_a_box_placed(result):
    rows = {row.name: row for row in measured(result).rows["Bones"]}
    assert rows["Left ribs"].value == "3" and rows["Left ribs"].note.startswith("4 to 6; 3 of them")
    assert rows["Vertebrae"].value == "12" and "T1 to T12; 0 of them" in rows["Vertebrae"].note


# --- the page ---------------------------------------------------------------------------------------------------------


def test_the_page_of_a_whole_thorax_is_small(tmp_path):
    path = write_report(template_result(names=None), tmp_path / "report.html")
    assert 500_000 < path.stat().st_size < LIMIT_BYTES
    assert path.read_text(encoding="utf-8").count("<tr data-bone=") == len(template_result(names=None).bones)


def test_nothing_is_fetched_and_only_our_scripts_may_run(page):
    policy = html.unescape(re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1])
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy
    kinds = {"script": re.findall(r"<script>(.*?)</script>", page, re.DOTALL)}
    kinds["style"] = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    assert (len(kinds["script"]), len(kinds["style"])) == (3, 1)
    for kind, texts in kinds.items():
        allowed = re.search(rf"{kind}-src ([^;]*)", policy)[1]
        for text in texts:
            digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            assert f"'sha256-{digest}'" in allowed
    outside = re.findall(
        r'(?:src|href|action|data)="(?!data:|#)[^"]*"', re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    )
    assert not outside and " style=" not in page.replace(kinds["script"][0], "")


def test_what_comes_from_files_is_escaped(page):
    assert "<script>window.hacked" not in page and html.escape(NASTY, quote=False)[:30] in page
    numbers = re.search(r'<script type="application/json" id="numbers">(.*?)</script>', page, re.DOTALL)[1]
    assert "<" not in numbers and json.loads(numbers)["bones"]


def test_the_page_says_what_a_reader_must_know(page, result):
    text = html.unescape(page)
    for words in (
        "For research use only. Not a medical device.",
        "Cobb angle, largest",
        "end vertebrae T",
        "Kyphosis T4–T12",
        "Width at T6",
        "Left fifth rib",
        "Left costal cartilage 4",
        "Expected error",
        "one standard deviation",
        "Set aside, because the other boxes put it elsewhere: rib_left_7.",
        "0" * 64,
        "these weights are not among the installed ones",
        "AGPL-3.0",
    ):
        assert words in text, words
    assert page.count("every-page") >= 2 and "table-footer-group" in page


def test_an_assumed_geometry_is_a_warning(tmp_path):
    path = write_report(template_result(known=False), tmp_path / "report.html")
    text = path.read_text(encoding="utf-8")
    assert "The film's geometry is not known" in html.unescape(text)
    assert text.count('class="assumed"') == 4


def test_without_named_bones_the_page_shows_what_there_is(result, tmp_path):
    text = write_report(without_names(result), tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Bones, as one shape" in text and 'id="bones"' not in text and 'id="colours"' not in text
    assert "gives no expected errors" in text and "Volume of all bones" in text


def test_the_card_is_that_of_the_very_weights():
    weights = weights_of(DEFAULT_METHOD)
    model = {"file": weights.name, "sha256": hashlib.sha256(weights.read_bytes()).hexdigest()}
    card = card_of(model)
    assert card.title == weights.stem and card.licence == "Apache-2.0" and len(card.about) > 80
    assert "not a medical device" in card.limits and "`" not in card.limits
    assert card_of(model | {"sha256": "0" * 64}) is None and card_of({"file": "../x"}) is None


# --- a saved result ---------------------------------------------------------------------------------------------------


def test_a_saved_result_comes_back(folder, result):
    read = read_result(folder)
    assert list(read.bones) == list(result.bones) and read.summary == result.summary
    for name, mesh in result.bones.items():
        np.testing.assert_allclose(read.bones[name].vertices, mesh.vertices, atol=1e-3)
        np.testing.assert_array_equal(read.bones[name].faces, mesh.faces)
        assert set(read.bones[name].vertex_attributes) == {"expected_error_mm", "confidence"}
        for key, values in mesh.vertex_attributes.items():
            np.testing.assert_array_equal(read.bones[name].vertex_attributes[key], values)
    assert [box.name for box in read.boxes] == [box.name for box in result.boxes]
    np.testing.assert_allclose(read.radiograph.geometry.source, result.radiograph.geometry.source)
    assert np.corrcoef(read.radiograph.pixels.ravel(), result.radiograph.pixels.ravel())[0, 1] > 0.999
    assert read.radiograph.warnings == result.radiograph.warnings


def test_the_command_reports_on_a_saved_result(folder, capsys):
    assert main(["report", str(folder), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["report"] == str(folder / "report.html") and told["bytes"] == (folder / "report.html").stat().st_size
    assert main(["report", str(folder), "--out", str(folder / "report.pdf")]) == 2
    assert ".html" in capsys.readouterr().err


def test_a_report_goes_with_its_result(folder, result):
    (folder / "report.html").write_text("of an earlier result")
    result.save(folder)
    assert not (folder / "report.html").exists()


def _without(key):
    def change(path):
        summary = json.loads(path.read_text())
        del summary[key]
        path.write_text(json.dumps(summary))

    return change


def _with(key, value):
    def change(path):
        path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))

    return change


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("summary.json", lambda path: path.unlink()),
        ("summary.json", lambda path: path.write_text("{")),
        ("summary.json", lambda path: path.write_text("[1]")),
        ("summary.json", lambda path: path.write_text("[" * 100_000)),
        ("summary.json", lambda path: path.write_bytes(b"\xff\xfe\x00")),
        ("summary.json", _with("schema", "x2br-summary-9")),
        ("summary.json", _without("geometry")),
        ("summary.json", _with("geometry", {})),
        ("summary.json", _with("known", {"sid": 1})),
        ("summary.json", _with("bones", ["rib_left_4"])),
        ("summary.json", _with("bones", {"../../secret": {}})),
        ("summary.json", _with("bones", {"rib_left_1": {}})),
        ("radiograph.png", lambda path: path.unlink()),
        ("radiograph.png", lambda path: path.write_bytes(path.read_bytes()[:200])),
        ("radiograph.png", lambda path: shutil.copy(path.with_name("preview.png"), path)),
        ("bones.ply", lambda path: path.write_bytes(b"")),
        ("bones.ply", lambda path: path.write_bytes(path.read_bytes()[:5000])),
        ("bones/rib_left_5.ply", lambda path: path.unlink()),
        ("bones/rib_left_5.ply", lambda path: path.write_text("ply\nformat ascii 1.0\nend_header\n")),
        ("boxes.json", lambda path: path.unlink()),
    ],
)
def test_a_broken_folder_is_one_sentence(folder, capsys, file, change):
    change(folder / file)
    with pytest.raises(InputError) as told:
        read_result(folder)
    assert "\n" not in str(told.value) and len(str(told.value)) < 400
    assert main(["report", str(folder)]) == 2
    assert capsys.readouterr().err.startswith("x2br: error: ") and not (folder / "report.html").exists()


def test_a_report_that_cannot_be_written_leaves_nothing(result, tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        write_report(result, tmp_path / "none" / "report.html")
    (tmp_path / "report.html").mkdir()
    with pytest.raises(InputError, match="cannot write"):
        write_report(result, tmp_path / "report.html")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
