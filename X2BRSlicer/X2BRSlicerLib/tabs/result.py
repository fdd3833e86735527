"""The part of the page Reconstruct that is about the result."""

from __future__ import annotations

from pathlib import Path

import qt
from slicer.i18n import tr as _

from ..labels import tell
from ..nodes import bones, boxes, display, folders, radiographs
from .tab import quietly

#: Order of the entries of the box that says what colours tell.
_COLOURS = ("", display.ERROR, display.DISTANCE)
#: Formats to export to, and what the user reads for them.
_FORMATS = {
    "stl": lambda: _("STL, a file a bone"),
    "ply": lambda: _("PLY, a file a bone"),
    "obj": lambda: _("OBJ with colours"),
    "vtp": lambda: _("VTP with names"),
    "nrrd": lambda: _("NRRD label map"),
    "nifti": lambda: _("NIfTI label map"),
    "dicomseg": lambda: _("DICOM SEG"),
    "segnrrd": lambda: _("Slicer's seg.nrrd"),
}
#: Those that need bones by name.
_OF_NAMED = ("nrrd", "nifti", "dicomseg", "segnrrd")


class Result:
    """What is shown of the chosen film's reconstruction, and how.

    Args:
        ui: of the page.
        tab: the page, whose film and progress these are.
    """

    def __init__(self, ui, tab):
        self._ui, self._tab = ui, tab
        self._groups = {
            "ribs_left": ui.ribsLeftBox,
            "ribs_right": ui.ribsRightBox,
            "vertebrae": ui.vertebraeBox,
            "sternum": ui.sternumBox,
            "cartilages": ui.cartilagesBox,
        }
        for text in (_("as bones"), _("by expected error"), _("by distance from the CT")):
            ui.colourBox.addItem(text)
        for title in _FORMATS.values():
            ui.formatBox.addItem(title())
        for box in (*self._groups.values(), ui.outlinesBox, ui.boxesBox):
            box.toggled.connect(self.onVisibilityChanged)
        ui.opacitySlider.valueChanged.connect(self.onOpacityChanged)
        ui.colourBox.currentIndexChanged.connect(self.onColourChanged)
        ui.cameraButton.clicked.connect(self.onCamera)
        ui.segmentationButton.clicked.connect(self.onSegmentation)
        ui.deleteButton.clicked.connect(self.onDelete)
        ui.reportButton.clicked.connect(self.onReport)
        ui.formatBox.currentIndexChanged.connect(self.update)
        ui.exportButton.clicked.connect(self.onExport)

    def update(self) -> None:
        """Show what the scene shows."""
        ui, node = self._ui, self._tab.radiographNode
        models = bones.bonesOf(node) if node else []
        groups = bones.groupsOf(node) if node else set()
        drawn = folders.ofRun(node, bones.OUTLINE) if node else []
        boxed = folders.ofRun(node, boxes.BOX) if node else []
        none = "" if models else _("There is no result of this film yet.")
        tell(ui.resultNote, none or self._about(bones.summaryOf(node)))
        for group, box in self._groups.items():
            inGroup = [model for model in models if model.GetAttribute(bones.GROUP_ATTRIBUTE) == group]
            self._showState(
                box, inGroup, none or _("This result is one mesh; the method x2b_aligned gives bones by name.")
            )
            box.visible = bool(groups) or not models
        ui.bonesLabel.visible = bool(groups) or not models
        self._showState(ui.outlinesBox, drawn, none)
        self._showState(ui.boxesBox, boxed, _("This film has no boxes."))
        with quietly(ui.opacitySlider, ui.colourBox):
            if models:
                ui.opacitySlider.value = models[0].GetDisplayNode().GetOpacity()
            by = display.colouredBy(models)
            ui.colourBox.currentIndex = _COLOURS.index(by) if by in _COLOURS else 0
        ui.opacitySlider.enabled = bool(models)
        self._tab.allow(ui.colourBox, none, _("What the colours of the bones tell."))
        busy = _("Wait for the end, or cancel what is under way.") if self._tab.course.busy else ""
        unnamed = "" if groups or self._format not in _OF_NAMED else _("This result is one mesh without names.")
        self._tab.allow(ui.reportButton, none or busy, _("Write a report to hand over, and open it in the browser."))
        self._tab.allow(ui.exportButton, none or busy or unnamed, _("Write the bones as files for other programs."))
        for button, purpose in (
            (ui.cameraButton, _("Turn the 3D view to the bones as the source sees them, before the film.")),
            (ui.segmentationButton, _("Make one segmentation of the bones, with terminology.")),
            (ui.deleteButton, _("Remove this result, and nothing else.")),
        ):
            self._tab.allow(button, none, purpose)

    def shown(self) -> None:
        """A new result has come: bring it into view."""
        self._ui.resultSection.collapsed = False

    def onVisibilityChanged(self) -> None:
        """Show and hide as the boxes say."""
        node, ui = self._tab.radiographNode, self._ui
        if node is None:
            return
        outlines = folders.ofRun(node, bones.OUTLINE)
        for group, box in self._groups.items():
            display.setVisible(
                (m for m in bones.bonesOf(node) if m.GetAttribute(bones.GROUP_ATTRIBUTE) == group), box.checked
            )
        for outline in outlines:
            box = self._groups.get(outline.GetAttribute(bones.GROUP_ATTRIBUTE))
            display.setVisible([outline], ui.outlinesBox.checked and (box is None or box.checked))
        display.setVisible(folders.ofRun(node, boxes.BOX, boxes.LABELS), ui.boxesBox.checked)

    def onOpacityChanged(self) -> None:
        """Make the bones as solid as the slider says."""
        node = self._tab.radiographNode
        if node:
            display.setOpacity(bones.bonesOf(node), self._ui.opacitySlider.value)

    def onColourChanged(self) -> None:
        """Colour the bones by what the user wants to see, where they have it."""
        node = self._tab.radiographNode
        if node is None:
            return
        values = _COLOURS[self._ui.colourBox.currentIndex]
        models = bones.bonesOf(node)
        display.colourBy(models, values)
        if values and not display.colouredBy(models):
            lacks = {
                display.ERROR: _("This result has no expected errors; the method x2b_aligned gives them."),
                display.DISTANCE: _("Measure the result against a CT first, on the tab Check."),
            }
            self._tab.course.say(lacks[values])
        self.update()

    def onCamera(self) -> None:
        """Turn the 3D view to the result."""
        node = self._tab.radiographNode
        display.lookAt(bones.bonesOf(node), radiographs.radiographFromVolume(node).geometry)

    def onSegmentation(self) -> None:
        """Make a segmentation of the result."""
        made = bones.showSegmentation(self._tab.radiographNode)
        self._tab.course.say(_("{name} is in the result's folder.").format(name=made.GetName()))

    def onReport(self) -> None:
        """Write the report where the user wants it, and open it."""
        node = self._tab.radiographNode
        title, kinds = _("Save the report"), _("Web pages") + " (*.html)"
        path = qt.QFileDialog.getSaveFileName(self._tab.widget, title, f"{node.GetName()}.html", kinds)
        if path:
            path = Path(path) if Path(path).suffix else Path(f"{path}.html")
            operations = self._tab.logic.operations
            self._tab.course.start(
                lambda: operations.writeReport(node, path), self._reported, _("The report was not written:")
            )

    def _reported(self, path: Path) -> str:
        opened = qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(path)))
        told = _("The report is in {path}.").format(path=path)
        return told if opened else told + " " + _("Open it in a web browser.")

    @property
    def _format(self) -> str:
        return list(_FORMATS)[max(self._ui.formatBox.currentIndex, 0)]

    def onExport(self) -> None:
        """Write the bones into a folder of the user's."""
        node, wanted = self._tab.radiographNode, self._format
        folder = qt.QFileDialog.getExistingDirectory(self._tab.widget, _("Export the bones into a folder"))
        if folder:
            operations = self._tab.logic.operations
            self._tab.course.start(
                lambda: operations.export(node, folder, [wanted]), self._exported, _("Nothing was exported:")
            )

    def _exported(self, folder: Path) -> str:
        return _("The bones are in {folder}.").format(folder=folder)

    def onDelete(self) -> None:
        """Remove the result."""
        folders.removeRun(self._tab.radiographNode)
        self._tab.course.say(_("The result was removed."))
        self.update()

    def _showState(self, box, nodes: list, reason: str) -> None:
        box.enabled = bool(nodes)
        with quietly(box):
            if nodes:
                box.checked = any(node.GetDisplayNode().GetVisibility() for node in nodes)
        box.toolTip = _("Show or hide.") if nodes else reason

    def _about(self, summary: dict) -> str:
        parts = [
            _("Method {method}: {volume:.0f} ml of bone, {seconds:.1f} s on {device}").format(
                method=summary.get("method", "?"),
                volume=summary.get("volume_ml", 0.0),
                seconds=summary.get("seconds", {}).get("total", 0.0),
                device=summary.get("device", "?"),
            )
        ]
        if not summary.get("absolute_scale", True):
            parts.append(_("sizes are estimates: distances or pixel size were assumed"))
        sentences = (part.strip().rstrip(".") for part in [*parts, *summary.get("warnings", [])])
        return " ".join(f"{sentence[0].upper()}{sentence[1:]}." for sentence in sentences if sentence)
