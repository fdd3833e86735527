"""The page about what is installed."""

from __future__ import annotations

import slicer
from slicer.i18n import tr as _

from X2BRLogic.models import DEFAULT_METHOD, X2BR, names, resources, weights_of

from .. import core, setup
from ..labels import tell
from .tab import Tab


class ModelsTab(Tab):
    """Models with their cards, packages and what is missing, a self-check."""

    uiFile = "ModelsTab.ui"

    def __init__(self, logic):
        super().__init__(logic)
        self.title = _("Models")
        ui = self.ui
        for method in names():
            ui.modelBox.addItem(method)
        ui.modelBox.currentIndex = names().index(DEFAULT_METHOD) if DEFAULT_METHOD in names() else 0
        ui.modelBox.currentIndexChanged.connect(self.onModelChanged)
        ui.installButton.clicked.connect(self.onInstall)
        ui.installDetectionButton.clicked.connect(self.onInstallDetection)
        ui.selfCheckButton.clicked.connect(self.onSelfCheck)
        self.onModelChanged()

    def update(self) -> None:
        ui = self.ui
        lacking = core.missing()
        detection = core.missing(core.DETECTION_REQUIREMENTS)
        noDetection = core.whyNoDetection()
        lines = [
            _("Missing: {packages}").format(packages=", ".join(lacking))
            if lacking
            else _("All packages are installed."),
            _("Detection: {reason}.").format(reason=noDetection) if noDetection else _("Detection is installed."),
        ]
        tell(ui.packagesNote, "\n".join(lines))
        nothing = _("Nothing is missing.")
        self.allow(ui.installButton, "" if lacking else nothing, _("Install what is missing; you are asked first."))
        self.allow(
            ui.installDetectionButton,
            "" if detection else nothing,
            _("Install what detection needs; you are asked first."),
        )
        busy = _("The check is under way.") if self.course.busy else ""
        self.allow(ui.selfCheckButton, busy, _("Start the worker and load the default model."))

    def onModelChanged(self) -> None:
        """Show a model's card."""
        method = names()[self.ui.modelBox.currentIndex] if names() else ""
        card = resources() / "Template" / "README.md" if method == X2BR else weights_of(method).with_suffix(".md")
        self.ui.cardBrowser.setMarkdown(card.read_text(encoding="utf-8") if card.is_file() else _("It has no card."))

    def onInstall(self) -> None:
        """Install what the module needs."""
        self._install(core.missing())

    def onInstallDetection(self) -> None:
        """Install what detection needs."""
        self._install(core.missing(core.DETECTION_REQUIREMENTS))

    def _install(self, requirements: list[str]) -> None:
        with slicer.util.tryWithErrorDisplay(_("The packages could not be installed."), waitCursor=True):
            setup.install(requirements)
        self.update()

    def onSelfCheck(self) -> None:
        """Look at what can be seen from here, then ask the worker."""
        found = setup.problems()
        if found:
            tell(self.ui.selfCheckNote, "\n".join(found))
        if core.missing():
            return
        self.course.start(
            lambda: self.logic.operations.load(DEFAULT_METHOD, "auto"),
            lambda facts: self._checked(found, facts),
            _("The worker cannot be used:"),
        )

    def _checked(self, found: list[str], facts: dict) -> str:
        card = (
            _("a CUDA card was found")
            if facts["device"].startswith("cuda")
            else _("no CUDA card was found, the CPU works")
        )
        worked = _("The worker runs and has loaded {method}; {card}.").format(method=facts["method"], card=card)
        tell(self.ui.selfCheckNote, "\n".join([*found, worked]))
        return _("Nothing is wrong.") if not found else _("Something is wrong; see above.")
