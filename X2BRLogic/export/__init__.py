"""The bones in files that other programs open: surfaces, label maps and segmentations with names, colours and codes."""

from .folder import FORMATS, export
from .terminology import terminology_entry

__all__ = ["FORMATS", "export", "terminology_entry"]
