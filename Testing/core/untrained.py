"""A network that nobody trained and a film of noise: for tests to which it does not matter what comes out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from X2BRLogic.networks import save_model
from X2BRLogic.networks.x2b import X2B, X2BConfig


def save_untrained(path: Path, seed: int = 1) -> Path:
    """The weights of a small X2B that sees bone somewhere."""
    torch.manual_seed(seed)
    network = X2B(X2BConfig(latent=16, hidden=8, blocks=1, octaves=1))
    torch.nn.init.normal_(network.decoder.out.weight)
    save_model(network, path)
    return path


def save_noise(path: Path, seed: int = 0) -> Path:
    """A film that can be read, 16 bit; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((np.random.default_rng(seed).random((100, 80)) * 60000).astype(np.uint16)).save(path)
    return path
