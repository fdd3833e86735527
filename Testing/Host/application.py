"""Puts the stand-ins where Slicer's Python packages are, and the scene where Slicer's is."""

from __future__ import annotations

import logging
import sys
import types
from pathlib import Path

import slicer

from . import parameter_node, scripted_module


class ModuleParent:
    """qSlicerScriptedLoadableModule, the properties that a module file may set."""

    __slots__ = (
        "acknowledgementText",
        "associatedNodeTypes",
        "categories",
        "contributors",
        "dependencies",
        "helpText",
        "hidden",
        "icon",
        "index",
        "path",
        "title",
        "widgetRepresentationCreationEnabled",
    )

    def __init__(self, path: str | Path):
        self.path = str(path)


def tr(text: str) -> str:
    return text


def translate(context: str, text: str) -> str:
    return text


def install() -> slicer.vtkMRMLScene:
    """Make `slicer` complete enough for the module's files, with an empty scene. Returns the scene."""
    _module("slicer.i18n", tr=tr, translate=translate)
    _module(
        "slicer.ScriptedLoadableModule", **{name: getattr(scripted_module, name) for name in scripted_module.__all__}
    )
    _module("slicer.parameterNodeWrapper", parameterNodeWrapper=parameter_node.parameterNodeWrapper)
    slicer.util.delayDisplay = lambda message, autoCloseMsec=1000, parent=None, **kwargs: logging.info(message)
    slicer.mrmlScene = slicer.vtkMRMLScene()
    return slicer.mrmlScene


def _module(name: str, **contents) -> None:
    module = types.ModuleType(name)
    module.__dict__.update(contents)
    sys.modules[name] = module
    setattr(slicer, name.rpartition(".")[2], module)
