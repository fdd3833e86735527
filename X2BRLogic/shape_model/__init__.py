"""How the bones of a thorax vary between people: a statistical shape model, learned, judged, and fitted to points."""

from .cage import Cage, load_cage
from .fit import Fitted, Observed, Prior, fit
from .linear import LinearModel

__all__ = ["Cage", "Fitted", "LinearModel", "Observed", "Prior", "fit", "load_cage"]
