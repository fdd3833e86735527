"""What the card of a model says in short."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from ..models import resources

_LICENCES = re.compile(r"\b(Apache-2\.0|MIT|BSD-3-Clause|AGPL-3\.0|GPL-3\.0)\b")
_SECTION = re.compile(r"^#+ +(.+?) *$\n(.*?)(?=^#|\Z)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Card:
    """Title, what the model is, its licence and its limits, in the card's own words."""

    title: str
    about: str
    licence: str
    limits: str


def card_of(model: dict) -> Card | None:
    """The card of the weights that a summary names, where the very same are installed; else ``None``."""
    for weights in (resources() / "Models").glob("*.safetensors"):
        if weights.name == model.get("file") and _digest(weights) == model.get("sha256"):
            return _read(weights.with_suffix(".md"))
    return None


def detector_card() -> Card | None:
    """The card of the detector that is installed, ``None`` without one."""
    found = sorted((resources() / "Models" / "Detection").glob("*.md"))
    return _read(found[0]) if found else None


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read(path: Path) -> Card | None:
    """Title, first paragraph, licence and the section of limits of a card in Markdown."""
    if not path.is_file():
        return None
    text = path.read_text(encoding="utf-8")
    sections = dict(_SECTION.findall(text))
    title = next(iter(sections), path.stem)
    licence = _LICENCES.search(sections.get("Licence", "")) or _LICENCES.search(text)
    about, limits = (_plain(sections.get(heading, "")) for heading in (title, "Limits"))
    return Card(title, about, licence[1] if licence else "see the card", limits)


def _plain(markdown: str) -> str:
    """A paragraph without Markdown's marks, on one line."""
    paragraph = markdown.strip().split("\n\n")[0]
    paragraph = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", paragraph)
    return " ".join(paragraph.replace("**", "").replace("`", "").split())
