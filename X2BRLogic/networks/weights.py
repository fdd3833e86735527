"""Weights on disk: safetensors, half precision, with everything needed to use them in the header.

A weights file is never executed: safetensors holds tensors and text, nothing else.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from ..errors import InputError
from ..files import parse_json, reason
from .systems import build, system_of

_SCHEMA = "x2br-model-1"


@dataclass(frozen=True)
class LoadedModel:
    """A network ready to use (evaluation mode, float32), and what its file says of it."""

    network: nn.Module
    metadata: dict
    sha256: str


def file_sha256(path: Path) -> str:
    """SHA-256 of a file as hexadecimal text."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def save_model(network: nn.Module, path: Path, **facts) -> None:
    """Write the network as float16 safetensors, whole or not at all; `facts` (JSON-ready) go into the header."""
    tensors = {
        name: value.detach().cpu().contiguous().to(torch.float16 if value.is_floating_point() else value.dtype)
        for name, value in network.state_dict().items()
    }
    header = {"schema": _SCHEMA, "system": system_of(network), "architecture": network.config.to_dict(), **facts}
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, metadata={"x2br": json.dumps(header)})
    os.replace(partial, path)


def with_facts(path: Path, **facts) -> None:
    """Add to the header of a weights file, or change what it says; the tensors stay as they are."""
    header = read_header(path) | facts
    with safe_open(path, framework="pt") as stored:
        tensors = {name: stored.get_tensor(name) for name in stored.keys()}
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, metadata={"x2br": json.dumps(header)})
    os.replace(partial, path)


def read_header(path: Path) -> dict:
    """The metadata of a weights file. Raises `InputError` if it is missing, damaged, a pickle, or not ours."""
    if not path.is_file():
        raise InputError(f"no weights at {path}; see x2br models for what is installed")
    try:
        with safe_open(path, framework="pt") as stored:
            header = parse_json((stored.metadata() or {}).get("x2br", "null"))
    except (SafetensorError, OSError, ValueError) as error:
        with open(path, "rb") as stream:
            start = stream.read(4)
        if start[:2] in (b"PK", b"\x80\x02", b"\x80\x04", b"\x80\x05"):
            raise InputError(
                f"{path} is a pickle or a zip archive, which can run code; X2BR loads safetensors only"
            ) from None
        raise InputError(f"{path} is damaged or no safetensors file ({error}); get it again") from None
    if not isinstance(header, dict) or header.get("schema") != _SCHEMA:
        raise InputError(f"{path} was not written by X2BR (no {_SCHEMA} header)")
    return header


def load_initial(network: nn.Module, path: Path) -> None:
    """Start a network from a trained one: whole if that has the same architecture, else its image encoder.

    The encoder may be that of any system with the same timm model; a U-shaped decoder of the same form comes with it.

    Raises `InputError` as `read_header`, and where the encoders differ.
    """
    header = read_header(path)
    if header["system"] == system_of(network) and header["architecture"] == network.config.to_dict():
        network.load_state_dict(load_model(path).network.state_dict())
        return
    (backbone,) = (module for name, module in network.named_modules() if name.split(".")[-1] == "backbone")
    with safe_open(path, framework="pt") as stored:
        encoder, decoder = (
            {name.split(part, 1)[1]: stored.get_tensor(name).float() for name in stored.keys() if part in name}
            for part in ("backbone.", "merges.")
        )
    try:
        backbone.load_state_dict(encoder)
    except RuntimeError:
        raise InputError(f"{path} has another image encoder than the configuration; give one of the same") from None
    merges = getattr(network, "merges", nn.Module())
    if {n: t.shape for n, t in decoder.items()} == {n: t.shape for n, t in merges.state_dict().items()}:
        merges.load_state_dict(decoder)


def load_model(path: Path, device: torch.device | str = "cpu") -> LoadedModel:
    """Load a network. Raises `InputError` as `read_header`, and where tensors do not fit the architecture."""
    header = read_header(path)
    try:
        with torch.device("meta"):  # numbers in a header may be absurd: tensors without memory
            expected = build(header["system"], header["architecture"]).state_dict()
        with safe_open(path, framework="pt") as stored:
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}
        shapes = {name: tuple(t.shape) for name, t in tensors.items()}
        if shapes != {name: tuple(t.shape) for name, t in expected.items()}:
            raise InputError(f"{path}: its tensors do not fit the architecture it names; get it again")
        network = build(header["system"], header["architecture"])
        network.load_state_dict({name: value.to(expected[name].dtype) for name, value in tensors.items()})
    except InputError:
        raise
    except (KeyError, TypeError, AttributeError, OverflowError, RuntimeError, ValueError, SafetensorError) as error:
        raise InputError(f"{path} cannot be loaded ({reason(error)}); get it again") from None
    return LoadedModel(network.to(device).eval(), header, file_sha256(path))
