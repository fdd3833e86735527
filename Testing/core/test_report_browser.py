"""The report in a real browser, headless Chromium, from the file system."""

import io
import os
import re
import shutil

import numpy as np
import pytest
from PIL import Image
from template_result import template_result, without_names

from X2BRLogic.report import write_report

#: A page is drawn in software here, and machines of CI are slow.
PATIENCE_MS = 120_000
ARGUMENTS = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
NASTY = "<script>window.hacked=1</script><img src=x onerror=window.hacked=1>.png"
WORDS = "Left fifth rib"


@pytest.fixture(scope="module")
def browser():
    """Without it a test is skipped on a developer's machine and fails in CI, where it must be."""
    names = ("chromium", "chromium-browser", "google-chrome")
    executable = next(filter(None, map(shutil.which, names)), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        executable = None
    if executable is None:
        message = "no browser for the report: apt-get install chromium, pip install playwright"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(message)
        pytest.skip(message)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS, timeout=PATIENCE_MS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write_report(template_result(source=NASTY), tmp_path_factory.mktemp("report") / "report.html")


class Seen:
    """What a page asks for and complains about."""

    def __init__(self, page):
        self.requests, self.complaints = [], []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        page.on("dialog", lambda dialog: self.complaints.append(f"a dialog: {dialog.message}"))


@pytest.fixture(scope="module")
def opened(browser, file):
    """The page and what it does, at one size of window for all tests."""
    context = browser.new_context(viewport={"width": 1300, "height": 1000}, has_touch=True, offline=True)
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    seen = Seen(page)
    page.goto(file.as_uri())
    page.wait_for_selector("#viewer canvas")
    yield page, seen
    context.close()


def picture_of(page, selector="#viewer canvas"):
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    picture = Image.open(io.BytesIO(page.locator(selector).screenshot())).convert("RGB")
    return np.asarray(picture).astype(int)[10:-10, 10:-10]  # without what shows that it has the focus


def differing(a, b):
    """Part of the pixels that differ visibly."""
    return float((np.abs(a - b).max(axis=2) > 24).mean())


def drawn(picture):
    """Part of the pixels that are not the ground."""
    return float((np.abs(picture - picture[0, 0]).max(axis=2) > 24).mean())


def test_it_opens_without_fetching_or_complaining(opened, file):
    page, seen = opened
    assert [address for address in seen.requests if not address.startswith("data:")] == [file.as_uri()]
    assert seen.complaints == []
    assert page.title() == f"X2BR report: {NASTY}" and page.evaluate("window.hacked") is None
    assert page.locator("#still").is_hidden()
    film = page.evaluate(
        "(async () => { const i = new Image(); i.src = document.querySelector('#film image')"
        ".getAttribute('href'); await i.decode(); return [i.naturalWidth, i.naturalHeight]; })()"
    )
    assert film == [130, 150]


def test_the_bones_are_drawn_and_turn_with_the_mouse_and_back(opened):
    page, seen = opened
    before = picture_of(page)
    assert 0.03 < drawn(before) < 0.9
    box = page.locator("#viewer canvas").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 150, y + 40, steps=4)
    page.mouse.up()
    turned = picture_of(page)
    assert differing(before, turned) > 0.03 and drawn(turned) > 0.03
    page.locator("button[data-view=front]").click()
    page.mouse.move(2, 2)
    assert differing(before, picture_of(page)) < 0.005
    assert seen.complaints == []


def test_the_bones_turn_by_keys_and_by_touch(opened):
    page, seen = opened
    page.locator("#viewer canvas").focus()
    page.keyboard.press("0")
    before = picture_of(page)
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    turned = picture_of(page)
    assert differing(before, turned) > 0.03
    page.keyboard.press("+")
    assert drawn(picture_of(page)) > drawn(turned)
    page.keyboard.press("0")
    assert differing(before, picture_of(page)) < 0.005

    fingers = page.context.new_cdp_session(page)
    box = page.locator("#viewer canvas").bounding_box()
    for kind, step in (("touchStart", 0), ("touchMove", 60), ("touchMove", 140), ("touchEnd", None)):
        points = [] if step is None else [{"x": box["x"] + 200 + step, "y": box["y"] + 300}]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    assert differing(before, picture_of(page)) > 0.03
    page.keyboard.press("0")
    assert seen.complaints == []


