"""The ``x2br`` command: one module a sub-command, one vocabulary from shell to panel."""

from .main import main

__all__ = ["main"]
