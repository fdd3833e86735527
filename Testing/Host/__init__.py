"""A stand-in for the application around Slicer's scene, for tests, for pictures, and for people without Slicer.

The scene, its nodes, logics and displayable managers and `slicer.util` are Slicer's own, from the slicer-core package.
What that package lacks because it hangs on Qt has a small stand-in here, over PySide6. A stand-in takes no name that
Slicer's class does not have: reading or assigning one raises, so that a slip of the pen fails here as it would fail in
Slicer (`api` says which names there are). ``python -m Testing.Host`` opens the panel in a window.
"""

from .application import MODULE_FOLDER, ModuleParent, install, loadModule, openPanel

__all__ = ["MODULE_FOLDER", "ModuleParent", "install", "loadModule", "openPanel"]
