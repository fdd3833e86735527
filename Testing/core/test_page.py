"""The summary page of a data set."""

from __future__ import annotations

import json
import re
import time
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from X2BRLogic.dataset import layout
from X2BRLogic.dataset.page import write_page
from X2BRLogic.dataset.population import POPULATION
from X2BRLogic.dataset.records import new_record, write_record
from X2BRLogic.errors import InputError


class Reader(HTMLParser):
    """Elements and text of a page, as a browser sees them."""

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)

    def named(self, tag: str) -> list[dict]:
        return [attrs for name, attrs in self.elements if name == tag]


def add_subject(dataset, name, status, reasons=(), remarks=(), gates=(), thumbnail=None):
    folder = layout.subject_folder(dataset, name)
    folder.mkdir(parents=True)
    rest = {"reasons": list(reasons), "remarks": list(remarks), "gates": list(gates), "labels": {"method": "atlas"}}
    write_record(folder, new_record(name, name, status, "0" * 64, **rest))
    if thumbnail is not None:
        (folder / layout.THUMBNAIL).write_bytes(thumbnail)


@pytest.fixture(scope="module")
def a_thumbnail(tmp_path_factory) -> bytes:
    """A picture as full of detail as a verdict's."""
    path = tmp_path_factory.mktemp("thumbnail") / "picture.png"
    noise = np.random.default_rng(0).integers(0, 255, (65, 187, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((748, 260)).save(path)
    return path.read_bytes()


@pytest.fixture
def a_dataset(tmp_path, a_thumbnail):
    """One subject of each status; names and reasons try to break out of the page."""
    dataset = tmp_path / "data & <b>"
    add_subject(dataset, "good", layout.ACCEPTED, remarks=["the scan cuts T12 (bottom)"], thumbnail=a_thumbnail)
    reason = "left rib 5 is missing <script>alert(1)</script> & \"more\" 'yet'"
    add_subject(dataset, 'b"ad <i>', layout.REJECTED, [reason], gates=["ribs"], thumbnail=a_thumbnail)
    add_subject(dataset, "broken", layout.FAILED, ["no CT"])
    settings = {"schema": 1, "x2br": "9.9.9", "settings": {"spacing": 1.5, "views": ["AP", "<PA>"]}}
    (dataset / layout.DATASET).write_text(json.dumps(settings))
    return dataset


def test_page_tells_every_subject_with_status_reason_and_picture(a_dataset):
    page = Reader(write_page(a_dataset).read_text(encoding="utf-8"))
    assert [card["class"] for card in page.named("article")] == ["rejected", "failed", "accepted"]
    assert len(page.named("img")) == 2
    text = "".join(page.text)
    assert "3 subjects: 1 accepted, 1 rejected, 1 failed" in text
    assert "left rib 5 is missing <script>alert(1)</script> & \"more\" 'yet'" in text
    assert "the scan cuts T12 (bottom)" in text and "no picture" in text and "labels atlas" in text
    assert "number of ribs" in text  # why subjects are rejected, counted
    assert "9.9.9" in text and "AP, <PA>" in text
    assert {button["value"] for button in page.named("button")} == {"", "accepted", "rejected", "failed"}


def test_page_takes_nothing_from_names_and_reasons_as_markup(a_dataset):
    page = Reader(write_page(a_dataset).read_text(encoding="utf-8"))
    assert len(page.named("script")) == 1
    assert not page.named("i") and not page.named("b")


def test_page_needs_no_network_and_links_to_files_that_are_there(a_dataset):
    from urllib.parse import unquote

    path = write_page(a_dataset)
    page = Reader(path.read_text(encoding="utf-8"))
    assert not re.search(r"(src|href)=\"(https?:)?//|@import|url\(", path.read_text(encoding="utf-8"))
    assert all(image["src"].startswith("data:image/jpeg;base64,") for image in page.named("img"))
    links = [link["href"] for link in page.named("a")]
    assert len(links) == 3 and all((path.parent / unquote(link)).is_file() for link in links)


def test_unreadable_record_and_picture_are_told_not_dropped(a_dataset):
    (layout.subject_folder(a_dataset, "good") / layout.RECORD).write_text("{")
    (layout.subject_folder(a_dataset, "good") / layout.THUMBNAIL).write_bytes(b"no picture")
    page = Reader(write_page(a_dataset).read_text(encoding="utf-8"))
    assert [card["class"] for card in page.named("article")] == ["rejected", "failed", "failed"]
    assert "subject.json cannot be read" in "".join(page.text) and len(page.named("img")) == 1


def test_folder_without_subjects_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="holds no subjects"):
        write_page(tmp_path)
    assert not list(tmp_path.iterdir())


def test_virtual_patients_are_shown_with_films_and_bones(tmp_path):
    (tmp_path / POPULATION).write_text(json.dumps({"x2br": "1", "settings": {"seed": 7}}))
    rng = np.random.default_rng(0)
    points = rng.integers(0, 65536, (4, 512, 3), dtype=np.uint16)
    occupied = points[..., 2] < 20000  # low in the patient: low in the picture
    arrays = {
        "images": rng.integers(0, 255, (4, 224, 224), dtype=np.uint8),
        "points": points,
        "occupied": np.packbits(occupied, axis=1),
        "record": np.array(json.dumps({"subject": "lidc"})),
    }
    np.savez(tmp_path / "patient_000000.npz", **arrays)
    (tmp_path / "patient_000001.npz").write_bytes(b"PK\x03\x04 torn")
    page = Reader(write_page(tmp_path).read_text(encoding="utf-8"))
    assert [card["class"] for card in page.named("article")] == ["accepted", "failed"]
    assert "from lidc" in "".join(page.text)
    image = decoded(page.named("img")[0])
    height = image.shape[0]
    front = image[:, 3 * height : 4 * height]
    assert front[: height // 2].max() < 64 < front[-height // 4 :].max()


def decoded(element: dict) -> np.ndarray:
    import base64
    import io

    return np.asarray(Image.open(io.BytesIO(base64.b64decode(element["src"].partition(",")[2]))).convert("L"))


def test_thousand_subjects_make_a_page_that_opens(tmp_path, a_thumbnail):
    for n in range(1000):
        add_subject(tmp_path, f"s{n:04d}", layout.ACCEPTED, thumbnail=a_thumbnail)
    start = time.perf_counter()
    path = write_page(tmp_path)
    assert time.perf_counter() - start < 60
    assert path.stat().st_size < 32e6
    assert len(Reader(path.read_text(encoding="utf-8")).named("img")) == 1000
