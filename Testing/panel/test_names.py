"""What only Slicer could show: every name that the module uses exists there, in version 5.10."""

import ast
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
import slicer
from PySide6 import QtCore, QtGui, QtWidgets

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "X2BRSlicer"
SOURCES = sorted([MODULE / "X2BRSlicer.py", *(MODULE / "X2BRSlicerLib").rglob("*.py")])
PAGES = sorted((MODULE / "Resources" / "UI").glob("*.ui"))
API = json.loads((ROOT / "Testing" / "Host" / "slicer_5_10.json").read_text())
#: Parts of the package `slicer` that hang on the application, and what the panel may ask of them.
APPLICATION = {"app": set(API["qSlicerApplication"]["methods"] + API["qSlicerApplication"]["properties"]) | {"connect"}}
MODULES = {"cameras", "colors"}
PACKAGES = {"i18n", "ScriptedLoadableModule", "parameterNodeWrapper", "packaging", "util", "modules", "mrmlScene"}


def chains(file: Path) -> set[str]:
    """All dotted names in a file that begin with a plain name: ``slicer.util.getNode``."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        parts, inner = [], node
        while isinstance(inner, ast.Attribute):
            parts.append(inner.attr)
            inner = inner.value
        if parts and isinstance(inner, ast.Name):
            found.add(".".join([inner.id, *reversed(parts)]))
    return found


def qt_class(name: str):
    return next((getattr(room, name) for room in (QtWidgets, QtGui, QtCore) if hasattr(room, name)), None)


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: file.stem)
def test_names_of_slicer_qt_and_ctk_exist(file, a_scene):
    for chain in chains(file):
        first, second, *rest = chain.split(".")
        if first == "qt":
            assert qt_class(second), chain
        elif first == "ctk":
            assert second in API, chain
        elif first == "slicer" and second in APPLICATION:
            assert not rest or rest[0] in APPLICATION[second], chain
        elif first == "slicer" and second == "modules" and rest:
            assert rest[0] in MODULES, chain
        elif first == "slicer" and second == "util" and rest:
            assert hasattr(slicer.util, rest[0]), chain
        elif first == "slicer" and second == "mrmlScene" and rest:
            assert hasattr(slicer.vtkMRMLScene, rest[0]), chain
        elif first == "slicer":
            assert second in PACKAGES or second in API or hasattr(slicer, second), chain


@pytest.mark.parametrize("file", PAGES, ids=lambda file: file.stem)
def test_classes_and_properties_of_the_pages_exist(file):
    for widget in ElementTree.parse(file).iter("widget"):
        kind = widget.get("class")
        base = API[kind]["base"] if kind in API else kind
        known = set(API.get(kind, {}).get("properties", ()))
        meta = qt_class(base).staticMetaObject
        known |= {meta.property(number).name() for number in range(meta.propertyCount())}
        known |= {"buddy", "SlicerParameterName"}
        for setting in widget.findall("property"):
            assert setting.get("name") in known, f"{widget.get('name')}: {kind} has no {setting.get('name')}"


def test_a_page_names_only_parameters_and_widgets_that_exist(a_module):
    from X2BRSlicerLib.parameters import X2BRSlicerParameterNode
    from X2BRSlicerLib.tabs import TABS

    parameters = set(X2BRSlicerParameterNode.allParameters)
    used = {"reconstruct": ["reconstruct", "result"], "check": ["check"], "drr": ["drr"], "models": ["models"]}
    for tab in TABS:
        page = ElementTree.parse(MODULE / "Resources" / "UI" / tab.uiFile)
        widgets = {widget.get("name") for widget in page.iter("widget")}
        named = {p.findtext("string") for p in page.iter("property") if p.get("name") == "SlicerParameterName"}
        assert (named and named <= parameters) or tab.uiFile == "ModelsTab.ui"
        for stem in [*used[tab.__module__.rpartition(".")[2]]]:
            text = (MODULE / "X2BRSlicerLib" / "tabs" / f"{stem}.py").read_text()
            wanted = set(re.findall(r"\bui\.(\w+)", text)) - {"tabs"}
            assert wanted and wanted <= widgets, wanted - widgets


def test_every_page_passes_its_scene_on_and_every_widget_has_a_tooltip(a_module):
    explained = ("QPushButton", "QToolButton", "QCheckBox", "QComboBox", "QDoubleSpinBox", "QSpinBox")
    explained += ("qMRMLNodeComboBox", "ctkSliderWidget", "ctkPathLineEdit")
    for file in PAGES:
        page = ElementTree.parse(file)
        receivers = {wire.findtext("receiver") for wire in page.iter("connection")}
        for widget in page.iter("widget"):
            name, kind = widget.get("name"), widget.get("class")
            assert kind != "qMRMLNodeComboBox" or name in receivers, name
            tips = [p.findtext("string") for p in widget.findall("property") if p.get("name") == "toolTip"]
            assert kind not in explained or tips, f"{file.name}: {name} has no tooltip"


def test_the_stand_ins_offer_nothing_that_slicer_does_not(a_scene):
    from Testing.Host import application, ctk, mrml_widgets

    stand_ins = [
        (ctk.ctkCollapsibleButton, "ctkCollapsibleButton"),
        (ctk.ctkSliderWidget, "ctkSliderWidget"),
        (ctk.ctkPathLineEdit, "ctkPathLineEdit"),
        (mrml_widgets.qMRMLWidget, "qMRMLWidget"),
        (mrml_widgets.qMRMLNodeComboBox, "qMRMLNodeComboBox"),
        (application._Application, "qSlicerApplication"),
        (application._ModuleManager, "qSlicerModuleManager"),
    ]
    for kind, name in stand_ins:
        own = {key for key in vars(kind) if not key.startswith("_")} - {"staticMetaObject"}
        base = qt_class(API[name]["base"])
        # PythonQt gives every object connect and disconnect; `add` and `build` are Slicer's C++, not Python's
        known = {*API[name]["properties"], *API[name]["methods"], *dir(base), "connect", "disconnect"}
        assert own - known <= ({"add"} if name == "qSlicerModuleManager" else set()), own - known


def test_a_stand_in_refuses_names_that_its_class_does_not_have(a_scene):
    import ctk
    import qt

    for widget in (qt.QPushButton(), qt.QTimer(), ctk.ctkSliderWidget(), slicer.qMRMLNodeComboBox()):
        with pytest.raises(AttributeError):
            widget.tootlip = "x"
        with pytest.raises(AttributeError):
            _ = widget.tootlip
    with pytest.raises(AttributeError):
        _ = slicer.app.mainWidow
    with pytest.raises(AttributeError):
        qt.QTimer().singleShot = True


#: What the user reads: values of these attributes, and arguments of these calls.
SHOWN_ATTRIBUTES = {"text", "toolTip", "title"}
SHOWN_CALLS = {
    "tell",
    "say",
    "warn",
    "addItem",
    "allow",
    "addTab",
    "confirmOkCancelDisplay",
    "tryWithErrorDisplay",
    "start",
}


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: file.stem)
def test_what_the_user_reads_goes_through_tr(file):
    for node in ast.walk(ast.parse(file.read_text())):
        shown = []
        if isinstance(node, ast.Assign):
            named = {getattr(target, "attr", "") for target in node.targets}
            shown = [node.value] if named & SHOWN_ATTRIBUTES else []
        elif isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            shown = node.args if name in SHOWN_CALLS else []
        for value in shown:
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                assert not re.search(r"[a-z]{3}", value.value), f"{file.name}:{value.lineno}: {value.value!r}"
