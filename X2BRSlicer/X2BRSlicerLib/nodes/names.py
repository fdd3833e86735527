"""What the user reads for the names of the core."""

import slicer
from slicer.i18n import tr as _

_GROUPS = {
    "ribs_left": lambda: _("Left ribs"),
    "ribs_right": lambda: _("Right ribs"),
    "vertebrae": lambda: _("Vertebrae"),
    "sternum": lambda: _("Sternum"),
    "cartilages": lambda: _("Cartilages"),
    "shoulder": lambda: _("Shoulder girdle"),
}


def groupTitle(group: str) -> str:
    """A group of bones, as in `anatomy.GROUPS`."""
    return _GROUPS[group]()


_STAGES = {
    "load model": lambda: _("Loading the model"),
    "encode": lambda: _("Looking at the film"),
    "surface": lambda: _("Finding the surface"),
    "clean": lambda: _("Cleaning the surface"),
    "refine": lambda: _("Refining the surface"),
    "bones": lambda: _("Naming the bones"),
    "detect": lambda: _("Detecting the bones"),
    "read the CT": lambda: _("Reading the CT"),
    "radiographs": lambda: _("Making radiographs"),
    "look for CTs": lambda: _("Looking for CTs"),
    "surface of the labels": lambda: _("Surface of the CT's bones"),
    "strict protocol": lambda: _("Measuring, strict protocol"),
    "paper protocol": lambda: _("Measuring, protocol of the paper"),
    "distances": lambda: _("Measuring distances"),
    "reprojection": lambda: _("Laying the bones over the film"),
    "picture": lambda: _("Drawing"),
    "report": lambda: _("Writing the report"),
    "export": lambda: _("Exporting"),
    "done": lambda: _("Done"),
}


def stageTitle(stage: str) -> str:
    """A stage of a job."""
    return _STAGES[stage]() if stage in _STAGES else stage


def uniqueName(name: str) -> str:
    """A name that no node has; the scene's own counter would also avoid those of nodes that are gone."""
    scene = slicer.mrmlScene
    return name if scene.GetFirstNodeByName(name) is None else scene.GenerateUniqueName(name)
