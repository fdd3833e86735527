"""Quality gates: may a labelled CT become training data, and if not, why not, in words and in a picture."""

from .assess import assess
from .picture import picture
from .verdict import GATES, REJECT, REMARK, Finding, Verdict

__all__ = ["GATES", "REJECT", "REMARK", "Finding", "Verdict", "assess", "picture"]
