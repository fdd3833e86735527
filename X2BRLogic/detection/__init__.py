"""Ribs and vertebrae found in a radiograph, as boxes: YOLOv9, numbered by the order of the bones."""

from .boxes import Box, boxes_beside, read_boxes, write_boxes
from .detector import Detection, detect

__all__ = ["Box", "Detection", "boxes_beside", "detect", "read_boxes", "write_boxes"]
