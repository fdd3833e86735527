"""Names for the bones of a CT from a labelled skeleton, without weights."""

from .label import label_by_atlas, shipped_atlas
from .skeleton import Atlas, atlas_from_labels

__all__ = ["Atlas", "atlas_from_labels", "label_by_atlas", "shipped_atlas"]
