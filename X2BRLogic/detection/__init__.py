"""Bones found in a radiograph, as boxes."""

from .boxes import Box, boxes_beside, read_boxes, write_boxes

__all__ = ["Box", "boxes_beside", "read_boxes", "write_boxes"]
