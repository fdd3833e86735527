"""What the panel writes for others: the report and exports of a result, by clicks."""

import pytest
import slicer
import trimesh


@pytest.fixture
def opened(monkeypatch):
    """What the user's desktop was asked to open."""
    import qt

    urls = []
    monkeypatch.setattr(qt.QDesktopServices, "openUrl", lambda url: urls.append(url.toLocalFile()) or True)
    return urls


@pytest.fixture
def places(monkeypatch):
    """What the user picks in the dialogs for saving; nothing is Cancel."""
    import qt

    picked = []
    for dialog in ("getSaveFileName", "getExistingDirectory"):
        monkeypatch.setattr(qt.QFileDialog, dialog, lambda *a: str(picked.pop(0)) if picked else "")
    return picked


def test_the_report_is_written_and_opened(a_result, places, opened, tmp_path):
    places.append(tmp_path / "for the ward")
    a_result.click(a_result.reconstruct.reportButton)
    assert a_result.reconstruct.cancelButton.isEnabled()  # a worker writes it
    a_result.wait(a_result.idle, 120)
    report = tmp_path / "for the ward.html"
    assert opened == [str(report)] and str(report) in a_result.status[0]
    page = report.read_text(encoding="utf-8")
    assert "Left third rib" in page or "Third rib" in page
    assert "by expected error" in page  # which each vertex still has
    assert "Not a medical device" in page


def test_an_export_lies_where_the_bones_are(a_result, places, tmp_path):
    ui = a_result.reconstruct
    places.append(tmp_path / "out")
    a_result.choose(ui.formatBox, "PLY, a file a bone")
    a_result.click(ui.exportButton)
    a_result.wait(a_result.idle, 120)
    assert str(tmp_path / "out") in a_result.status[0]
    names = {path.stem for path in (tmp_path / "out" / "ply").iterdir()}
    assert names == {"rib_left_3", "rib_right_3", "sternum", "vertebra_T4"}
    sternum = slicer.util.arrayFromModelPoints(slicer.util.getNode("sternum"))
    written = trimesh.load(tmp_path / "out" / "ply" / "sternum.ply", process=False)
    assert abs(written.vertices * (-1, -1, 1) - sternum).max() < 1e-3  # LPS, as such files are


def test_every_format_can_be_chosen(a_result, places, tmp_path):
    from X2BRSlicerLib.tabs import result

    from X2BRLogic.export import FORMATS

    assert list(result._FORMATS) == list(FORMATS)
    assert {name for name, made in FORMATS.items() if made.voxels} == set(result._OF_NAMED)
    ui = a_result.reconstruct
    for kind, title in result._FORMATS.items():
        places.append(tmp_path / kind)
        a_result.choose(ui.formatBox, title())
        a_result.click(ui.exportButton)
        a_result.wait(a_result.idle, 120)
        assert "The bones are in" in a_result.status[0]
        assert all((tmp_path / kind / name).exists() for name in FORMATS[kind].files)


def test_cancel_in_the_dialogs_writes_nothing(a_result, places, opened):
    before = a_result.status[0]
    for button in (a_result.reconstruct.reportButton, a_result.reconstruct.exportButton):
        a_result.click(button)
        assert a_result.idle() and a_result.status[0] == before and not opened


def test_without_a_result_there_is_nothing_to_hand_over(an_opened_film):
    ui = an_opened_film.reconstruct
    assert not ui.reportButton.isEnabled() and not ui.exportButton.isEnabled()
    assert "no result" in ui.reportButton.toolTip


def test_one_mesh_has_a_report_and_surfaces_but_no_labels(an_opened_film, places, opened, tmp_path):
    user, ui = an_opened_film, an_opened_film.reconstruct
    user.choose(ui.methodBox, "x2b")
    user.click(ui.reconstructButton)
    user.wait(user.idle, 120)
    user.choose(ui.formatBox, "DICOM SEG")
    user.see(0.02)
    assert not ui.exportButton.isEnabled() and "without names" in ui.exportButton.toolTip
    places.append(tmp_path / "r.html")
    user.click(ui.reportButton)
    user.wait(user.idle, 120)
    assert opened == [str(tmp_path / "r.html")]


def test_a_place_that_takes_no_file_is_told(a_result, places, opened, tmp_path):
    places.append(tmp_path / "nowhere" / "r.html")
    a_result.click(a_result.reconstruct.reportButton)
    a_result.wait(a_result.idle, 120)
    assert "The report was not written:" in a_result.status[0] and "folder" in a_result.status[0] and not opened
