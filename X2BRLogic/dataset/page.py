"""The summary page of a data set: every subject's picture and verdict in one HTML file that needs no network."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from .. import __version__
from ..files import written_whole
from . import layout
from .events import STATUSES
from .overview import Entry, entries
from .quality import GATES

#: Height of a picture in pixels and its JPEG quality: some 6 KB each, so that a thousand make a page of 10 MB.
_HEIGHT, _QUALITY = 120, 70

_STYLE = """
:root { color-scheme: light dark; --line: #8885; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 1.5rem auto; max-width: 90rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; } h3 { font-size: 1rem; margin: 0; overflow-wrap: anywhere; }
nav { position: sticky; top: 0; padding: .6rem 0; background: Canvas; display: flex; gap: .5rem; flex-wrap: wrap; }
button, input { font: inherit; padding: .25rem .7rem; border: 1px solid var(--line); border-radius: .4rem; }
button[aria-pressed=true] { background: Highlight; color: HighlightText; }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(25rem, 1fr)); gap: 1rem; }
article { border: 1px solid var(--line); border-left: .4rem solid #3a9d5d; border-radius: .4rem; padding: .7rem;
  content-visibility: auto; contain-intrinsic-size: auto 15rem; }
article.rejected { border-left-color: #c8323c; } article.failed { border-left-color: #888; }
article img { max-width: 100%; background: #000; display: block; margin: .4rem 0; }
article ul { margin: .3rem 0; padding-left: 1.2rem; } .none { color: #888; }
table { border-collapse: collapse; } td, th { text-align: left; padding: .1rem .8rem .1rem 0; vertical-align: top; }
"""

_SCRIPT = """
const cards = [...document.querySelectorAll('article')], find = document.getElementById('find');
const buttons = [...document.querySelectorAll('nav button')];
let shown = '';
function show() {
  const words = find.value.toLowerCase();
  for (const card of cards)
    card.hidden = (shown && !card.classList.contains(shown)) || !card.textContent.toLowerCase().includes(words);
  for (const button of buttons) button.setAttribute('aria-pressed', button.value === shown);
}
for (const button of buttons) button.onclick = () => { shown = button.value; show(); };
find.oninput = show;
document.querySelector('nav').hidden = false;
show();
"""


def write_page(dataset: Path) -> Path:
    """Write the summary of a data set into its folder and return its path.

    Everything is in the one file; it opens from the disk, and only the links to the subjects' own files need the rest
    of the folder.

    Raises:
        InputError: the folder holds no subjects, or cannot be written to.
    """
    about, subjects = entries(dataset)
    path = dataset / layout.PAGE
    with written_whole(path) as partial, partial.open("w", encoding="utf-8") as stream:
        stream.writelines(_page(dataset.resolve().name, about, subjects))
    return path


def _page(name: str, about: dict, subjects: list[Entry]) -> Iterator[str]:
    title = escape(f"X2BR data set {name}")
    statuses = Counter(entry.status for entry in subjects)
    counted = ", ".join(f"{statuses[status]} {status}" for status in STATUSES)
    yield (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>\n'
        f"<body><h1>{title}</h1>\n<p>{len(subjects)} subjects: {counted}. For research, not for diagnosis.</p>\n"
    )
    if gates := Counter(gate for entry in subjects for gate in entry.gates):
        rows = ((GATES.get(gate, gate), count) for gate, count in gates.most_common())
        yield f"<h2>Rejected for</h2>\n{_table(rows)}"
    rows = [*_flat(about), ("page written by", f"X2BR {__version__}")]
    yield f"<details><summary>Settings and version</summary>{_table(rows)}</details>\n"
    yield '<nav hidden><button value="">all</button>'
    yield from (f'<button value="{status}">{status}</button>' for status in STATUSES)
    yield '<input id="find" type="search" placeholder="name or reason" aria-label="name or reason"></nav>\n<main>\n'
    yield from map(_card, subjects)
    yield f"</main>\n<script>{_SCRIPT}</script></body></html>\n"


def _card(entry: Entry) -> str:
    status = entry.status if entry.status in STATUSES else layout.FAILED
    told = ", ".join(filter(None, (status, escape(entry.origin))))
    remarks = _list(entry.remarks)
    if remarks:
        remarks = f"<details><summary>{len(entry.remarks)} remarks</summary>{remarks}</details>"
    return (
        f'<article class="{status}"><h3><a href="{escape(quote(entry.file))}">{escape(entry.name)}</a></h3>{told}'
        f"{_picture(entry)}{_list(entry.reasons)}{remarks}</article>\n"
    )


def _picture(entry: Entry) -> str:
    """The picture as a small JPEG inside the page."""
    image = entry.picture()
    if image is None:
        return '<p class="none">no picture</p>'
    image.thumbnail((6 * _HEIGHT, _HEIGHT), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    image.save(data, "JPEG", quality=_QUALITY)
    encoded = base64.b64encode(data.getvalue()).decode()
    return (
        f'<img loading="lazy" width="{image.width}" height="{image.height}" alt="{escape(entry.name)}" '
        f'src="data:image/jpeg;base64,{encoded}">'
    )


def _flat(value: object, name: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{name} {key}".strip())
    else:
        yield name, ", ".join(map(str, value)) if isinstance(value, list) else value


def _list(sentences: tuple[str, ...]) -> str:
    return f"<ul>{''.join(f'<li>{escape(str(sentence))}</li>' for sentence in sentences)}</ul>" if sentences else ""


def _table(rows: Iterable[tuple[str, object]]) -> str:
    lines = (f"<tr><th>{escape(str(name))}</th><td>{escape(str(value))}</td></tr>" for name, value in rows)
    return f"<table>{''.join(lines)}</table>\n"
