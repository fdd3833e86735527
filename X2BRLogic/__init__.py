"""X2BR: the bones of the thorax in 3D from one planar radiograph.

This package is the core: plain Python, NumPy and PyTorch, no Qt and no Slicer.
"""

import logging

from . import kernel_cache

kernel_cache.ensure()
# trimesh logs every oddity of a file, tracebacks included; where nobody listens, Python would print that on stderr
logging.getLogger("trimesh").addHandler(logging.NullHandler())

__version__ = "0.1.0"
