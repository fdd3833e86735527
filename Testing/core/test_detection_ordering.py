"""Numbers from the order of bones: missing, doubled, misnumbered, and everything one level off."""

from __future__ import annotations

import numpy as np
import pytest

from Testing.core.thorax_phantom import phantom
from X2BRLogic.detection.candidates import Candidates, candidates, overlap
from X2BRLogic.detection.classes import CLASSES, RUNS
from X2BRLogic.detection.naming import named
from X2BRLogic.detection.ordering import order

SHAPE = (512, 512)


class Film:
    """What a network may have seen of a phantom: boxes by name, and scores for every class."""

    def __init__(self, seed=0):
        self._random = np.random.default_rng(seed)
        self.rows: list[tuple[np.ndarray, np.ndarray]] = []
        # A person in a film of 512 pixels: the template's own boxes, scaled to it.
        self.truth = {box.name: box.edges for box in phantom().boxes if box.name in CLASSES}

    def add(self, name, said=None, score=0.8, moved=(0.0, 0.0), beside=0.15):
        """A box on the bone `name` that the network calls `said`; its neighbours get part of the score."""
        scores = np.full(len(CLASSES), 1e-4)
        number = CLASSES.index(said or name)
        scores[number] = score
        run = next(run for run in RUNS.values() if run.start <= number < run.stop)
        for other in (number - 1, number + 1):
            if run.start <= other < run.stop:
                scores[other] = beside * score
        edges = self.truth[name] + np.tile(moved, 2) + self._random.normal(0, 1, 4)
        self.rows.append((edges, scores))
        return self

    def add_all(self, skip=(), **said):
        for name in self.truth:
            if name not in skip:
                self.add(name, said.get(name))
        return self

    def result(self):
        edges, scores = (np.array(part) for part in zip(*self.rows, strict=True))
        found = candidates(edges, scores)
        boxes, notes = named(found, order(found), SHAPE)
        return {box.name: box for box in boxes}, notes

    def right(self, boxes):
        """Names of the boxes that lie on their bone."""
        known = {n: box.edges for n, box in boxes.items() if n in self.truth}
        return {n for n, edges in known.items() if overlap(edges[None], self.truth[n][None])[0, 0] > 0.6}


def test_a_whole_thorax_stays_as_it_is():
    film = Film().add_all()
    boxes, notes = film.result()
    assert film.right(boxes) == set(film.truth) == set(boxes)
    assert notes == []
    assert all(box.confidence == pytest.approx(0.8) for box in boxes.values())


def test_a_missing_bone_is_filled_in_between_its_neighbours_and_told():
    film = Film().add_all(skip=("vertebra_T6", "rib_left_4"))
    boxes, notes = film.result()
    assert film.right(boxes) >= set(film.truth) - {"rib_left_4"} and "rib_left_4" in boxes
    assert boxes["vertebra_T6"].confidence < 0.3 and boxes["rib_left_4"].confidence < 0.3
    assert "not found, and filled in between neighbours: vertebra_T6" in notes
    assert "not found, and filled in between neighbours: rib_left_4" in notes


def test_two_missing_bones_in_a_row_are_told_and_not_invented():
    gone = {"vertebra_T5", "vertebra_T6"}
    boxes, notes = Film().add_all(skip=gone).result()
    assert not gone & set(boxes)
    assert "not found between others: vertebra_T5, vertebra_T6" in notes


def test_of_two_boxes_of_a_level_the_one_in_order_stays():
    film = Film().add_all()
    film.add("vertebra_T9", said="vertebra_T4", score=0.6)  # on a bone that has its own, surer box
    film.add("rib_right_5", said="rib_right_5", score=0.7, moved=(0, 150))
    boxes, notes = film.result()
    assert film.right(boxes) == set(film.truth)
    assert "found twice, the one in order was kept: rib_right_5" in notes


def test_one_misnumbered_bone_gets_its_number():
    film = Film().add_all(vertebra_T7="vertebra_T8", rib_left_9="rib_left_8")
    boxes, notes = film.result()
    assert film.right(boxes) == set(film.truth)
    assert "renumbered by the order of the bones: vertebra_T8 to vertebra_T7" in notes
    assert "renumbered by the order of the bones: rib_left_8 to rib_left_9" in notes
    assert boxes["vertebra_T7"].confidence < boxes["vertebra_T6"].confidence


@pytest.mark.parametrize("group", ["ribs_left", "ribs_right", "vertebrae"])
@pytest.mark.parametrize("step", [-1, 1])
def test_a_group_that_is_one_level_off_follows_the_two_others(group, step):
    said = {}
    run = CLASSES[RUNS[group]]
    film = Film()
    for n, name in enumerate(run):
        if name in film.truth and 0 <= n + step < len(run):
            said[name] = run[n + step]
    boxes, _ = film.add_all(**said).result()
    # At the ends a bone may fall out of the run; nothing may lie on its neighbour.
    assert film.right(boxes) == set(boxes) and len(boxes) >= len(film.truth) - 2


def test_noise_is_left_out():
    random = np.random.default_rng(4)
    film = Film().add_all()
    for _ in range(40):
        low = random.uniform(0, 400, 2)
        scores = random.random(len(CLASSES)) * 0.08
        film.rows.append((np.concatenate([low, low + random.uniform(10, 100, 2)]), scores))
    boxes, _ = film.result()
    assert film.right(boxes) >= set(film.truth)


def test_nothing_found_is_told_and_no_error():
    empty = candidates(np.zeros((0, 4)), np.zeros((0, len(CLASSES))))
    assert all(len(part.edges) == 0 for part in empty.values())
    boxes, notes = named(empty, order(empty), SHAPE)
    assert boxes == [] and len(notes) == 3 and "none of the vertebrae was found" in notes


def test_a_single_group_is_ordered_alone():
    film = Film()
    for name in list(film.truth):
        if name.startswith("vertebra"):
            film.add(name)
    boxes, notes = film.result()
    assert film.right(boxes) == {name for name in film.truth if name.startswith("vertebra")}
    assert {"none of the left ribs was found", "none of the right ribs was found"} <= set(notes)


def test_candidates_are_one_for_each_bone():
    edges = np.array([[0, 0, 100, 50], [2, 1, 101, 51], [0, 22, 100, 72], [300, 0, 310, 9], [5, 5, 5, 9]], dtype=float)
    scores = np.zeros((5, len(CLASSES)))
    scores[:, 3] = [0.9, 0.8, 0.01, 0.7, 0.9]
    scores[2, 4] = 0.6
    found = candidates(edges, scores)["ribs_left"]
    assert isinstance(found, Candidates)
    # The double goes, the neighbour stays although it overlaps, and a box without extent is none.
    assert np.array_equal(found.edges, edges[[0, 3, 2]])
    assert overlap(edges[:1], edges[:2])[0] == pytest.approx([1.0, 98 * 49 / (5000 + 99 * 50 - 98 * 49)])


def test_boxes_are_cut_to_the_film():
    film = Film().add_all()
    edges, scores = (np.array(part) for part in zip(*film.rows, strict=True))
    found = candidates(edges, scores)
    boxes, _ = named(found, order(found), (300, 300))
    assert boxes and all((box.edges >= -0.5).all() and (box.edges <= 299.5).all() for box in boxes)
