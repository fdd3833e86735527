"""What detectors find: ribs by side and number, vertebrae by level. The order of classes is that of `anatomy`."""

from __future__ import annotations

from .. import anatomy

#: Labels of the bones, the classes of a detector being their places in it: ribs, then C1 to L5.
LABELS: tuple[int, ...] = (*anatomy.RIBS, *anatomy.VERTEBRAE)
#: Names of the classes.
CLASSES: tuple[str, ...] = tuple(anatomy.BY_LABEL[label].name for label in LABELS)
#: By group, its classes as one run, from the neck down.
RUNS: dict[str, slice] = {
    "ribs_left": slice(0, 12),
    "ribs_right": slice(12, 24),
    "vertebrae": slice(24, len(LABELS)),
}
