"""Networks: a radiograph and points to occupancy, and their weights."""

from .batch import Batch
from .field import OccupancyField, TwoViews
from .systems import SYSTEMS, TAU, build, system_of
from .weights import LoadedModel, load_initial, load_model, read_header, save_model, with_facts

__all__ = [
    "SYSTEMS",
    "TAU",
    "Batch",
    "LoadedModel",
    "OccupancyField",
    "TwoViews",
    "build",
    "load_initial",
    "load_model",
    "read_header",
    "save_model",
    "system_of",
    "with_facts",
]
