"""Registration: laying one shape onto another, from the whole to the detail, with GBCPD++ and its relatives."""

from .ndp import NDPSettings
from .register import DEFAULTS, METHODS, register, warm_up
from .result import Registration
from .settings import Settings

__all__ = ["DEFAULTS", "METHODS", "NDPSettings", "Registration", "Settings", "register", "warm_up"]
