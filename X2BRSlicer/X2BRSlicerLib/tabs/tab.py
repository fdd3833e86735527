"""What every page of the panel is."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from ..work import Course

_UI_FOLDER = Path(__file__).resolve().parents[2] / "Resources" / "UI"


class Tab:
    """A page: its widgets, its work, and the choices that it shows.

    Args:
        logic: an `X2BRSlicerLogic`.

    Attributes:
        title: what stands on the tab.
        widget: the page.
        parameters: the module's choices; ``None`` while there are none, as when the scene closes.
    """

    uiFile = ""

    def __init__(self, logic):
        self.logic = logic
        self.widget = slicer.util.loadUI(str(_UI_FOLDER / self.uiFile))
        self.widget.setMRMLScene(slicer.mrmlScene)
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self.parameters = None
        self._guiTag = None
        self.course = Course(self.ui, self.update)

    def setParameters(self, parameters) -> None:
        """Show these choices, and write what the user chooses into them."""
        if self.parameters:
            self.parameters.disconnectGui(self._guiTag)
        self.parameters = parameters
        if parameters:
            self._guiTag = parameters.connectGui(self.ui)
        self.update()

    def update(self) -> None:
        """Bring the page up to date with choices and scene."""

    def close(self) -> None:
        """The scene closes or the page goes: end what is under way."""
        self.course.cancel(_("Cancelled: the scene was closed."))

    def dispose(self) -> None:
        """The page goes for good."""

    def allow(self, button, reason: str, purpose: str) -> None:
        """Enable a button, or disable it and say why in its tooltip."""
        button.enabled = not reason
        button.toolTip = reason or purpose


@contextmanager
def quietly(*widgets):
    """Change widgets as the program, not as the user: their signals are held back."""
    before = [widget.blockSignals(True) for widget in widgets]
    try:
        yield
    finally:
        for widget, was in zip(widgets, before, strict=True):
            widget.blockSignals(was)


def knownOrAssumed(isKnown: bool) -> str:
    """Whether a number comes from the file or the user."""
    return _("known") if isKnown else _("assumed")
