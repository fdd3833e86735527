"""All gates in turn, each told only of what the earlier ones do not explain."""

from __future__ import annotations

from ...anatomy import BY_LABEL
from ...volume import Volume
from .frame import judge_field_of_view, judge_orientation, judge_values
from .levels import joints, judge_levels, profile_shift
from .measure import measure, without_padding
from .tissue import judge_ribs, judge_segmentation
from .verdict import GATES, REJECT, Finding, Verdict


def assess(ct: Volume, labels: Volume) -> Verdict:
    """Judge a labelled CT as a training subject, as X2BR's data were: only whole, well labelled cages are kept.

    Values that are no Hounsfield units end the judgement, for every other gate reads them. Names that are shifted end
    what goes by names: which bones the scan holds, and which rib is missing.

    Args:
        ct: Hounsfield units, any orientation and spacing; about 1.5 mm is measured on, finer grids are thinned.
        labels: label numbers of `X2BRLogic.anatomy` on the same grid.

    Raises:
        InputError: the two are not on one grid.
    """
    ct, labels = without_padding(ct, labels)
    bones = measure(ct, labels)
    if not bones:
        return Verdict((Finding("ribs", REJECT, "no bone of the thorax has a label"),))
    found = joints(bones)
    measures = {
        "bones": {bone.name: bone.to_dict() for bone in bones.values()},
        "joints": {BY_LABEL[n].name: {"level": j.level, "gap_mm": round(j.gap, 1)} for n, j in found.items()},
        "length_misfit": {str(shift): round(value, 3) for shift, value in profile_shift(bones)[1].items()},
    }
    values = judge_values(ct, bones)
    if values is not None and values.grade == REJECT:
        return Verdict((values,), measures)
    levels = judge_levels(bones, found)
    tissue = judge_segmentation(bones)
    findings = [values, judge_orientation(bones), levels, *tissue]
    if levels is None or levels.grade != REJECT:
        poor = tuple(name for finding in tissue if finding.grade == REJECT for name in finding.bones)
        findings += [*judge_field_of_view(ct, bones), *judge_ribs(ct, bones, poor)]
    order = list(GATES)
    return Verdict(tuple(sorted(filter(None, findings), key=lambda finding: order.index(finding.gate))), measures)
