"""What the module does, for scripts: `X2BRSlicerLogic` is this and Slicer's base class of logics."""

from pathlib import Path

from .nodes import boxes, radiographs
from .operations import Operations


class Scripting:
    """What the module does, for scripts as for the panel: nodes in, nodes out, no GUI needed.

    Every method waits for its end and may be given `progress`, called with a fraction and the name of a stage; what it
    raises ends the work. Work runs in processes of their own, which stay warm until `close`. Wrong input raises
    `X2BRLogic.errors.InputError`, one sentence, and leaves the scene as it was. `operations` has the same without
    waiting.
    """

    def __init__(self):
        self.operations = Operations()

    def close(self):
        """End the worker processes."""
        self.operations.close()

    def loadRadiograph(self, path):
        """Read a radiograph (DICOM CR/DX, PNG, JPEG, TIFF, NRRD) into a volume node on its detector plane.

        What lies beside the file is read too: ``geometry.json``, and ``NAME.boxes.json`` with the boxes of bones, which
        are drawn on the film.
        """
        from X2BRLogic.detection import boxes_beside, read_boxes
        from X2BRLogic.radiograph import read_radiograph

        path = Path(path)
        radiograph = read_radiograph(path)
        beside = boxes_beside(path)
        found = read_boxes(beside) if beside else []
        node = radiographs.volumeFromRadiograph(radiograph, path.stem)
        if found:
            radiographs.setBoxes(node, found)
            boxes.showBoxes(node, radiograph.geometry)
        return node

    def detect(self, radiographNode, *, progress=None):
        """Find the bones in a radiograph: a list of boxes in its pixels, and a list of sentences on what is doubtful.

        The boxes are drawn on the film and kept with it; `reconstruct` uses them.
        """
        return self.operations.detect(radiographNode).wait(progress)

    def reconstruct(
        self, radiographNode, method=None, *, view=None, device="auto", resolution=None, boxes=None, progress=None
    ):
        """Reconstruct the bones from a radiograph in the scene; the new model nodes, RAS mm, in a folder of their own.

        They take the place of an earlier result from the same radiograph. `view` (AP or PA) is for a node that does
        not know its own; `resolution` is 64, 128 or 256; `boxes` stand in for those that the node carries.
        """
        operation = self.operations.reconstruct(
            radiographNode, method, view=view, device=device, resolution=resolution, boxes=boxes
        )
        return operation.wait(progress)

    def generateDRRs(self, ctNode, labelsNode=None, *, progress=None, **settings):
        """Radiographs from a CT, as nodes on their detector planes that know their geometry.

        `labelsNode` is a segmentation or label map of the CT's bones: the radiographs aim at them then and carry their
        boxes. `settings` are those of `X2BRLogic.worker.drr.DrrSettings`: `view`, `angles`, `tilt`, `sid`, `sod`,
        `size`, `pixel_spacing`, `clahe`, `bones`.
        """
        from X2BRLogic.worker.drr import DrrSettings

        return self.operations.generateDRRs(ctNode, labelsNode, DrrSettings(**settings)).wait(progress)

    def buildDataset(self, ctFolder, outFolder, *, labels=None, workers=None, progress=None, **settings):
        """Make a data set for training from a folder of CTs, or go on with it; the counts and the page to look at.

        `settings` are those of `X2BRLogic.dataset.settings.Settings`.
        """
        return self.operations.buildDataset(ctFolder, outFolder, labels, workers, settings).wait(progress)

    def evaluate(self, radiographNode, labelsNode, protocols=("strict", "paper"), *, progress=None):
        """Measure the bones reconstructed from a radiograph against the bones of a CT: a table node of figures.

        Every vertex of the models gets its distance from them, ``distance_mm``.
        """
        return self.operations.evaluate(radiographNode, labelsNode, protocols).wait(progress)

    def writeReport(self, radiographNode, path, *, progress=None):
        """Write the report on the result from a radiograph: one HTML file that needs no network; its path."""
        return self.operations.writeReport(radiographNode, path).wait(progress)

    def export(self, radiographNode, folder, formats, *, progress=None):
        """Write the bones from a radiograph into a folder, in some of the formats of `X2BRLogic.export.FORMATS`."""
        return self.operations.export(radiographNode, folder, formats).wait(progress)

    def reproject(self, radiographNode, filmNode=None, *, progress=None):
        """Lay the bones from a radiograph over it, or over another film: figures, and a picture as bytes of a PNG."""
        return self.operations.reproject(radiographNode, filmNode).wait(progress)
