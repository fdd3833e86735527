"""How good a reconstruction is: metrics with their definitions, two protocols, anatomical realism, and tables."""

from .inputs import evaluate_files, load_shape
from .protocol import PROTOCOLS, evaluate
from .realism import realism
from .report import markdown_table

__all__ = ["PROTOCOLS", "evaluate", "evaluate_files", "load_shape", "markdown_table", "realism"]
