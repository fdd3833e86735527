"""The way from Slicer to the core: where it lies, and whether what it needs is installed. Nothing heavy is imported."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from functools import cache
from pathlib import Path

from packaging.requirements import Requirement
from slicer.i18n import tr as _

#: What the module needs of Slicer's Python; detection has its own.
REQUIREMENTS = Path(__file__).resolve().parents[1] / "Resources" / "requirements.txt"
DETECTION_REQUIREMENTS = ("onnxruntime>=1.18",)


def addCoreToPath() -> None:
    """Make ``import X2BRLogic`` work from a checkout, where the core lies beside the module's folder.

    Installed by the extension, it lies beside the module, in a folder that Slicer has put on the path.
    """
    if importlib.util.find_spec("X2BRLogic") is None:
        sys.path.append(str(Path(__file__).resolve().parents[2]))


def requirements(file: str | Path = REQUIREMENTS) -> list[str]:
    """The lines of a requirements file without comments."""
    lines = (line.partition("#")[0].strip() for line in Path(file).read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


def missing(lines: list[str] | tuple[str, ...] | None = None) -> list[str]:
    """The requirements, by default the module's own, that this Python does not satisfy."""
    return [line for line in (requirements() if lines is None else lines) if not _satisfied(Requirement(line))]


def forget() -> None:
    """Look anew at what is installed: something has been."""
    _satisfied.cache_clear()


@cache  # the pages ask whenever something changes, and every answer is a search through files
def _satisfied(requirement: Requirement) -> bool:
    if requirement.marker and not requirement.marker.evaluate():
        return True
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return requirement.specifier.contains(version, prereleases=True)


def sampleRadiographPath() -> Path:
    """The sample radiograph that ships with X2BR."""
    from X2BRLogic.models import resources

    return resources() / "SampleData" / "chest_ap.png"


def whyNoDetection() -> str:
    """Why bones cannot be detected, in words; empty where they can."""
    try:
        from X2BRLogic.detection import detect  # noqa: F401
    except ImportError:
        return _("the detection of bones is not in this version of X2BR")
    from X2BRLogic.models import resources

    if not any((resources() / "Models" / "Detection").glob("*.onnx")):
        return _("no detector is installed")
    lacking = missing(DETECTION_REQUIREMENTS)
    packages = ", ".join(lacking)
    return (
        _("packages are missing: {packages}; install them on the tab Models").format(packages=packages)
        if lacking
        else ""
    )
