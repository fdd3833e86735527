"""What networks have in common that put all they know of a film into one latent vector."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .batch import Batch
from .decoder import OccupancyDecoder
from .losses import occupancy_loss


class LatentNetwork(nn.Module):
    """Films to a latent ``(B, L)``, by `encode`, and that and points to occupancy, by a decoder.

    Args:
        latent, hidden, blocks, octaves: see `OccupancyDecoder`.
    """

    #: Films of a patient that `encode` takes.
    views = 1
    #: Cells along an edge from which the surface is searched: the paper's.
    coarse_cells = 32

    def __init__(self, latent: int, hidden: int, blocks: int, octaves: int):
        super().__init__()
        self.decoder = OccupancyDecoder(latent, hidden, blocks, octaves)

    def decode(self, latent: Tensor, points: Tensor) -> Tensor:
        """Occupancy logits ``(B, N)`` at ray-cube points ``(B, N, 3)``."""
        return self.decoder(points, latent)

    def field(self, latent: Tensor) -> Callable[[Tensor], Tensor]:
        """`decode` for one image: points ``(N, 3)`` to logits ``(N,)``, the latent ``(1, L)`` worked in beforehand."""
        return self.decoder.folded(latent)

    def surface_points(self, latent: Tensor, level: float) -> Tensor:
        """None, ``(0, 3)``: this network knows its surface only by asking."""
        return latent.new_empty(0, 3)

    def shift_logits(self, offset: float) -> None:
        """Add a constant to every logit from now on."""
        with torch.no_grad():
            self.decoder.out.bias += offset

    def logits(self, batch: Batch) -> Tensor:
        """Occupancy at a batch's points, ``(B, N)``."""
        films = (batch.image, batch.second)[: self.views]
        return self.decode(self.encode(*films), batch.points)

    def loss(self, batch: Batch) -> Tensor:
        """X2B's cross-entropy."""
        return occupancy_loss(self.logits(batch), batch.occupied, batch.known)
