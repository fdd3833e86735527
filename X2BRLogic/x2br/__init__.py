"""X2BR: the bones of a template laid onto a coarse mesh, each whole, named and in contact with its neighbours."""

from ..confidence import CONFIDENCE, ERROR
from .complete import Completed, complete
from .fit import Laid, lay_on
from .poses import Limits

__all__ = ["CONFIDENCE", "ERROR", "Completed", "Laid", "Limits", "complete", "lay_on"]
