"""Digitally reconstructed radiographs: a CT, an X-ray geometry and exact ray tracing."""

from .render import Renderer, as_radiograph, isocentre
from .trace import RayTracer

__all__ = ["RayTracer", "Renderer", "as_radiograph", "isocentre"]
