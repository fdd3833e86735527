"""Reconstruction with the weights of 3DDX that ship."""

import json

import numpy as np
import pytest
import torch

from X2BRLogic import anatomy
from X2BRLogic.bench.dual_faces_report import as_markdown, write
from X2BRLogic.cli.main import main
from X2BRLogic.errors import InputError
from X2BRLogic.models import DUAL_FACES, installed, names, resources
from X2BRLogic.networks import build, save_model
from X2BRLogic.pipeline import Reconstructor
from X2BRLogic.radiograph import radiograph_from_array, read_radiograph
from X2BRLogic.results import read_result
from X2BRLogic.surface import self_intersections

pytestmark = pytest.mark.weights
FILM = resources() / "SampleData" / "chest_ap.png"


@pytest.fixture(scope="module")
def reconstructor():
    return Reconstructor(DUAL_FACES, "cpu")


@pytest.fixture(scope="module")
def reconstruction(reconstructor):
    told = []
    found = reconstructor.reconstruct(read_radiograph(FILM), progress=lambda part, stage: told.append((part, stage)))
    assert told[-1] == (1.0, "done") and [part for part, _ in told] == sorted(part for part, _ in told)
    return found


def test_it_is_among_the_methods_and_has_a_card():
    assert DUAL_FACES in names()
    model = installed()[DUAL_FACES]
    assert "C3N-00249" in model.card.read_text(encoding="utf-8")
    assert model.header["training"]["exclude"] == ["cptac_pda_C3N-00249"]
    assert model.weights.stat().st_size < 10e6


def test_named_closed_bones_of_absolute_scale(reconstruction):
    bones, summary = reconstruction.bones, reconstruction.summary
    assert len(bones) >= 30 and set(bones) <= {anatomy.BY_LABEL[label].name for label in anatomy.THORAX}
    assert all(mesh.is_watertight and mesh.volume > 500.0 for mesh in bones.values())
    assert reconstruction.mesh.is_watertight and summary["watertight"] and summary["method"] == DUAL_FACES
    assert summary["self_intersections"] == sum(len(self_intersections(mesh)) for mesh in bones.values()) == 0
    assert summary["absolute_scale"] and not any("assumed" in warning for warning in summary["warnings"])
    assert set(summary["bones"]) == set(bones)
    unseen = {name for name, facts in summary["bones"].items() if "rays" not in facts}
    told = " ".join(summary["warnings"])
    assert all(name in told for name in unseen)
    width, depth, height = reconstruction.mesh.extents
    assert 200 < width < 380 and 120 < depth < 300 and 200 < height < 400
    heights = [bones[f"vertebra_T{n}"].center_mass[2] for n in range(2, 12) if f"vertebra_T{n}" in bones]
    assert np.all(np.diff(heights) < 0)
    sides = [bones[f"rib_{side}_6"].center_mass[0] for side in ("left", "right")]
    assert sides[0] < reconstruction.mesh.bounds.mean(0)[0] < sides[1]


def test_it_is_saved_and_read_like_the_others(reconstruction, tmp_path):
    reconstruction.save(tmp_path / "result")
    again = read_result(tmp_path / "result")
    assert set(again.bones) == set(reconstruction.bones)
    assert (tmp_path / "result" / "labels.nrrd").stat().st_size > 0
    assert json.loads((tmp_path / "result" / "summary.json").read_text())["method"] == DUAL_FACES


def test_an_unknown_distance_is_a_warning_in_the_result(reconstructor):
    film = read_radiograph(FILM)
    unplaced = radiograph_from_array(film.pixels, "film", pixel_spacing=film.geometry.spacing)
    assert not unplaced.known["sid"]
    summary = reconstructor.reconstruct(unplaced).summary
    assert not summary["absolute_scale"]
    assert any("source-to-image distance" in warning and "assumed" in warning for warning in summary["warnings"])


def test_a_film_without_a_thorax_and_a_second_film_are_refused(reconstructor, tmp_path):
    torch.manual_seed(0)
    save_model(build(DUAL_FACES, {"image_size": 64, "width": 16}), tmp_path / "blind.safetensors")
    with pytest.raises(InputError, match="0 bones"):
        Reconstructor(weights=tmp_path / "blind.safetensors", device="cpu").reconstruct(read_radiograph(FILM))
    film = read_radiograph(FILM)
    with pytest.raises(InputError, match="one film"):
        reconstructor.reconstruct(film, second=film)


def test_bad_weights_end_in_one_line(tmp_path, capsys):
    path = tmp_path / "3ddx.safetensors"
    path.write_bytes((resources() / "Models" / "3ddx.safetensors").read_bytes()[:100_000])
    arguments = ["reconstruct", str(FILM), "--weights", str(path), "--out", str(tmp_path / "out")]
    assert main(arguments) == 2
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith("x2br: error: ")
    assert not (tmp_path / "out").exists()


def test_the_page_tells_means_by_set_and_method(tmp_path):
    row = {"set": "left out", "name": "a", "method": "3ddx", "seconds": 1.0, "asd_mm": 4.0, "scale_percent": -2.0}
    curves = {"compactness": [0.6, 1.0], "generalisation_mm": [9.0, 5.0, 4.0], "specificity_mm": [3.0, 3.5]}
    rows = [row, row | {"method": "3ddx, completed", "asd_mm": 3.0}]
    rows += [row | {"name": name, "set": "virtual", "asd_mm": asd} for name, asd in (("b", 4.0), ("c", 6.0))]
    machine = {"processor": "one"}
    result = {"machine": machine, "load_before": 0.5, "held_out": "a", "curves": curves, "rows": rows}
    page = as_markdown(result)
    assert "| 3ddx | 5.00 | – | – | 2.0 |" in page and "2 virtual patient(s)" in page
    assert "completion by the shape model: ASD from 4.00 to 3.00 mm (-25 %)" in page
    assert "| 2 | 1.00 | 4.00 | 3.50 |" in page
    written = write(result, tmp_path / "page")
    assert sorted(written) == ["3ddx.csv", "3ddx.md", "3ddx.png"]
    assert (tmp_path / "page" / "3ddx.csv").read_text().count("\n") == 5
