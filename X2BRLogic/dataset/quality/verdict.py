"""What is said of a subject: usable or not, and why."""

from __future__ import annotations

from dataclasses import dataclass, field

REJECT = "reject"
REMARK = "remark"

#: The gates in the order in which they are told, with a title for people.
GATES = {
    "ct": "CT values and sampling",
    "orientation": "orientation",
    "field_of_view": "field of view",
    "levels": "rib and vertebra levels",
    "ribs": "number of ribs",
    "segmentation": "segmentation",
}


@dataclass(frozen=True)
class Finding:
    """One gate's objection.

    Attributes:
        gate: key of `GATES`.
        grade: `REJECT`, or `REMARK` for what a user should know and training can live with.
        sentence: plain words with numbers.
        bones: names from `anatomy` that it is about; a picture marks them.
    """

    gate: str
    grade: str
    sentence: str
    bones: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """The verdict on a labelled CT.

    Attributes:
        findings: every objection, in the order of `GATES`.
        measures: JSON-ready numbers that the verdict rests on.
    """

    findings: tuple[Finding, ...] = ()
    measures: dict = field(default_factory=dict)

    @property
    def accepted(self) -> bool:
        """Whether no gate rejects the subject."""
        return not self.reasons

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the subject is rejected, one sentence a gate; empty when it is accepted."""
        return tuple(f.sentence for f in self.findings if f.grade == REJECT)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What does not reject the subject but should be known."""
        return tuple(f.sentence for f in self.findings if f.grade == REMARK)

    def to_dict(self) -> dict:
        """JSON-ready: ``accepted``, ``reasons``, ``remarks``, ``gates`` (those that reject), ``measures``."""
        return {
            "accepted": self.accepted,
            "reasons": list(self.reasons),
            "remarks": list(self.remarks),
            "gates": [f.gate for f in self.findings if f.grade == REJECT],
            "measures": self.measures,
        }
