"""The pages of the panel."""

from .check import CheckTab
from .drr import DrrTab
from .models import ModelsTab
from .reconstruct import ReconstructTab

TABS = (ReconstructTab, CheckTab, DrrTab, ModelsTab)

__all__ = ["TABS", "CheckTab", "DrrTab", "ModelsTab", "ReconstructTab"]
