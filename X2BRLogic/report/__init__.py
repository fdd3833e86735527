"""One page to hand over about a reconstruction: the film, the bones in 3D, measures with their uncertainty, origins."""

from .page import write_report

__all__ = ["write_report"]
