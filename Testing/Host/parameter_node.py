"""`@parameterNodeWrapper` for parameters that are nodes (Slicer: Base/Python/slicer/parameterNodeWrapper)."""

from __future__ import annotations

import typing

import slicer


def parameterNodeWrapper(classtype):
    """Give the class a property for each annotated node; it is kept as a node reference in the parameter node."""
    parameters = typing.get_type_hints(classtype)
    for name, kind in parameters.items():
        if not issubclass(kind, slicer.vtkMRMLNode):
            raise TypeError(f"{classtype.__name__}.{name}: only nodes can be parameters here, not {kind}")
        setattr(classtype, name, _nodeProperty(name, kind))
    return type(classtype.__name__, (classtype, _Wrapper), {"allParameters": parameters, "__doc__": classtype.__doc__})


class _Wrapper:
    def __init__(self, parameterNode):
        self.parameterNode = parameterNode

    def AddObserver(self, event, callback, priority=0.0):
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag):
        self.parameterNode.RemoveObserver(tag)

    def Modified(self):
        self.parameterNode.Modified()


def _nodeProperty(name, kind):
    def read(self):
        return self.parameterNode.GetNodeReference(name)

    def write(self, node):
        if node is not None and not isinstance(node, kind):
            raise TypeError(f"{name} is a {kind.__name__}, not a {type(node).__name__}")
        self.parameterNode.SetNodeReferenceID(name, node.GetID() if node is not None else None)

    return property(read, write)
