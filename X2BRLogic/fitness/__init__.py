"""Whether a film is what reconstruction is made for: a chest, upright, not mirrored, bone bright; and at what scale."""

from .admission import Admitted, Check, admit, check
from .evidence import bones_seen
from .heart import heart_side
from .scale import spacing_from_bones, with_spacing_from_bones

__all__ = [
    "Admitted",
    "Check",
    "admit",
    "bones_seen",
    "check",
    "heart_side",
    "spacing_from_bones",
    "with_spacing_from_bones",
]