def test_groups_outlines_boxes_and_colours_can_be_chosen(opened):
    page, seen = opened
    bones, film = picture_of(page), picture_of(page, "#film")
    path = page.locator("#film-outlines path[data-bone=rib_left_5]")
    page.get_by_label("Left ribs").uncheck()
    assert path.is_hidden() and page.locator("#film-outlines path[data-bone=rib_right_5]").is_visible()
    assert differing(bones, picture_of(page)) > 0.003 and differing(film, picture_of(page, "#film")) > 0.003
    page.get_by_label("Left ribs").check()
    for part in ("Outlines", "Boxes"):
        page.get_by_label(part, exact=True).uncheck()
        assert page.locator(f"#film-{part.lower()}").is_hidden()
        assert differing(film, picture_of(page, "#film")) > 0.001
        page.get_by_label(part, exact=True).check()
    assert differing(film, picture_of(page, "#film")) == 0.0
    page.get_by_label("Colours").select_option("errors")
    assert page.locator("#legend").is_visible() and "mm" in page.locator("#legend").inner_text()
    assert differing(bones, picture_of(page)) > 0.03
    page.get_by_label("Colours").select_option("bones")
    assert page.locator("#legend").is_hidden() and differing(bones, picture_of(page)) < 0.001
    assert seen.complaints == []


def test_a_bone_says_what_it_is_wherever_it_is_chosen(opened):
    page, seen = opened
    tip = page.locator("#tip")
    page.get_by_role("button", name=WORDS).click()
    assert re.search(
        rf"{WORDS}\s+Volume [\d.]+ ± [\d.]+ ml\s+Expected error [\d.]+ mm\s+Confidence 0.75", tip.inner_text()
    )
    assert page.locator("#film path.chosen").get_attribute("data-bone") == "rib_left_5"
    page.get_by_role("button", name=WORDS).click()
    assert tip.is_hidden()
    page.locator("#film-outlines path[data-bone=sternum]").dispatch_event("pointerenter")
    assert tip.inner_text().startswith("Sternum")
    page.locator("#film-outlines path[data-bone=sternum]").dispatch_event("pointerleave")

    # the sternum is in front, in the middle
    page.locator("#viewer canvas").scroll_into_view_if_needed()
    box = page.locator("#viewer canvas").bounding_box()
    named = set()
    for down in np.linspace(0.2, 0.8, 9):
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] * down)
        if tip.is_visible():
            named.add(tip.locator("strong").inner_text())
    assert "Sternum" in named
    page.mouse.move(2, 2)
    assert seen.complaints == []


def test_every_printed_page_carries_the_notice(opened):
    page, seen = opened
    assert page.locator(".every-page").is_hidden()
    page.emulate_media(media="print")
    foot = page.locator(".sheet > tfoot")
    assert foot.evaluate("e => getComputedStyle(e).display") == "table-footer-group"
    assert "For research use only" in foot.inner_text()
    page.emulate_media(media="screen")
    assert seen.complaints == []


def test_dark_narrow_and_without_webgl(browser, file):
    context = browser.new_context(viewport={"width": 380, "height": 800}, color_scheme="dark", offline=True)
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
    page.goto(file.as_uri())
    assert page.locator("#still img").is_visible() and "no WebGL" in page.locator("#no-view").inner_text()
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert max(map(int, re.findall(r"\d+", ground)[:3])) < 60
    assert page.evaluate("document.documentElement.scrollWidth") <= 380
    page.get_by_label("Left ribs").uncheck()
    assert page.locator("#film-outlines path[data-bone=rib_left_5]").is_hidden()
    context.close()


def test_a_result_without_names_is_shown_as_well(browser, tmp_path):
    file = write_report(without_names(template_result()), tmp_path / "report.html")
    context = browser.new_context(offline=True)
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    seen = Seen(page)
    page.goto(file.as_uri())
    page.wait_for_selector("#viewer canvas")
    assert drawn(picture_of(page)) > 0.03 and page.locator("#groups").count() == 0
    assert seen.complaints == [] and len(seen.requests) == len([a for a in seen.requests if "data:" in a]) + 1
    context.close()
