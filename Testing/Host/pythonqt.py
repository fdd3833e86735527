"""Qt as Slicer's PythonQt shows it: properties are attributes, and an object takes no attribute it does not have."""

from __future__ import annotations

from PySide6 import QtCore

#: Properties whose getter C++ calls as a virtual method: these stay methods, as in PySide6.
_VIRTUAL = {"sizeHint", "minimumSizeHint", "hasHeightForWidth"}
#: Properties that share their name with a static method which Slicer's scripts use.
_STATIC = {"singleShot"}


class Style:
    """Mixed into a class of PySide6's, before it."""

    #: While a .ui file is loaded PySide6 hangs the children on the top widget; PythonQt does not.
    loading = False

    def __setattr__(self, name, value):
        found = getattr(type(self), name, None)
        own = name not in _STATIC and self.metaObject().indexOfProperty(name) >= 0
        if name.startswith("_") or hasattr(found, "__set__") or own:
            super().__setattr__(name, value)
        elif not Style.loading:
            raise AttributeError(f"{type(self).__name__} has no property {name}")

    @property
    def name(self):
        """PythonQt's other name for `objectName`."""
        return self.objectName

    @name.setter
    def name(self, value):
        self.setObjectName(value)

    def className(self):
        """The class, as C++ calls it."""
        return type(self).__name__

    def connect(self, signature, function):
        """``object.connect("clicked(bool)", function)``."""
        self._signal(signature).connect(function)
        return True

    def disconnect(self, signature, function):
        """The inverse of `connect`."""
        self._signal(signature).disconnect(function)
        return True

    def _signal(self, signature):
        if self.metaObject().indexOfSignal(QtCore.QMetaObject.normalizedSignature(signature)) < 0:
            raise ValueError(f"{type(self).__name__} has no signal {signature}")
        return getattr(self, signature.partition("(")[0])


def styled(base: type) -> type:
    """A class of PySide6's in PythonQt's style."""
    meta = base.staticMetaObject
    names = (meta.property(number).name() for number in range(meta.propertyCount()))
    attributes = {name: _attribute(name) for name in names if name not in _VIRTUAL | _STATIC}
    return type(base.__name__, (Style, base), attributes)


def _attribute(name: str) -> property:
    def read(self):
        return self.property(name)

    def write(self, value):
        if not self.setProperty(name, value):
            raise TypeError(f"{type(self).__name__}.{name} does not take {value!r}")

    return property(read, write)
