"""``python -m Testing.Host``: the panel in a window beside the views, for people without Slicer."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from PySide6 import QtWidgets

from .application import install
from .window import Window, goDark


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m Testing.Host", description=__doc__)
    parser.add_argument("--dark", action="store_true", help="Slicer's dark theme")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="take the screenshots, and end")
    parser.add_argument("--ct", type=Path, help="a CT for the screenshot of the page DRR")
    parser.add_argument("--labels", type=Path, help="its bones")
    options = parser.parse_args()
    install()
    application = QtWidgets.QApplication.instance()
    if options.dark:
        goDark(application)
    if options.pictures:
        from .pictures import takePictures

        takePictures(options.pictures, options.ct, options.labels)
        return 0
    window = Window()
    window.show()
    return application.exec()


sys.exit(main())
