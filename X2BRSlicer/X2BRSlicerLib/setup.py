"""What is installed, what is missing, and how it gets there by Slicer's own means. Everything is asked first."""

from __future__ import annotations

import importlib
import importlib.util
import shutil
import sys
import tempfile
from collections.abc import Sequence

import slicer
from packaging.requirements import Requirement
from slicer.i18n import tr as _

from . import core

#: Licences of what is not under MIT, BSD or Apache: these are named before anything is installed.
_NOTABLE_LICENCES = {"ultralytics": "AGPL-3.0", "tqdm": "MPL-2.0 and MIT", "spekpy": "MIT"}
_LEAST_FREE_GB = 2.0


def licenceNote(requirements: Sequence[str]) -> str:
    """Under which licences packages are, in a sentence."""
    names = [Requirement(line).name for line in requirements]
    notable = [f"{name}: {_NOTABLE_LICENCES[name.lower()]}" for name in names if name.lower() in _NOTABLE_LICENCES]
    usual = _("Their licences are of the MIT, BSD and Apache kind")
    return usual + (f" ({'; '.join(notable)})." if notable else ".")


def install(requirements: Sequence[str]) -> bool:
    """Install packages into Slicer's Python, after asking; whether it was done. Torch goes through its extension."""
    question = _("X2BR needs these Python packages:\n\n{packages}\n\n{licences}\n\nInstall them now?").format(
        packages=", ".join(requirements), licences=licenceNote(requirements)
    )
    if not slicer.util.confirmOkCancelDisplay(question, _("X2BR: install packages")):
        return False
    torch = [line for line in requirements if Requirement(line).name == "torch"]
    others = [line for line in requirements if line not in torch]
    if torch:
        _installTorch(torch[0])
    if others:
        _pipInstall(others)
    importlib.invalidate_caches()
    core.forget()
    return True


def _installTorch(requirement: str) -> None:
    """By the PyTorch extension, which picks the build for this machine's card; else as any other package."""
    if importlib.util.find_spec("PyTorchUtils") is None:
        _pipInstall([requirement])
        return
    utilities = importlib.import_module("PyTorchUtils")
    specifier = str(Requirement(requirement).specifier)
    if utilities.PyTorchUtilsLogic().installTorch(askConfirmation=False, torchVersionRequirement=specifier) is None:
        raise RuntimeError(_("the PyTorch extension could not install torch; see the log"))


def _pipInstall(requirements: list[str]) -> None:
    if importlib.util.find_spec("slicer.packaging") is not None:  # Slicer 5.11 and newer
        packaging = importlib.import_module("slicer.packaging")
        packaging.pip_ensure(requirements, prompt_install=False, requester="X2BR")
    else:
        slicer.util.pip_install(requirements)


def problems() -> list[str]:
    """What is wrong with this installation, in sentences; none where nothing is. The worker has its own say."""
    found = []
    if not (3, 11) <= sys.version_info[:2] <= (3, 12):
        version = ".".join(map(str, sys.version_info[:2]))
        found.append(
            _("Python {version} is not 3.11 or 3.12; use a Slicer of version 5.10 or newer.").format(version=version)
        )
    lacking = core.missing()
    if lacking:
        found.append(_("Python packages are missing: {packages}.").format(packages=", ".join(lacking)))
    free = shutil.disk_usage(tempfile.gettempdir()).free / 1e9
    if free < _LEAST_FREE_GB:
        found.append(
            _("Only {free:.1f} GB are free for temporary files in {folder}.").format(
                free=free, folder=tempfile.gettempdir()
            )
        )
    return found
