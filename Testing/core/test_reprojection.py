"""Projections of bones against boxes and edges, on films whose answers are known."""

from dataclasses import replace

import numpy as np
import pytest
import trimesh
from thorax_phantom import box_of

from X2BRLogic.evaluation import reprojection
from X2BRLogic.evaluation.reprojection import film_edges, outline
from X2BRLogic.geometry import XRayGeometry
from X2BRLogic.radiograph import Radiograph

KNOWN = dict.fromkeys(("sid", "sod", "spacing", "view"), True)


@pytest.fixture(scope="module")
def ball():
    mesh = trimesh.creation.icosphere(4, 30.0)
    mesh.apply_translation([40.0, 0.0, 20.0])
    return mesh


@pytest.fixture(scope="module")
def film(ball):
    """The ball's shadow: thickness along each ray."""
    geometry = XRayGeometry.from_view("AP", shape=(300, 300), spacing=(1.2, 1.2))
    column, row = np.meshgrid(np.arange(300), np.arange(300))
    at = geometry.pixel_positions(np.stack([column.ravel(), row.ravel()], axis=1))
    way = at - geometry.source
    way /= np.linalg.norm(way, axis=1)[:, None]
    to_centre = ball.centroid - geometry.source
    off = np.linalg.norm(to_centre - (way @ to_centre)[:, None] * way, axis=1)
    pixels = 2 * np.sqrt(np.clip(30.0**2 - off**2, 0, None)).reshape(300, 300)
    return Radiograph(pixels.astype(np.float32), geometry, KNOWN, "ball")


def test_a_bone_agrees_with_its_own_box_and_shadow(ball, film):
    bones = {"vertebra_T6": ball}
    found = reprojection(bones, film, [box_of("vertebra_T6", ball, film.geometry)])
    assert found["boxes"] == 1
    assert found["box_edge_px"] == pytest.approx(0, abs=1e-6) and found["box_iou"] == pytest.approx(1)
    assert found["outline_mm"] < 2.5
    assert found["outline_by_chance_mm"] > 3 * found["outline_mm"]


def test_a_bone_beside_its_box_is_off_by_the_shift_times_the_magnification(ball, film):
    box = box_of("vertebra_T6", ball, film.geometry)
    moved = ball.copy().apply_translation([-6.0, 0.0, 0.0])  # to the image's right
    found = reprojection({"vertebra_T6": moved}, film, [box])
    shift = 6.0 * film.geometry.sid / film.geometry.sod / 1.2
    assert found["box_edge_px"] == pytest.approx(shift / 2, rel=0.02)  # two of four edges
    assert found["box_edge_mm"] == pytest.approx(shift / 2 * 1.2, rel=0.02)
    assert 0.7 < found["box_iou"] < 0.95


def test_an_edge_at_the_border_of_the_picture_counts_not(ball, film):
    box = replace(box_of("vertebra_T6", ball, film.geometry), x0=-0.5)
    assert reprojection({"vertebra_T6": ball}, film, [box])["box_edge_px"] == pytest.approx(0, abs=1e-6)


def test_what_cannot_be_had_is_none(ball, film):
    found = reprojection({"vertebra_T6": ball}, film, [])
    assert found["boxes"] == 0 and found["box_edge_px"] is None and found["box_iou"] is None
    away = ball.copy().apply_translation([5000.0, 0.0, 0.0])
    assert reprojection({"vertebra_T6": away}, film)["outline_mm"] is None
    blank = replace(film, pixels=np.zeros_like(film.pixels))
    assert reprojection({"vertebra_T6": ball}, blank)["outline_mm"] is None


def test_the_outline_of_a_ball_is_a_circle(ball, film):
    points = outline(ball, film.geometry)
    centre = film.geometry.project(ball.centroid[None])[0]
    radius = np.linalg.norm(points - centre, axis=1) * 1.2
    assert radius == pytest.approx(np.full(len(points), 30.0 * 1.2), abs=1.0)


def test_edges_are_where_the_film_changes():
    film = np.zeros((100, 100))
    film[:, 50:] = 1.0
    edges = film_edges(film)
    assert edges[20:80, 48:52].any(axis=1).all()
    assert not edges[:, :30].any() and not edges[:, 70:].any()
