"""Networks: a radiograph and points to occupancy, and their weights."""

from .weights import LoadedModel, load_model, read_header, save_model
from .x2b import X2B, X2BConfig

__all__ = ["X2B", "LoadedModel", "X2BConfig", "load_model", "read_header", "save_model"]
