"""The systems by name: networks and their settings.

Every network has `encode` (images to what it knows of them), `decode` (that and points to logits), for one image
`field` (points to logits, fast) and `surface_points` (where it knows a surface to be), `shift_logits`, and
`coarse_cells`.
"""

from __future__ import annotations

from torch import nn

from .d2im import D2IM, D2IMConfig
from .dual_depth import DualDepth, DualDepthConfig
from .ed2if2 import ED2IF2, ED2IF2Config
from .x2b import X2B, X2BConfig
from .x2b2 import X2B2, X2B2Config
from .x2b_aligned import X2BAligned, X2BAlignedConfig
from .x2v import X2V, X2VConfig

#: Occupancy probability at which the surface is cut, as in the paper (and in Occupancy Networks).
TAU = 0.2

SYSTEMS: dict[str, tuple[type[nn.Module], type]] = {
    "x2b": (X2B, X2BConfig),
    "x2b_aligned": (X2BAligned, X2BAlignedConfig),
    "x2b2": (X2B2, X2B2Config),
    "x2v": (X2V, X2VConfig),
    "d2im": (D2IM, D2IMConfig),
    "ed2if2": (ED2IF2, ED2IF2Config),
    "3ddx": (DualDepth, DualDepthConfig),
}


def build(system: str, architecture: dict, pretrained: bool = False) -> nn.Module:
    """An untrained network. Raises `KeyError` for an unknown system, `TypeError` for an unknown setting."""
    network, configuration = SYSTEMS[system]
    return network(configuration(**architecture), pretrained)


def system_of(network: nn.Module) -> str:
    """The name of a network's system."""
    return next(name for name, (kind, _) in SYSTEMS.items() if isinstance(network, kind))
