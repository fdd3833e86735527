"""The page on which a result is checked: against films, and against a CT."""

from __future__ import annotations

from slicer.i18n import tr as _

from .. import core
from ..labels import tell
from ..nodes import bones, display, folders
from ..nodes.figures import TABLE
from .pictures import Picture
from .tab import Tab, quietly

#: Figures that are told in the panel, and how; the table node has them all.
_OF_FILM = (
    ("outline_mm", lambda: _("Outlines from the film's edges")),
    ("outline_by_chance_mm", lambda: _("the same by chance")),
    ("box_edge_mm", lambda: _("Edges from the boxes'")),
)
_OF_CT = ("iou", "dice", "chamfer_l1_mm", "hd95_mm", "asd_mm", "f_score")


class CheckTab(Tab):
    """Lay the bones over a film; measure them against a CT."""

    uiFile = "CheckTab.ui"

    def __init__(self, logic):
        super().__init__(logic)
        self.title = _("Check")
        ui = self.ui
        self._picture = Picture(ui.filmPicture, 360)
        for text in (_("the radiograph"), _("the lateral film")):
            ui.filmBox.addItem(text)
        ui.filmBox.currentIndexChanged.connect(self.update)
        ui.reprojectButton.clicked.connect(self.onReproject)
        ui.evaluateButton.clicked.connect(self.onEvaluate)
        ui.distanceBox.toggled.connect(self.onDistance)

    @property
    def _filmNode(self):
        if not self.parameters:
            return None
        return self.parameters.lateral if self.ui.filmBox.currentIndex == 1 else self.parameters.radiograph

    def update(self) -> None:
        ui = self.ui
        node = self.parameters.radiograph if self.parameters else None
        models = bones.bonesOf(node) if node else []
        reason = _("Wait for the end, or cancel what is under way.") if self.course.busy else ""
        reason = reason or (_("Python packages are missing; see the tab Models.") if core.missing() else "")
        reason = reason or ("" if models else _("There is no result yet; reconstruct first."))
        noFilm = "" if self._filmNode else _("Choose a lateral film on the tab Reconstruct first.")
        noLabels = "" if self.parameters and self.parameters.ctLabels else _("Choose the bones of a CT first.")
        self.allow(ui.reprojectButton, reason or noFilm, _("How far the bones' outlines lie from the film's edges."))
        self.allow(ui.evaluateButton, reason or noLabels, _("Overlap and distances, where both are in the scene."))
        measured = any(model.GetPolyData().GetPointData().HasArray(display.DISTANCE) for model in models)
        self.allow(
            ui.distanceBox,
            "" if measured else _("Measure against a CT first."),
            _("Colour the bones by their distance from the CT's."),
        )
        with quietly(ui.distanceBox):
            ui.distanceBox.checked = display.colouredBy(models) == display.DISTANCE
        tell(ui.ctFigures, self._tableAsText(node) if node else "")
        if not models:
            tell(ui.filmFigures, "")
            self._picture.clear()

    def close(self) -> None:
        super().close()
        self._picture.clear()

    def dispose(self) -> None:
        """The page goes for good."""
        self._picture.close()

    def onReproject(self) -> None:
        """Lay the bones over the chosen film."""
        node, film = self.parameters.radiograph, self._filmNode
        self.course.start(
            lambda: self.logic.operations.reproject(node, film), self._reprojected, _("The film was not checked:")
        )

    def _reprojected(self, value) -> str:
        figures, picture = value
        self._picture.showFile(picture)
        told = [
            _("{what}: {value:.1f} mm").format(what=what(), value=figures[name])
            for name, what in _OF_FILM
            if figures[name] is not None
        ]
        tell(self.ui.filmFigures, "<br>".join(told) or _("Nothing in the film to compare with."))
        return _("Done.")

    def onEvaluate(self) -> None:
        """Measure the result against the CT's bones."""
        node, labels = self.parameters.radiograph, self.parameters.ctLabels
        self.course.start(lambda: self.logic.operations.evaluate(node, labels), self._evaluated, _("Not measured:"))

    def _evaluated(self, table) -> str:
        self.update()
        return _("Done; all figures are in the table {name}.").format(name=table.GetName())

    def onDistance(self) -> None:
        """Colour the bones by distance, or as bones."""
        models = bones.bonesOf(self.parameters.radiograph)
        display.colourBy(models, display.DISTANCE if self.ui.distanceBox.checked else "")

    def _tableAsText(self, node) -> str:
        """The figures most asked for, of each protocol."""
        tables = folders.ofRun(node, TABLE)
        if not tables:
            return ""
        table = tables[0].GetTable()
        titles = [table.GetColumnName(number) for number in range(1, table.GetNumberOfColumns())]
        rows = ["<tr><td></td>" + "".join(f"<td><b>{title}</b>&nbsp;</td>" for title in titles) + "</tr>"]
        for number in range(table.GetNumberOfRows()):
            name = table.GetValue(number, 0).ToString()
            if name in _OF_CT:
                values = (table.GetValueByName(number, title).ToDouble() for title in titles)
                rows.append(
                    f"<tr><td>{name}&nbsp;</td>" + "".join(f"<td>{value:.3f}&nbsp;</td>" for value in values) + "</tr>"
                )
        return f"<table>{''.join(rows)}</table>"
