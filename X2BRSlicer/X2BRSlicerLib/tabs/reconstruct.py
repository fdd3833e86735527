"""The page from film to bones."""

from __future__ import annotations

import qt
from slicer.i18n import tr as _

from X2BRLogic.errors import InputError
from X2BRLogic.models import DEFAULT_METHOD, X2BR, names

from .. import core
from ..labels import tell
from ..nodes import bones, display, radiographs
from ..parameters import VIEWS
from .result import Result
from .tab import Tab, knownOrAssumed, quietly


def methodNote(method: str) -> str:
    """What a method is for, in one line."""
    notes = {
        "x2b_aligned": _(
            "Every bone by name, each rib where the film shows it, with its expected error. The usual choice."
        ),
        "x2b": _("The X2BR paper's network: all bones as one mesh, from the film as a whole. For comparison."),
        X2BR: _("A whole skeleton laid onto the mesh of x2b_aligned: bones by name, complete. Boxes help."),
        "3ddx": _("Front and back of every bone, completed by a shape model: whole bones by name."),
    }
    return notes.get(method, _("An installed model; its card is on the tab Models."))


class ReconstructTab(Tab):
    """Choose a film, say how it was taken, reconstruct, and look at the result."""

    uiFile = "ReconstructTab.ui"

    def __init__(self, logic):
        super().__init__(logic)
        self.title = _("Reconstruct")
        self._read: tuple = ((), None, "")
        self.result = Result(self.ui, self)
        ui = self.ui
        for method in names():
            ui.methodBox.addItem(method)
        for view in (*VIEWS, "OTHER"):
            ui.viewBox.addItem(view)
        ui.openButton.clicked.connect(self.onOpen)
        ui.openLateralButton.clicked.connect(self.onOpenLateral)
        ui.viewBox.currentIndexChanged.connect(self.onViewChanged)
        ui.sidBox.valueChanged.connect(self.onDistanceChanged)
        ui.sodBox.valueChanged.connect(self.onDistanceChanged)
        ui.rowSpacingBox.valueChanged.connect(self.onSpacingChanged)
        ui.columnSpacingBox.valueChanged.connect(self.onSpacingChanged)
        ui.methodBox.currentIndexChanged.connect(self.onMethodChanged)
        ui.detectButton.clicked.connect(self.onDetect)
        ui.reconstructButton.clicked.connect(self.onReconstruct)

    @property
    def method(self) -> str:
        """The chosen method; the default where a saved scene names one that is not installed."""
        chosen = self.parameters.method if self.parameters else ""
        return chosen if chosen in names() else DEFAULT_METHOD

    @property
    def radiographNode(self):
        """The chosen film's node, or ``None``."""
        return self.parameters.radiograph if self.parameters else None

    # --- the page -------------------------------------------------------------------------------------------------

    def update(self) -> None:
        radiograph, problem = self._radiograph()
        ui = self.ui
        with quietly(ui.methodBox):
            ui.methodBox.currentIndex = names().index(self.method)
        tell(ui.methodNote, methodNote(self.method))
        self._showGeometry(radiograph)
        idle = "" if not self.course.busy else _("Wait for the end, or cancel what is under way.")
        self.allow(
            ui.reconstructButton,
            idle or problem or self._whyNotFrontal(radiograph),
            _("Reconstruct the bones from the radiograph."),
        )
        noDetection = core.whyNoDetection()
        self.allow(ui.detectButton, idle or problem or noDetection, _("Find ribs and vertebrae in the film."))
        tell(ui.boxesNote, self._boxesNote(noDetection))
        for widget in (ui.openButton, ui.openLateralButton):
            widget.enabled = not core.missing()
        self.result.update()

    def _radiograph(self):
        """The chosen film and what is wrong with it, read once for every change of its node."""
        lacking = core.missing()
        if lacking:
            return None, _("Python packages are missing; install them on the tab Models: {packages}").format(
                packages=", ".join(lacking)
            )
        node = self.radiographNode
        if node is None:
            return None, _("Open or choose a radiograph first.")
        image = node.GetImageData()
        state = (node.GetID(), node.GetMTime(), image and image.GetMTime())
        if state != self._read[0]:
            try:
                self._read = (state, radiographs.radiographFromVolume(node), "")
            except InputError as error:
                self._read = (state, None, str(error))
        return self._read[1:]

    def _showGeometry(self, radiograph) -> None:
        ui = self.ui
        boxes = (ui.viewBox, ui.sidBox, ui.sodBox, ui.rowSpacingBox, ui.columnSpacingBox)
        for box in boxes:
            box.enabled = radiograph is not None and not self.course.busy
        labels = {"view": ui.viewKnown, "sid": ui.sidKnown, "sod": ui.sodKnown, "spacing": ui.spacingKnown}
        for name, label in labels.items():
            label.text = knownOrAssumed(radiograph.known[name]) if radiograph else ""
        if radiograph is None:
            with quietly(*boxes):
                for box in boxes[1:]:
                    box.value = 0.0
            return
        geometry = radiograph.geometry
        with quietly(*boxes):
            ui.viewBox.currentIndex = (*VIEWS, "OTHER").index(geometry.view if geometry.view in VIEWS else "OTHER")
            ui.sidBox.value = geometry.sid
            ui.sodBox.value = geometry.sod
            ui.rowSpacingBox.value, ui.columnSpacingBox.value = geometry.spacing

    def _whyNotFrontal(self, radiograph) -> str:
        if radiograph is not None and radiograph.geometry.view in ("LAT", "RLAT"):
            return _(
                "{method} reconstructs from frontal films; set the view to AP or PA, or choose another film."
            ).format(method=self.method)
        return ""

    def _boxesNote(self, noDetection: str) -> str:
        node = self.radiographNode
        count = len(self._boxes(node)) if node else 0
        if count:
            return _("{count} boxes").format(count=count)
        return noDetection or _("none yet")

    def _boxes(self, node) -> list:
        try:
            return radiographs.boxesOf(node)
        except (InputError, ImportError):
            return []

    # --- the film -------------------------------------------------------------------------------------------------

    def onOpen(self) -> None:
        """Read a film and choose it."""
        node = self._open(_("Open a chest film"))
        if node:
            self.parameters.radiograph = node
            display.showFilm(node)

    def onOpenLateral(self) -> None:
        """Read a lateral film and choose it as the second."""
        node = self._open(_("Open a lateral film"))
        if node:
            radiograph = radiographs.radiographFromVolume(node)
            if not radiograph.known["view"]:
                radiographs.changeGeometry(node, view="LAT")
            self.parameters.lateral = node

    def _open(self, title: str):
        kinds = _("Films") + " (*.dcm *.dicom *.ima *.png *.jpg *.jpeg *.tif *.tiff *.nrrd *.nii *.nii.gz *.mha *.mhd)"
        path = qt.QFileDialog.getOpenFileName(self.widget, title, "", f"{kinds};;{_('All files')} (*)")
        if not path:
            return None
        try:
            node = self.logic.loadRadiograph(path)
        except InputError as error:
            self.course.say(str(error))
            return None
        self.course.say(" ".join(radiographs.radiographFromVolume(node).warnings))
        return node

    def onViewChanged(self) -> None:
        """The user says from where the film was taken."""
        view = (*VIEWS, "OTHER")[self.ui.viewBox.currentIndex]
        self._change(view=view if view in VIEWS else None)

    def onDistanceChanged(self) -> None:
        """The user says how far source and patient are."""
        radiograph, _problem = self._radiograph()
        if radiograph is None:
            return
        sid, sod = self.ui.sidBox.value, self.ui.sodBox.value
        changed = {"sid": sid} if sid != round(radiograph.geometry.sid, 1) else {}
        self._change(**changed, **({"sod": sod} if sod != round(radiograph.geometry.sod, 1) else {}))

    def onSpacingChanged(self) -> None:
        """The user says how large the pixels are."""
        self._change(spacing=(self.ui.rowSpacingBox.value, self.ui.columnSpacingBox.value))

    def _change(self, **said) -> None:
        try:
            radiographs.changeGeometry(self.radiographNode, **said)
        except InputError as error:
            self.course.say(str(error))
        self.update()

    def onMethodChanged(self) -> None:
        """The user chooses a method."""
        if self.parameters:
            self.parameters.method = names()[self.ui.methodBox.currentIndex]

    # --- work -----------------------------------------------------------------------------------------------------

    def onDetect(self) -> None:
        """Find the bones in the film."""
        node = self.radiographNode
        self.course.start(lambda: self.logic.operations.detect(node), self._detected, _("The bones were not detected:"))

    def _detected(self, value) -> str:
        found, notes = value
        return " ".join([_("{count} bones detected.").format(count=len(found)), *notes])

    def onReconstruct(self) -> None:
        """Reconstruct; named bones want boxes first, where there is something to detect them with."""
        node = self.radiographNode
        if self.method == X2BR and not self._boxes(node) and not core.whyNoDetection():
            self.course.start(
                lambda: self.logic.operations.detect(node),
                lambda value: self._reconstruct(node),
                _("Without boxes:"),
                lambda problem: self._reconstruct(node, problem),
            )
        else:
            self._reconstruct(node)

    def _reconstruct(self, node, warning: str = "") -> None:
        method, device, detail = self.method, self.parameters.device, self.parameters.detail
        self.course.start(
            lambda: self.logic.operations.reconstruct(node, method, device=device, resolution=detail),
            self._reconstructed,
            _("Not reconstructed:"),
            repeatWarnings=False,
        )
        if warning:
            self.course.warn(warning)

    def _reconstructed(self, models) -> str:
        self.result.shown()
        origin = models[0].GetNodeReference("X2BR.Origin")
        seconds = bones.summaryOf(origin).get("seconds", {}).get("total", 0.0)
        return _("Done in {seconds:.1f} s: {count} model(s) from {name}.").format(
            seconds=seconds, count=len(models), name=origin.GetName()
        )
