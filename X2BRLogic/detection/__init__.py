"""Bones found in a radiograph, as boxes."""

from .boxes import Box, read_boxes, write_boxes

__all__ = ["Box", "read_boxes", "write_boxes"]
