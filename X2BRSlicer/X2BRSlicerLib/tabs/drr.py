"""The page that makes radiographs and data sets from CTs."""

from __future__ import annotations

from pathlib import Path

import qt
from slicer.i18n import tr as _

from X2BRLogic.errors import InputError

from .. import core
from ..nodes import display
from ..nodes.xray import hideArrangement, showArrangement
from ..work import Running
from .pictures import Picture
from .tab import Tab

#: A slider that moves is waited for so long before a preview is begun.
_PAUSE_MS = 30
#: From where source, rays and detector are all in sight, degrees beside the beam.
_ASIDE = 60.0


class DrrTab(Tab):
    """Choose a CT and a geometry, see what it gives, make it."""

    uiFile = "DrrTab.ui"

    def __init__(self, logic):
        super().__init__(logic)
        self.title = _("DRR")
        self._picture = Picture(self.ui.previewPicture, 260)
        self._shown: tuple | None = None
        self._preview: Running | None = None
        self._arranged = None
        self._pause = qt.QTimer()
        self._pause.setSingleShot(True)
        self._pause.setInterval(_PAUSE_MS)
        self._pause.timeout.connect(self._beginPreview)
        self.ui.generateButton.clicked.connect(self.onGenerate)
        self.ui.buildButton.clicked.connect(self.onBuild)
        self.ui.ctFolderEdit.currentPathChanged.connect(self.update)
        self.ui.outFolderEdit.currentPathChanged.connect(self.update)

    def update(self) -> None:
        ui, parameters = self.ui, self.parameters
        busy = _("Wait for the end, or cancel what is under way.") if self.course.busy else ""
        busy = busy or (_("Python packages are missing; see the tab Models.") if core.missing() else "")
        ct = parameters.ct if parameters else None
        reason = busy or ("" if ct else _("Load and choose a CT first."))
        if not reason and parameters.drrBonesOnly and not parameters.ctLabels:
            reason = _("Bones only needs the bones of the CT; choose them.")
        if not reason and parameters.drrSod >= parameters.drrSid:
            reason = _("SOD must be less than SID.")
        self.allow(ui.generateButton, reason, _("Make this radiograph and put it into the scene."))
        folders = (
            "" if ui.ctFolderEdit.currentPath and ui.outFolderEdit.currentPath else _("Choose both folders first.")
        )
        self.allow(ui.buildButton, busy or folders, _("Make or go on with a data set for training; may take hours."))
        if reason and not self.course.busy:
            self._forget()
        elif not reason and self._state() != self._shown:
            self._pause.start()

    def close(self) -> None:
        super().close()
        self._forget()

    def dispose(self) -> None:
        """The page goes for good."""
        self._picture.close()

    # --- preview --------------------------------------------------------------------------------------------------

    def _settings(self):
        from X2BRLogic.worker.drr import DrrSettings

        p = self.parameters
        return DrrSettings(
            view=p.drrView,
            angles=(p.drrAngle,),
            tilt=p.drrTilt,
            sid=p.drrSid,
            sod=p.drrSod,
            size=p.drrSize,
            pixel_spacing=p.drrSpacing,
            clahe=p.drrClahe,
            bones=p.drrBonesOnly,
        )

    def _state(self) -> tuple:
        """All that a preview depends on."""
        p = self.parameters
        nodes = ((node.GetID(), node.GetMTime()) if node else None for node in (p.ct, p.ctLabels))
        return (*nodes, self._settings(), p.drrArrangement)

    def _beginPreview(self) -> None:
        """Begin a preview of what is set now, unless one is under way: that one is followed by another."""
        if self._preview or not self.parameters or not self.parameters.ct:
            return
        p, state = self.parameters, self._state()
        ct, settings = p.ct, self._settings()
        self._shown = state
        try:
            operation = self.logic.operations.previewDRR(ct, p.ctLabels, settings)
        except InputError as error:
            self._picture.clear()
            self.course.say(str(error))
            return

        def ended(value, problem: str) -> None:
            self._preview = None
            if problem:
                self._picture.clear()
                self.course.say(problem)
            else:
                self._picture.showPixels(value.pixels)
                self._arrange(ct, value.geometry)
            self.update()

        self._preview = Running(operation, lambda event: None, ended)

    def _arrange(self, ct, geometry) -> None:
        if self._arranged and self._arranged is not ct:
            hideArrangement(self._arranged)
        if self.parameters.drrArrangement:
            isNew = self._arranged is not ct
            node = showArrangement(ct, geometry)
            self._arranged = ct
            if isNew:
                display.lookAt([node], geometry, turn=_ASIDE)
        elif self._arranged:
            hideArrangement(ct)
            self._arranged = None

    def _forget(self) -> None:
        """No preview is wanted any more."""
        self._pause.stop()
        if self._preview:
            self._preview.cancel()
            self._preview = None
        self._shown = None
        self._picture.clear()

    # --- work -----------------------------------------------------------------------------------------------------

    def onGenerate(self) -> None:
        """Make the radiograph in full."""
        p, settings = self.parameters, self._settings()
        ct, labels = p.ct, p.ctLabels
        self.course.start(
            lambda: self.logic.operations.generateDRRs(ct, labels, settings), self._generated, _("Not generated:")
        )

    def _generated(self, nodes) -> str:
        display.showFilm(nodes[-1])
        return _("Made: {names}").format(names=", ".join(node.GetName() for node in nodes))

    def onBuild(self) -> None:
        """Make a data set."""
        cts, out = Path(self.ui.ctFolderEdit.currentPath), Path(self.ui.outFolderEdit.currentPath)
        p = self.parameters
        chosen = {"sid": p.drrSid, "sod": p.drrSod, "size": p.drrSize, "pixel_spacing": p.drrSpacing}
        self.course.start(
            lambda: self.logic.operations.buildDataset(cts, out, None, None, chosen), self._built, _("Not finished:")
        )

    def _built(self, facts) -> str:
        return _("{accepted} of {total} subjects accepted; see {page}.").format(
            accepted=facts["accepted"], total=facts["total"], page=facts["page"]
        )
