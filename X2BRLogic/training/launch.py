"""The processes of a training run: one a device, started by Lightning Fabric or by torchrun."""

from __future__ import annotations

import os

import torch

from ..errors import InputError
from ..networks.device import choose_device


def launch(device: str = "auto", devices: int = 1, nodes: int = 1):
    """A `lightning_fabric.Fabric` whose processes run.

    Under torchrun its processes are taken as they are; otherwise this one starts those of its own node, which run the
    same command. Where there are several nodes, each needs ``MASTER_ADDR``, ``MASTER_PORT`` and ``NODE_RANK``.

    Args:
        device: as `choose_device` takes it.
        devices: processes on each node, each with a GPU of its own or, on CPUs, its share of the cores.
        nodes: computers.

    Raises:
        InputError: Lightning Fabric or TensorBoard is missing, or there are fewer GPUs.
    """
    try:
        import tensorboard  # noqa: F401  the record of a run needs it, later
        from lightning_fabric import Fabric
        from lightning_fabric.strategies import DDPStrategy
    except ImportError:
        raise InputError(
            "training needs Lightning Fabric and TensorBoard; install both: pip install lightning-fabric tensorboard"
        ) from None
    if "TORCHELASTIC_RUN_ID" in os.environ:
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = int(os.environ["WORLD_SIZE"]) // devices
    target = choose_device(device)
    if target.type == "cuda" and devices > torch.cuda.device_count():
        raise InputError(f"{devices} devices are asked for and this computer has {torch.cuda.device_count()}")
    # Some networks have parameters, of the image encoder's unused stages for instance, that get no gradient.
    several = DDPStrategy(find_unused_parameters=True)
    strategy = several if devices * nodes > 1 else "auto"
    fabric = Fabric(accelerator=target.type, devices=devices, num_nodes=nodes, strategy=strategy)
    fabric.launch()
    return fabric
