"""X2BR: the bones of the thorax in 3D from one planar radiograph.

This package is the core: plain Python, NumPy and PyTorch, no Qt and no Slicer.
"""

__version__ = "0.1.0"
