"""Films moved in their plane: the truth goes with the picture."""

import numpy as np
import pytest

from X2BRLogic import anatomy
from X2BRLogic.dataset.continuation import UNKNOWN
from X2BRLogic.dataset.patient_file import Film
from X2BRLogic.training.movement import moved

CELLS = (32, 56, 56)


def film_of_bars() -> Film:
    """A left rib as a slanted bar and the sternum as a block, the film of their shadows, and points everywhere."""
    labels = np.zeros(CELLS, np.uint8)
    depth, row, column = np.indices(CELLS)
    labels[(abs(row - column / 3 - 20) < 3) & (depth > 10) & (depth < 16) & (column > 8) & (column < 40)] = 3
    labels[(abs(row - 40) < 6) & (abs(column - 30) < 4) & (depth > 20)] = anatomy.STERNUM
    image = np.repeat(np.repeat((labels > 0).any(0), 4, 0), 4, 1).astype(np.float32)
    rng = np.random.default_rng(0)
    points = rng.uniform(-0.5, 0.5, (20_000, 3)).astype(np.float32)
    inside = at(labels, points) > 0
    return Film(image, image, points, inside, np.ones(len(points), bool), labels)


def at(labels: np.ndarray, points: np.ndarray) -> np.ndarray:
    x, y, z = points.T
    places = np.stack([0.5 + y, 0.5 - z, 0.5 - x]) * np.array(labels.shape)[:, None]
    depth, row, column = places.astype(int).clip(0, np.array(labels.shape)[:, None] - 1)
    return labels[depth, row, column]


@pytest.mark.parametrize("seed", range(6))
def test_truth_follows_the_picture(seed):
    film = moved(np.random.default_rng(seed), film_of_bars(), lateral=False)
    shadow = np.isin(film.labels, (3, 15, anatomy.STERNUM)).any(0)
    picture = film.image.reshape(56, 4, 56, 4).mean((1, 3)) > 0.5
    assert 2 * (shadow & picture).sum() / (shadow.sum() + picture.sum()) > 0.9
    found = at(film.labels, film.points)
    agree = ((found > 0) == film.occupied)[film.known & (found != UNKNOWN)]
    assert film.known.mean() > 0.7 and agree.mean() > 0.98  # the rest lies at the bars' edges
    assert film.points.dtype == film.image.dtype == np.float32 and np.abs(film.points).max() <= 0.5


def test_what_was_not_on_the_film_is_not_known():
    film = moved(np.random.default_rng(3), film_of_bars(), lateral=False)
    beyond = (film.labels == UNKNOWN).all(0)
    assert 0 < beyond.mean() < 0.3 and film.image.reshape(56, 4, 56, 4).max((1, 3))[beyond].max() < 0.5


def test_a_mirror_image_has_its_ribs_on_the_other_side():
    seen = [moved(np.random.default_rng(seed), film_of_bars(), lateral=False).labels for seed in range(12)]
    sides = [{3, 15} & set(np.unique(labels)) for labels in seen]
    assert all(len(side) == 1 for side in sides) and {3} in sides and {15} in sides
    for labels, side in zip(seen, sides, strict=True):  # the bar falls to the image's right, or to its left
        _, row, column = (labels == side.pop()).nonzero()
        assert (np.corrcoef(row, column)[0, 1] > 0) == (3 in np.unique(labels))


def test_a_lateral_film_is_not_mirrored():
    assert all(15 not in moved(np.random.default_rng(seed), film_of_bars(), lateral=True).labels for seed in range(12))
