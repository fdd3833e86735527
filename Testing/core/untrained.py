"""A network that nobody trained and a small film: for tests to which it does not matter what comes out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from X2BRLogic.networks import save_model
from X2BRLogic.networks.x2b import X2B, X2BConfig
from X2BRLogic.networks.x2b_aligned import NAMED, X2BAligned, X2BAlignedConfig

_SAMPLE = Path(__file__).resolve().parents[2] / "Resources" / "SampleData" / "chest_ap.png"


def save_untrained(path: Path, seed: int = 1) -> Path:
    """The weights of a small X2B that sees bone somewhere."""
    torch.manual_seed(seed)
    network = X2B(X2BConfig(latent=16, hidden=8, blocks=1, octaves=1))
    torch.nn.init.normal_(network.decoder.out.weight)
    save_model(network, path)
    return path


def save_film(path: Path, seed: int = 0, shape: tuple[int, int] = (100, 80)) -> Path:
    """A small film of a chest with noise of its own, 16 bit; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(_SAMPLE) as sample:
        chest = np.asarray(sample, dtype=np.float32)
    chest = np.asarray(Image.fromarray(chest / chest.max()).resize(shape[::-1], Image.Resampling.BOX))
    noisy = chest + 0.03 * np.random.default_rng(seed).normal(size=chest.shape)
    Image.fromarray((noisy.clip(0, 1) * 60000).astype(np.uint16)).save(path)
    return path


def save_slab(path: Path) -> Path:
    """The weights of a small x2b_aligned that sees a slab of a rib in the middle of every film."""
    torch.manual_seed(0)
    depths = 16
    network = X2BAligned(X2BAlignedConfig(image_size=64, depths=depths, name_depths=4, width=16))
    torch.nn.init.zeros_(network.rays.weight)
    field = network.rays.bias.data.view(2, depths, -1)
    field.fill_(-6.0)
    field[:, 6:9] = 4.0
    torch.nn.init.zeros_(network.names.weight)
    network.names.bias.data.view(len(NAMED), -1)[3] = 5.0
    save_model(network, path)
    return path
