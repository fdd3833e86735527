"""Pictures in labels of the panel."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from pathlib import Path

import numpy as np
import qt


class Picture:
    """A label that shows a picture, by way of a file: what every version of Qt's Python can do.

    Args:
        label: as wide as the panel makes it.
        widest: of the picture, in pixels of the screen.
    """

    def __init__(self, label, widest: int):
        self._label, self._widest = label, widest
        self._folder = Path(tempfile.mkdtemp(prefix="x2br-panel-"))
        self._numbers = itertools.count()

    def showPixels(self, pixels: np.ndarray) -> None:
        """Show a radiograph, uint16 ``(rows, columns)``."""
        from PIL import Image

        path = self._next()
        Image.fromarray((pixels >> 8).astype(np.uint8)).save(path)
        self._show(path)

    def showFile(self, content: bytes) -> None:
        """Show the content of a PNG file."""
        path = self._next()
        path.write_bytes(content)
        self._show(path)

    def clear(self) -> None:
        """Show nothing."""
        self._label.clear()

    def close(self) -> None:
        """Remove the files."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _next(self) -> Path:
        """Every picture has a file of its own: Qt remembers pictures by their names."""
        for path in self._folder.iterdir():
            path.unlink()
        return self._folder / f"{next(self._numbers)}.png"

    def _show(self, path: Path) -> None:
        picture = qt.QPixmap(str(path))
        width = min(self._widest, max(self._label.width, 100))
        self._label.setPixmap(picture.scaledToWidth(width, qt.Qt.SmoothTransformation))
