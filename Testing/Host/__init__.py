"""A stand-in for the application around Slicer's scene: just what importing the module's files needs.

The scene, its nodes and `slicer.util` are Slicer's own, from the slicer-core package. What that package lacks because
it hangs on Qt has a small stand-in here. A stand-in takes no name that Slicer's class does not have: assigning one
raises, so that a slip of the pen fails here as it would fail in Slicer.
"""

from .application import ModuleParent, install

__all__ = ["ModuleParent", "install"]
