"""A trained detector as one file: ONNX, which onnxruntime runs and from which ultralytics takes its tensors."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import torch

from ..errors import InputError
from ..files import written_whole
from .architecture import build
from .classes import CLASSES
from .training import read_checkpoint
from .weights import HALF, SCHEMA

_OPSET = 17


def export(checkpoint: Path, out: Path) -> Path:
    """Write ``NAME.onnx`` into the folder `out`, in float16; its path.

    The weights are widened when the file is loaded, so that it runs in float32 and takes half the space. They keep the
    names that they have in ultralytics' network after `fuse`.

    Raises:
        InputError: onnx or ultralytics is not installed, no checkpoint, or `out` cannot be written to.
    """
    state = read_checkpoint(checkpoint)
    config = state["config"]
    network = build(config["system"])
    network.load_state_dict(state["average"])
    facts = {"schema": SCHEMA, "system": config["system"], "size": config["size"], "names": list(CLASSES)}
    run = {name: value for name, value in config.items() if name not in ("data", "out")}
    facts |= {"training": run | {"steps": state["step"]}}
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write to {out}: {error.strerror}; check the folder") from None
    file = out / f"{config['system']}.onnx"
    with written_whole(file) as partial:
        _write_onnx(network, partial, facts)
    return file


def _write_onnx(network: torch.nn.Module, path: Path, facts: dict) -> None:
    try:
        import onnx
    except ImportError:
        raise InputError("onnx is not installed; it writes the weights that ship: pip install onnx") from None
    fused = network.eval().fuse(verbose=False).float()
    head = fused.model[-1]
    head.export, head.format = True, "onnx"
    size = facts["size"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter that traces is called old; it needs no further package
        torch.onnx.export(
            fused, (torch.zeros(1, 1, size, size),), path, input_names=["images"], output_names=["output0"],
            opset_version=_OPSET, dynamo=False,
        )  # fmt: skip
    model = onnx.load(path)
    _narrow(model.graph)
    # As ultralytics' own export has it, so that its tools and ours read both.
    names = {"names": str(dict(enumerate(facts["names"]))), "imgsz": str([size, size]), "task": "detect"}
    onnx.helper.set_model_props(model, names | {"x2br": json.dumps(facts)})
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _narrow(graph) -> None:
    """Weights to float16, each followed by a cast to float32, which runtimes carry out once, on loading."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < 64:
            continue
        wide = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), wide + HALF))
        casts.append(helper.make_node("Cast", [tensor.name], [wide], to=TensorProto.FLOAT))
    for node in reversed(casts):
        graph.node.insert(0, node)
