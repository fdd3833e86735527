"""Networks: a radiograph and points to occupancy, and their weights."""

from .field import OccupancyField
from .systems import SYSTEMS, TAU, build, system_of
from .weights import LoadedModel, load_backbone, load_model, read_header, save_model

__all__ = [
    "SYSTEMS",
    "TAU",
    "LoadedModel",
    "OccupancyField",
    "build",
    "load_backbone",
    "load_model",
    "read_header",
    "save_model",
    "system_of",
]
