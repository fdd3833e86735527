"""The way from Slicer to the core: where it lies, and whether what it needs is installed. Nothing heavy is imported."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from contextlib import contextmanager
from pathlib import Path

from packaging.requirements import Requirement


def addCoreToPath() -> None:
    """Make ``import X2BRLogic`` work from a checkout, where the core lies beside the module's folder.

    Installed by the extension, it lies beside the module, in a folder that Slicer has put on the path.
    """
    if importlib.util.find_spec("X2BRLogic") is None:
        sys.path.append(str(Path(__file__).resolve().parents[2]))


@contextmanager
def withoutTriton():
    """While torch and what builds on it are imported, hide Triton, torch's compiler for GPUs.

    Mesa's drivers bring LLVM into the process and Triton brings another; the one loaded second crashes it. In Slicer,
    Mesa comes first. X2BR compiles nothing, and torch does without Triton as it does on Windows and macOS.
    """
    if "triton" in sys.modules:
        yield
        return
    sys.modules["triton"] = None
    try:
        yield
    finally:
        del sys.modules["triton"]


def missingRequirements(requirementsFile: str | Path) -> list[str]:
    """The lines of a requirements file that this Python does not satisfy."""
    lines = (line.partition("#")[0].strip() for line in Path(requirementsFile).read_text().splitlines())
    return [line for line in lines if line and not _satisfied(Requirement(line))]


def _satisfied(requirement: Requirement) -> bool:
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return requirement.specifier.contains(version, prereleases=True)


def sampleRadiographPath() -> Path:
    """The sample radiograph that ships with X2BR."""
    spec = importlib.util.find_spec("X2BRLogic")
    return Path(spec.origin).parents[1] / "Resources" / "SampleData" / "chest_ap.png"
