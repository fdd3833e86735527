"""The systems by name: networks and their settings.

Every network has `encode` (images to what it knows of them), `decode` (that and points to logits), for one image
`field` (points to logits, fast) and `surface_points` (where it knows a surface to be), `shift_logits`, and
`coarse_cells`.
"""

from __future__ import annotations

from torch import nn

from .x2b import X2B, X2BConfig
from .x2b_aligned import X2BAligned, X2BAlignedConfig

#: Occupancy probability at which the surface is cut, as in the paper (and in Occupancy Networks).
TAU = 0.2

SYSTEMS: dict[str, tuple[type[nn.Module], type]] = {
    "x2b": (X2B, X2BConfig),
    "x2b_aligned": (X2BAligned, X2BAlignedConfig),
}


def build(system: str, architecture: dict, pretrained: bool = False) -> nn.Module:
    """An untrained network. Raises `KeyError` for an unknown system, `TypeError` for an unknown setting."""
    network, configuration = SYSTEMS[system]
    return network(configuration(**architecture), pretrained)


def system_of(network: nn.Module) -> str:
    """The name of a network's system."""
    return next(name for name, (kind, _) in SYSTEMS.items() if isinstance(network, kind))
