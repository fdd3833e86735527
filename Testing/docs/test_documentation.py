"""The documentation does what it says: commands run, messages are the program's own, links lead somewhere.

Blocks fenced as ``sh`` or ``bash`` are run, page by page, each page in a folder of its own with small data under the
names that the pages use. What would take hours, a graphics card or the network has ``<!-- not run: why -->`` above its
block; its arguments are parsed then. Numbers that decide how long a command takes are made small.
"""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from X2BRLogic.cli import main
from X2BRLogic.cli.main import parser
from X2BRLogic.dataset.resample import resample
from X2BRLogic.dataset.subject import read_subject
from X2BRLogic.volume_io import write_volume

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "Documentation").glob("*.md"))]
BLOCK = re.compile(
    r"(?:<!-- not run: (?P<why>[^>]+) -->\n)?^```(?:sh|bash)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)
#: What makes a command quick.
SMALLER = {"--count": "2", "--measured": "2", "--size": "64", "--resolution": "32"}
#: Not ours to run: what readers type before, or other programs.
OTHERS = {
    "source",
    "cd",
    "git",
    "pip",
    "export",
    "dask",
    "Slicer",
    "Slicer.exe",
    "torchrun",
    "yolo",
    ".venv/bin/python",
}


def blocks(page: Path) -> list[tuple[str | None, list[list[str]]]]:
    """Of each block, why it is not run, and its commands in words."""
    found = []
    for block in BLOCK.finditer(page.read_text(encoding="utf-8")):
        lines = block["text"].replace("\\\n", " ").splitlines()
        commands = [shlex.split(line, comments=True) for line in lines]
        found.append((block["why"], [command for command in commands if command]))
    return found


def toml_files(page: Path) -> dict[str, str]:
    """Files that a page shows whole, by the name in their first line."""
    shown = re.findall(r"```toml\n# (\S+\.toml)\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    return dict(shown)


def smaller(command: list[str]) -> list[str]:
    """With less to do."""
    words = [SMALLER.get(before, word) for before, word in zip(["", *command], command, strict=False)]
    if words[:2] == ["x2br", "reconstruct"] and "--resolution" not in words:
        words += ["--resolution", "32"]
    return words


def parsed(command: list[str]) -> None:
    """A command of ours that is not run has arguments that it takes; a make target exists; others are known."""
    if command[0] == "x2br":
        arguments = command[1:]
        if arguments[:2] == ["evaluate", "suite"]:  # as `main` has it
            arguments = ["evaluate suite", *arguments[2:]]
        options = parser().parse_args(arguments)
        for name in ("config",):
            if hasattr(options, name):
                assert (ROOT / getattr(options, name)).is_file(), command
    elif command[0] == "make":
        targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert all(word in targets for word in command[1:] if "=" not in word), command
    else:
        assert command[0] in OTHERS, command


@pytest.fixture(scope="module")
def data(subjects, tmp_path_factory) -> Path:
    """Three real people in voxels of 4 mm, and films, under the names that the pages use."""
    folder = tmp_path_factory.mktemp("data")
    names = {"lidc_0001": "patient_01", "lidc_0314": "patient_02", "lung_dx_A0126": "patient_07"}
    for path in subjects:
        if path.name in names:
            subject = read_subject(path)
            place = folder / "SUBJECTS" / names[path.name]
            place.mkdir(parents=True)
            for name, volume in zip(("ct", "bones"), resample(subject.ct, subject.labels, 4.0), strict=True):
                write_volume(place / f"{name}.nii.gz", volume)
    for file in (folder / "SUBJECTS" / "patient_01").iterdir():
        shutil.copy(file, folder)
    sample = ROOT / "Resources" / "SampleData"
    (folder / "films").mkdir()
    for name in ("film", "films/first", "films/second"):
        shutil.copy(sample / "chest_ap.png", folder / f"{name}.png")
        shutil.copy(sample / "chest_ap.geometry.json", folder / f"{name}.geometry.json")
    return folder


@pytest.mark.slow
@pytest.mark.weights
@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p)], ids=lambda page: page.name)
def test_commands(page, data, tmp_path, monkeypatch, capsys):
    for entry in data.iterdir():
        (tmp_path / entry.name).symlink_to(entry)
    for name in ("Resources", "X2BRLogic"):
        (tmp_path / name).symlink_to(ROOT / name)
    for name, text in toml_files(page).items():
        (tmp_path / name).write_text(text)
    trained = tmp_path / "out" / "x2b_aligned" / "x2b_aligned.safetensors"  # what hours would make
    trained.parent.mkdir(parents=True)
    trained.symlink_to(ROOT / "Resources" / "Models" / "x2b_aligned.safetensors")
    if page.name == "troubleshooting.md":
        _build_a_data_set(tmp_path)
    monkeypatch.chdir(tmp_path)
    for why, commands in blocks(page):
        for command in commands:
            if why or command[0] != "x2br" or (command[:2] == ["x2br", "train"] and command[2].startswith("X2BRLogic")):
                parsed(command)  # the shipped configurations are of thousands of steps
                continue
            status = main(smaller(command)[1:])
            told = capsys.readouterr()
            assert status == 0, f"{' '.join(command)}\n{told.err}"


def _build_a_data_set(folder: Path) -> None:
    """What an earlier page has made."""
    few = "--spacing 5 --size 32 --pixel-spacing 14 --points 500 --near-points 500 --views AP --angles 0"
    assert main(["dataset", "build", str(folder / "SUBJECTS"), str(folder / "out" / "data"), *few.split()]) == 0


def test_there_are_commands_and_few_are_not_run():
    every = [(why, command) for page in PAGES for why, commands in blocks(page) for command in commands]
    ours = [why for why, command in every if command[0] == "x2br"]
    assert len(ours) > 40 and sum(why is None for why in ours) > 25
    assert all(why is None or len(why) > 4 for why, _ in every)


def test_the_messages_are_the_programs_own():
    """Of each message in troubleshooting, what is not an ellipsis stands in the code."""
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "X2BRLogic").rglob("*.py"))
    code = re.sub(r'"\s*\n?\s*f?"', "", code)  # literals side by side are one
    page = (ROOT / "Documentation" / "troubleshooting.md").read_text(encoding="utf-8")
    messages = re.findall(r"^\| `([^`]+)`", page, re.MULTILINE)
    assert len(messages) > 40
    missing = [
        m for m in messages for part in m.split("...") if len(part.strip(" ();'")) > 3 and part.strip() not in code
    ]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        file, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        found = (page.parent / file) if file else page
        assert found.exists(), f"{page.name} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", found.read_text(encoding="utf-8"), re.MULTILINE)
            names = {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
            assert anchor in names, f"{page.name} links to {target}"


def test_every_page_is_in_the_index():
    index = (ROOT / "Documentation" / "README.md").read_text(encoding="utf-8")
    assert not [page.name for page in PAGES[1:] if page.name != "README.md" and f"({page.name}" not in index]


def test_the_citation_names_this_version():
    from X2BRLogic import __version__

    for file in ("CITATION.cff", "Documentation/citing.md"):
        assert __version__ in (ROOT / file).read_text(encoding="utf-8")
