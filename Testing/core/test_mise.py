"""MISE against a dense evaluation: on shapes whose answer is known, and on what the shipped networks see."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from analytic_fields import (
    LEVEL,
    ball,
    cut_by_the_border,
    skewered_ball,
    thin_rod,
    thin_shell,
    thin_tube,
    torus,
    two_near_balls,
)

from X2BRLogic.errors import InputError
from X2BRLogic.models import fields, resources, weights_of
from X2BRLogic.networks import OccupancyField, load_model
from X2BRLogic.radiograph import network_image, read_radiograph
from X2BRLogic.surface import drop_specks, extract, mise


def dense(field, resolution):
    ticks = np.arange(resolution + 1, dtype=np.float32) / resolution - 0.5
    points = np.stack(np.meshgrid(ticks, ticks, ticks, indexing="ij"), axis=-1)
    return field(points.reshape(-1, 3)).reshape(points.shape[:3]).astype(np.float32)


def assert_same_mesh(ours, theirs):
    np.testing.assert_array_equal(ours.faces, theirs.faces)
    assert np.abs(ours.vertices - theirs.vertices).max() < 1e-4 / 128


@pytest.mark.parametrize("field", [ball, torus, two_near_balls, skewered_ball, thin_shell, cut_by_the_border])
def test_the_surface_is_that_of_a_dense_evaluation(field):
    result, truth = mise(field, 128), dense(field, 128)
    np.testing.assert_array_equal(result.grid >= LEVEL, truth >= LEVEL)
    assert_same_mesh(extract(result.grid), extract(truth))
    assert result.dense == 129**3
    assert result.evaluations < (0.15 if field is not thin_shell else 0.25) * result.dense


def test_it_counts_what_it_asks_for_and_keeps_to_the_batch():
    asked = []

    def field(points):
        assert points.dtype == np.float32 and np.abs(points).max() <= 0.5
        asked.append(points)
        return ball(points)

    result = mise(field, 64, batch=1000, seeds=np.array([[0.013, -0.021, 0.317], [9.0, 9, 9]]))
    everything = np.concatenate(asked)
    assert max(map(len, asked)) <= 1000
    assert len(everything) == result.evaluations
    assert len(np.unique(everything, axis=0)) == len(everything), "a point was evaluated twice"


# --- what falls between the coarse grid's points --------------------------------------------------------------------


@pytest.mark.parametrize("field", [thin_tube, thin_rod])
def test_a_part_thinner_than_a_coarse_cell_needs_a_finer_start(field):
    truth = dense(field, 128) >= LEVEL
    assert truth.sum() > 300
    unseen = mise(field, 128, start=32)
    assert not (unseen.grid >= LEVEL).any() and unseen.evaluations == 33**3
    for start in (64, 128):
        np.testing.assert_array_equal(mise(field, 128, start=start).grid >= LEVEL, truth)


@pytest.mark.parametrize(("field", "seed"), [(thin_tube, (0.3, 0, 0.0156 + 0.007)), (thin_rod, (0.1, 0.0161, 0.0237))])
def test_or_one_seed_on_its_surface(field, seed):
    """The same mesh as from a dense evaluation, for hardly more points than seeing nothing took."""
    result, truth = mise(field, 128, seeds=np.array([seed])), dense(field, 128)
    np.testing.assert_array_equal(result.grid >= LEVEL, truth >= LEVEL)
    assert_same_mesh(extract(result.grid), extract(truth))
    assert result.evaluations < 33**3 + 40_000


def test_seeds_in_the_air_change_nothing_but_the_count():
    seeds = np.random.default_rng(0).uniform(-0.6, 0.6, (200, 3))
    plain, seeded = mise(ball, 64), mise(ball, 64, seeds=seeds)
    np.testing.assert_array_equal(plain.grid >= LEVEL, seeded.grid >= LEVEL)
    assert plain.evaluations < seeded.evaluations < plain.evaluations + 8 * 200
    assert mise(ball, 64, seeds=np.empty((0, 3))).evaluations == plain.evaluations


@pytest.mark.weights
@pytest.mark.parametrize("system", fields())
def test_a_real_reconstruction_is_that_of_a_dense_evaluation(system):
    """At most 12 % of the points, and the same bones. The aligned network seeds what it knows: not a speck is lost."""
    radiograph = read_radiograph(resources() / "SampleData" / "chest_ap.png")
    network = load_model(weights_of(system)).network
    image = network_image(radiograph, network.config.image_size)
    field = OccupancyField(network, [image], torch.device("cpu"))
    seeds = field.surface_points(LEVEL)
    result, truth = mise(field, 128, network.coarse_cells, seeds=seeds), dense(field, 128)
    assert result.evaluations <= 0.12 * result.dense
    if len(seeds):
        np.testing.assert_array_equal(result.grid >= LEVEL, truth >= LEVEL)
    speck = 300.0 / 400.0**3
    assert_same_mesh(*(drop_specks(extract(grid), speck) for grid in (result.grid, truth)))


# --- what goes wrong, and what is told on the way ---------------------------------------------------------------------


def test_at_the_start_resolution_it_is_the_dense_grid():
    result = mise(ball, 32)
    np.testing.assert_array_equal(result.grid, dense(ball, 32))
    assert result.evaluations == result.dense == 33**3


@pytest.mark.parametrize(("resolution", "start", "tau"), [(100, 32, 0.2), (96, 32, 0.2), (16, 32, 0.2), (64, 32, 1.0)])
def test_sizes_that_do_not_fit_are_refused(resolution, start, tau):
    with pytest.raises(InputError):
        mise(ball, resolution, start, tau)


def test_a_field_of_nans_is_not_swallowed():
    with pytest.raises(ValueError, match="finite"):
        mise(lambda points: np.full(len(points), np.nan), 32)


@pytest.mark.parametrize("field", [ball, torus, thin_shell])
def test_progress_is_the_part_of_the_evaluations_that_is_done(field):
    told, done = [], []

    def counted(points):
        done.append(len(points))
        return field(points)

    result = mise(counted, 256, batch=8192, progress=told.append)
    assert len(told) == len(done) and told[0] == 0 and told == sorted(told) and told[-1] <= 1
    truly = (np.cumsum(done) - done) / result.evaluations
    assert np.abs(truly - told).mean() < 0.2


def test_what_progress_raises_ends_it_at_once():
    class CancelledError(Exception):
        pass

    asked = []

    def progress(part):
        if len(asked) == 3:
            raise CancelledError

    with pytest.raises(CancelledError):
        mise(lambda points: asked.append(points) or ball(points), 64, batch=1000, progress=progress)
    assert len(asked) == 3
