"""The rules of Slicer's Extensions Index that a repository can keep by itself."""

import re
import subprocess
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
LISTS = (ROOT / "CMakeLists.txt").read_text()
#: A checkout with its history; the index refuses more.
_LARGEST = 100e6


def metadata(name: str) -> str:
    return re.search(rf'set\(EXTENSION_{name} "([^"]*)"\)', LISTS).group(1)


def of_this_repository(address: str) -> Path:
    prefix = "https://raw.githubusercontent.com/x2br/X2BR/main/"
    assert address.startswith(prefix), address
    return ROOT / address.removeprefix(prefix)


def test_the_name_is_the_projects_and_no_number_or_prefix():
    name = re.search(r"^project\((\w+)\)", LISTS, re.MULTILINE).group(1)
    assert name == "X2BR" and not name.lower().startswith("slicer")


def test_the_description_is_a_sentence_or_two():
    description = metadata("DESCRIPTION")
    assert 40 < len(description) < 300 and description[0].isupper() and description.endswith(".")
    assert "not a medical device" in description


def test_the_icon_is_a_square_png_of_the_recommended_size():
    icon = Image.open(of_this_repository(metadata("ICONURL")))
    assert icon.format == "PNG" and icon.size == (128, 128)


def test_screenshots_are_pictures_in_the_repository():
    addresses = metadata("SCREENSHOTURLS").split()
    assert addresses
    for address in addresses:
        assert min(Image.open(of_this_repository(address)).size) >= 200


def test_the_home_page_names_describes_shows_and_licenses():
    page = (ROOT / "README.md").read_text()
    assert page.startswith("# X2BR") and "![" in page and "## Licence" in page
    assert metadata("HOMEPAGE") == "https://github.com/x2br/X2BR"
    assert "Apache License" in (ROOT / "LICENSE").read_text()


def test_the_category_and_what_it_depends_on_exist():
    assert metadata("CATEGORY") == "Surface Models" and metadata("DEPENDS") == "PyTorch" and metadata("CONTRIBUTORS")


@pytest.mark.parametrize("folder", ["Resources/Screenshots"])
def test_pictures_for_people_are_small(folder):
    for picture in (ROOT / folder).glob("*.png"):
        assert picture.stat().st_size < 500_000, picture.name


def test_checkout_and_history_are_small():
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True)
    if files.returncode:
        pytest.skip("this is no git checkout")
    tracked = sum((ROOT / name).stat().st_size for name in files.stdout.decode().split("\0") if (ROOT / name).is_file())
    # What a clone fetches: a folder that was fetched into several times keeps some objects more than once.
    history = subprocess.run(["git", "rev-list", "--objects", "--disk-usage", "HEAD"], cwd=ROOT, capture_output=True)
    assert 0 < tracked + int(history.stdout) < _LARGEST


@pytest.mark.parametrize("page", ["README.md", "Documentation/tutorial.md", "Documentation/scripting.md"])
def test_what_a_page_shows_and_links_to_is_there(page):
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if "://" not in target:
            assert ((ROOT / page).parent / target).exists(), f"{page}: {target}"
