"""`@parameterNodeWrapper` and its GUI connections (Slicer: Base/Python/slicer/parameterNodeWrapper), as far as used."""

from __future__ import annotations

import itertools
import types
import typing
from dataclasses import dataclass

import slicer
import vtk

from . import ctk, mrml_widgets, qt


@dataclass
class WithinRange:
    """A number's limits."""

    minimum: float
    maximum: float

    def validate(self, value):
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"Value must be within range [{self.minimum}, {self.maximum}], is {value}")


@dataclass
class Choice:
    """What a value may be."""

    choices: list

    def validate(self, value):
        if value not in self.choices:
            raise ValueError(f"Value is {value}, but must be in one of the following: {self.choices}")


@dataclass
class Decimals:
    """Digits behind the point, in the widget."""

    value: int


class _Parameter:
    """A parameter: its type, its annotations, and the way into the parameter node and back."""

    def __init__(self, name: str, kind: object, default):
        self.name = name
        self.annotations = getattr(kind, "__metadata__", ())
        base = typing.get_args(kind)[0] if self.annotations else kind
        self.types = (base,)
        if typing.get_origin(base) in (typing.Union, types.UnionType):
            if type(None) not in typing.get_args(base):
                raise TypeError(f"{name}: a union of nodes must include None")
            self.types = tuple(part for part in typing.get_args(base) if part is not type(None))
        self.isNode = all(issubclass(part, slicer.vtkMRMLNode) for part in self.types)
        if not self.isNode and self.types[0] not in (str, int, float, bool):
            raise TypeError(f"{name}: the test host knows no parameters of type {base}")
        self.default = default if default is not None or self.isNode else self.types[0]()

    def annotation(self, kind):
        return next((part for part in self.annotations if isinstance(part, kind)), None)

    def read(self, node):
        if self.isNode:
            return node.GetNodeReference(self.name)
        if not self.isIn(node):  # the scene was closed, and took the values along
            self.write(node, self.default)
        text, kind = node.GetParameter(self.name), self.types[0]
        return text == "True" if kind is bool else kind(text)

    def write(self, node, value):
        if self.isNode:
            if value is not None and not isinstance(value, self.types):
                raise TypeError(f"{self.name} is no {type(value).__name__}")
            node.SetNodeReferenceID(self.name, value.GetID() if value is not None else None)
            return
        if not isinstance(value, self.types) and not (self.types[0] is float and isinstance(value, int)):
            raise TypeError(f"{self.name} takes no {value!r}")
        for part in self.annotations:
            if hasattr(part, "validate"):
                part.validate(value)
        node.SetParameter(self.name, str(self.types[0](value)))

    def isIn(self, node) -> bool:
        return self.isNode or node.HasParameter(self.name)


def parameterNodeWrapper(classtype):
    """Give the class a property for each annotated name, kept in the parameter node."""
    hints = typing.get_type_hints(classtype, include_extras=True)
    parameters = {name: _Parameter(name, kind, getattr(classtype, name, None)) for name, kind in hints.items()}
    attributes = {name: _property(parameter) for name, parameter in parameters.items()}
    return type(
        classtype.__name__, (_Wrapper,), attributes | {"allParameters": parameters, "__doc__": classtype.__doc__}
    )


def _property(parameter: _Parameter) -> property:
    return property(
        lambda self: parameter.read(self.parameterNode),
        lambda self, value: parameter.write(self.parameterNode, value),
    )


class _Wrapper:
    def __init__(self, parameterNode):
        self.parameterNode = parameterNode
        self._guis, self._tags, self._updating = {}, {}, False
        self._numbers = itertools.count()
        for parameter in self.allParameters.values():
            if not parameter.isIn(parameterNode):
                parameter.write(parameterNode, parameter.default)

    def AddObserver(self, event, callback, priority=0.0):
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag):
        self.parameterNode.RemoveObserver(tag)

    def Modified(self):
        self.parameterNode.Modified()

    def connectGui(self, gui) -> int:
        """Tie every widget with the property SlicerParameterName to the parameter of that name."""
        connectors = []
        for widget in vars(gui).values():
            name = widget.property("SlicerParameterName")
            if name:
                if name not in self.allParameters:
                    raise ValueError(f"Cannot find a param with the given name: {name}")
                connectors.append(_Connector(self, self.allParameters[name], widget))
        tag = next(self._numbers)
        self._guis[tag] = connectors
        self._tags[tag] = self.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._update())
        return tag

    def disconnectGui(self, tag) -> None:
        """Untie the widgets."""
        for connector in self._guis.pop(tag, ()):
            connector.disconnect()
        if tag in self._tags:
            self.RemoveObserver(self._tags.pop(tag))

    def _update(self):
        if self._updating:
            return
        self._updating = True
        try:
            for connectors in list(self._guis.values()):
                for connector in connectors:
                    connector.write()
        finally:
            self._updating = False


class _Connector:
    """A widget tied to a parameter: the types that Slicer ties, and no others."""

    def __init__(self, wrapper: _Wrapper, parameter: _Parameter, widget):
        self._wrapper, self._parameter, self._widget = wrapper, parameter, widget
        kind, own = parameter.types[0], type(widget)
        self._attribute = "value"
        if parameter.isNode and own is mrml_widgets.qMRMLNodeComboBox:
            widget.nodeTypes = [part.__name__ for part in parameter.types]
            self._signal = widget.currentNodeChanged
        elif kind is bool and own is qt.QCheckBox:
            self._attribute, self._signal = "checked", widget.stateChanged
        elif own is qt.QComboBox and parameter.annotation(Choice) and not parameter.isNode:
            widget.clear()
            for choice in parameter.annotation(Choice).choices:
                widget.addItem(str(choice))
            self._signal = widget.currentIndexChanged
        elif (kind is int and own is qt.QSpinBox) or (
            kind is float and own in (qt.QDoubleSpinBox, ctk.ctkSliderWidget)
        ):
            limits = parameter.annotation(WithinRange)
            if limits is None:
                raise RuntimeError(f"Cannot connect {parameter.name}, which has no limits, to a {own.__name__}")
            if parameter.annotation(Decimals):
                widget.decimals = parameter.annotation(Decimals).value
            widget.minimum, widget.maximum = limits.minimum, limits.maximum
            self._signal = widget.valueChanged
        else:
            raise RuntimeError(f"Unable to create GUI connector from {parameter.name} to {own.__name__}")
        self.write()
        self._signal.connect(self._changed)

    def disconnect(self):
        self._signal.disconnect(self._changed)

    def write(self):
        value = self._parameter.read(self._wrapper.parameterNode)
        if self._parameter.isNode:
            self._widget.setCurrentNode(value)
        elif isinstance(self._widget, qt.QComboBox):
            self._widget.currentIndex = self._parameter.annotation(Choice).choices.index(value)
        else:
            setattr(self._widget, self._attribute, value)

    def _changed(self):
        if self._wrapper._updating:
            return
        if self._parameter.isNode:
            value = self._widget.currentNode()
        elif isinstance(self._widget, qt.QComboBox):
            value = self._parameter.annotation(Choice).choices[self._widget.currentIndex]
        else:
            value = getattr(self._widget, self._attribute)
        self._parameter.write(self._wrapper.parameterNode, value)
