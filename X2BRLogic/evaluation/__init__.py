"""How good a reconstruction is: metrics, two protocols, anatomical realism, agreement with the film, and tables."""

from .inputs import evaluate_files, load_shape
from .protocol import PROTOCOLS, evaluate
from .realism import realism
from .report import markdown_table
from .reprojection import reprojection

__all__ = ["PROTOCOLS", "evaluate", "evaluate_files", "load_shape", "markdown_table", "realism", "reprojection"]
